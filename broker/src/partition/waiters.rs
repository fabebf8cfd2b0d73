//! Who waits for a partition: producers for their acknowledgement, in offset order, and fetches for the next record.
//!
//! Completing costs what is complete, not who waits.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use kennet_log::Unavailable;
use kennet_protocol::Offset;
use tokio::sync::{Notify, oneshot};

/// Why an append is not acknowledged. Whether its records are in the log is unknown to the client, as in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AckError {
    #[error("leadership changed before the records were acknowledged")]
    NotLeader,
    #[error("the topic was deleted before the records were acknowledged")]
    Deleted,
    #[error("the records could not be written: {reason}")]
    Storage { reason: Arc<str> },
}

impl From<Unavailable> for AckError {
    fn from(reason: Unavailable) -> Self {
        match reason {
            Unavailable::Deleted => Self::Deleted,
            Unavailable::Offline { .. } | Unavailable::DirectoryFailed { .. } => {
                Self::Storage { reason: reason.to_string().into() }
            }
        }
    }
}

/// Completes when an append is acknowledged, or will not be.
#[derive(Debug)]
pub(crate) enum AckWait {
    /// It is already.
    Done,
    Pending(oneshot::Receiver<Result<(), AckError>>),
    /// It never will be.
    Failed(AckError),
}

impl Future for AckWait {
    type Output = Result<(), AckError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Done => Poll::Ready(Ok(())),
            Self::Failed(error) => Poll::Ready(Err(error.clone())),
            // a partition never drops a waiter silently; if it did, not acknowledging is the safe answer
            Self::Pending(receiver) => {
                Pin::new(receiver).poll(context).map(|answer| answer.unwrap_or(Err(AckError::NotLeader)))
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Ack {
    end_offset: Offset,
    sender: oneshot::Sender<Result<(), AckError>>,
}

impl Ack {
    pub(super) fn complete(self, result: Result<(), AckError>) {
        // the connection may be gone; then nobody is to be told
        let _ = self.sender.send(result);
    }
}

#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// Ordered by end offset.
    acks: VecDeque<Ack>,
    fetches: Vec<Weak<Notify>>,
}

/// Fetches that ended without being woken are forgotten when there are more than this many.
const FETCHES_BEFORE_SWEEP: usize = 16;

impl Waiters {
    pub(super) fn wait_for(&mut self, end_offset: Offset, high_watermark: Offset) -> AckWait {
        // the caller reads the watermark under our lock, and it is raised before our lock is taken to complete waiters
        if high_watermark >= end_offset {
            return AckWait::Done;
        }
        let (sender, receiver) = oneshot::channel();
        // a repeated batch may end before those that wait already
        let place = self.acks.partition_point(|ack| ack.end_offset <= end_offset);
        self.acks.insert(place, Ack { end_offset, sender });
        AckWait::Pending(receiver)
    }

    pub(super) fn watch(&mut self, notify: Weak<Notify>) {
        // a fetch that another partition woke comes again
        if self.fetches.iter().any(|present| present.ptr_eq(&notify)) {
            return;
        }
        if self.fetches.len() >= FETCHES_BEFORE_SWEEP {
            self.fetches.retain(|notify| notify.strong_count() > 0);
        }
        self.fetches.push(notify);
    }

    pub(super) fn take_reached(&mut self, high_watermark: Offset) -> (Vec<Ack>, Vec<Weak<Notify>>) {
        let reached = self.acks.partition_point(|ack| ack.end_offset <= high_watermark);
        (self.acks.drain(..reached).collect(), std::mem::take(&mut self.fetches))
    }

    pub(super) fn take_all(&mut self) -> (Vec<Ack>, Vec<Weak<Notify>>) {
        (std::mem::take(&mut self.acks).into(), std::mem::take(&mut self.fetches))
    }
}

#[cfg(test)]
mod tests {
    use kennet_protocol::Offset;

    use super::{AckWait, Waiters};

    fn is_pending(wait: &AckWait) -> bool {
        matches!(wait, AckWait::Pending(_))
    }

    #[test]
    fn only_what_the_watermark_passed_is_taken_whatever_the_order_of_arrival() {
        let mut waiters = Waiters::default();
        let waits: Vec<_> = [5, 9, 7].map(|end| waiters.wait_for(Offset(end), Offset(4))).into();
        assert!(waits.iter().all(is_pending));
        assert_eq!(waiters.take_reached(Offset(8)).0.len(), 2);
        assert_eq!(waiters.take_all().0.len(), 1);
    }

    #[test]
    fn what_is_durable_already_does_not_wait() {
        assert!(!is_pending(&Waiters::default().wait_for(Offset(5), Offset(5))));
    }
}
