//! Power cuts at every call: what was acknowledged is there, what was deleted stays away, and the log goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::lives::{live, lives};
use common::world::World;
use kennet_log::Rules;
use kennet_log::fs::sim::Trouble;

/// Seeds from `first` on; `KENNET_TEST_SEEDS` sets their number, for long runs.
fn seeds(first: u64) -> std::ops::Range<u64> {
    let count = std::env::var("KENNET_TEST_SEEDS").map_or(400, |count| count.parse().unwrap());
    first..first + count
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_and_takes_no_log_offline() {
    seeds(0).for_each(|seed| lives(seed, Rules::default()));
}

#[test]
fn a_power_cut_at_each_single_call_loses_nothing_that_was_acknowledged() {
    let life = |cut: Option<u64>| {
        let mut world = World::new(7, 2);
        if let Some(call) = cut {
            world.disk.plan(call, Trouble::PowerOff);
        }
        live(&mut world, 150);
        let calls = world.disk.calls();
        world.restart(true, &format!("power cut at call {cut:?}"));
        calls
    };
    let calls = life(None);
    assert!(calls > 200, "{calls} calls");
    for call in 1..=calls {
        life(Some(call));
    }
}
