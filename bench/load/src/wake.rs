//! How late this machine lets a thread wake that does nothing else: the part of every latency that no broker is to blame for.
//!
//! Where processors are shared with other machines, a thread is late by milliseconds now and then, and so is each thread that a request passes.

use serde_json::Value;

use crate::clock;
use crate::latencies::Latencies;
use crate::open_loop::{HEAD_START, Schedule};

/// Wakes whenever a request would be due, and measures from then.
pub(crate) fn run(schedule: &Schedule) -> Value {
    let start = clock::now() + HEAD_START;
    let mut late = Latencies::with_capacity(usize::try_from(schedule.requests).unwrap_or_default());
    for request in 0..schedule.requests {
        let due = schedule.due(start, request);
        clock::sleep_until(due);
        if request >= schedule.warm_up {
            late.push(clock::micros(clock::now().saturating_duration_since(due)));
        }
    }
    late.summary()
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::open_loop::Schedule;

    #[test]
    fn every_wake_behind_the_first_ones_is_measured() {
        let schedule = Schedule { rate: 2_000, requests: 60, warm_up: 20, connections: 1 };
        assert_eq!(run(&schedule)["measured"], 40);
    }
}
