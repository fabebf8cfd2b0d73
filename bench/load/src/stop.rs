//! Where a schedule ends. It may be brought forward while requests are sent, and everyone who counts them still agrees on the last ones.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::open_loop::Schedule;

/// The rule: each connection's first request at or after the number is its last one. So whoever waits for a request that is not the last
/// knows that another one will be sent.
#[derive(Debug)]
pub(crate) struct Stop(AtomicU32);

impl Stop {
    /// At the schedule's own end.
    pub(crate) fn at_end(schedule: &Schedule) -> Self {
        Self(AtomicU32::new(schedule.requests.saturating_sub(schedule.connections)))
    }

    /// Earlier; the number must be one that is not due yet.
    pub(crate) fn at(&self, request: u32) {
        self.0.fetch_min(request, Ordering::Relaxed);
    }

    /// Whether a connection ends with this request.
    pub(crate) fn is_last(&self, request: u32) -> bool {
        request >= self.number()
    }

    /// The number.
    pub(crate) fn number(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_ends_with_its_last_request_or_with_its_first_after_the_number() {
        let schedule = Schedule { rate: 4, requests: 10, warm_up: 0, connections: 3 };
        let stop = Stop::at_end(&schedule);
        let last = |connection| schedule.of_connection(connection).find(|request| stop.is_last(*request));
        assert_eq!([last(0), last(1), last(2)], [Some(9), Some(7), Some(8)]);
        stop.at(4);
        assert_eq!([last(0), last(1), last(2)], [Some(6), Some(4), Some(5)]);
        stop.at(8);
        assert_eq!(last(0), Some(6), "it does not go back");
    }
}
