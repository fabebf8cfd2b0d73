//! One partition as the broker serves it: its log, its high watermark, and who waits for it.
//!
//! With one replica the high watermark is the log's durable end. A waiter for an acknowledgement is bound to leader epoch and end offset:
//! a change of epoch fails it before the new role starts. Both watermark and log start only rise.

mod open;
mod registry;
mod waiters;

use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use kennet_log::{AppendError, Appended, PartitionLog, Unavailable};
use kennet_protocol::record::Batch;
use kennet_protocol::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};
use tokio::sync::Notify;

pub(crate) use open::log_config;
pub(crate) use registry::Partitions;
pub(crate) use waiters::{AckError, AckWait};

use waiters::Waiters;

/// A partition that this broker leads.
pub(crate) struct Partition {
    pub(crate) topic: Arc<str>,
    pub(crate) index: PartitionIndex,
    pub(crate) log: Arc<PartitionLog>,
    leader_epoch: AtomicI32,
    high_watermark: AtomicI64,
    waiters: Mutex<Waiters>,
}

/// A client's leader epoch is not this partition's (KIP-320).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EpochError {
    #[error("leader epoch {found} is older than {present}")]
    Fenced { found: LeaderEpoch, present: LeaderEpoch },
    #[error("leader epoch {found} is newer than {present}")]
    Unknown { found: LeaderEpoch, present: LeaderEpoch },
}

impl Partition {
    pub(crate) fn new(topic: Arc<str>, index: PartitionIndex, log: Arc<PartitionLog>, epoch: LeaderEpoch) -> Self {
        let high_watermark = AtomicI64::new(log.durable_end().0);
        let leader_epoch = AtomicI32::new(epoch.0);
        Self { topic, index, log, leader_epoch, high_watermark, waiters: Mutex::default() }
    }

    /// Everything below may be read by consumers and is acknowledged.
    pub(crate) fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(Ordering::Acquire))
    }

    /// Compares a client's idea of the leader epoch with the present one; -1 skips the check.
    pub(crate) fn check_epoch(&self, found: LeaderEpoch) -> Result<(), EpochError> {
        let present = self.leader_epoch();
        if found == LeaderEpoch::NONE || found == present {
            Ok(())
        } else if found < present {
            Err(EpochError::Fenced { found, present })
        } else {
            Err(EpochError::Unknown { found, present })
        }
    }

    /// Where a leader epoch ended; none for one that never was. A log that can't be used does not say: an end that the disk may not
    /// have would make a consumer go back.
    pub(crate) fn end_of_epoch(&self, wanted: LeaderEpoch) -> Result<Option<(LeaderEpoch, Offset)>, Unavailable> {
        match self.log.unavailable() {
            None => Ok(self.log.end_of_epoch(wanted, self.leader_epoch())),
            Some(reason) => Err(reason),
        }
    }

    /// Appends a checked batch; the second part of the answer completes when the batch is acknowledged.
    pub(crate) fn append(&self, batch: &Batch, now: TimestampMs) -> Result<(Appended, AckWait), AppendError> {
        let appended = self.log.append(batch, self.leader_epoch(), now)?;
        let mut waiters = self.lock();
        let wait = waiters.wait_for(appended.end_offset, self.high_watermark());
        // The log may be gone or offline since, and those who waited were told already. Looked at after the watermark was read and the
        // waiter registered, so that either we see it or the waiter is failed.
        let lost = self.log.unavailable().filter(|_| matches!(wait, AckWait::Pending(_))).map(AckError::from);
        drop(waiters);
        Ok((appended, lost.map_or(wait, AckWait::Failed)))
    }

    /// Wakes `notify` when the high watermark moves or the partition goes away.
    pub(crate) fn watch(&self, notify: &Arc<Notify>) {
        self.lock().watch(Arc::downgrade(notify));
    }

    /// The log is durable up to `end`: raises the watermark, completes waiters.
    pub(crate) fn advance(&self, end: Offset) {
        self.high_watermark.fetch_max(end.0, Ordering::AcqRel);
        let (acks, fetches) = self.lock().take_reached(self.high_watermark());
        for ack in acks {
            ack.complete(Ok(()));
        }
        wake(fetches);
    }

    /// Starts a new leader epoch; who waits under the old one is told first.
    pub(crate) fn set_leader_epoch(&self, epoch: LeaderEpoch) {
        if epoch > self.leader_epoch() {
            self.fail(&AckError::NotLeader);
            self.leader_epoch.store(epoch.0, Ordering::Release);
        }
    }

    /// The log can't be used any more: fails everybody who waits, with the log's reason.
    pub(crate) fn fail_dropped(&self) {
        if let Some(reason) = self.log.unavailable() {
            self.fail(&reason.into());
        }
    }

    /// Fails everybody who waits.
    pub(crate) fn fail(&self, error: &AckError) {
        let (acks, fetches) = self.lock().take_all();
        for ack in acks {
            ack.complete(Err(error.clone()));
        }
        wake(fetches);
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(fetches: Vec<Weak<Notify>>) {
    for notify in fetches.iter().filter_map(Weak::upgrade) {
        notify.notify_one();
    }
}
