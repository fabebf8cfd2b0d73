//! Power cuts at every call: what was acknowledged is there, what was deleted stays away, and the log goes on.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use crate::common::lives::{
    bit_flips, compacting, crossings, failed_syncs, live, lives, new_bases, wrong_batches, wrong_indexes,
};
use crate::common::world::World;
use kennet_log::Rules;
use kennet_log::fs::sim::Trouble;

/// Seeds from `first` on; `KENNET_TEST_SEEDS` sets their number: `make test` takes thousands, and long runs as many as one likes.
/// `KENNET_TEST_SEED` is the one that failed.
fn seeds(first: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    if let Some(seed) = number("KENNET_TEST_SEED") {
        return seed..seed + 1;
    }
    first..first + number("KENNET_TEST_SEEDS").unwrap_or(150)
}

/// Lives through all of them; a failure says how it is met again.
fn for_each_seed(first: u64, live: impl Fn(u64)) {
    struct Replay(u64);
    impl Drop for Replay {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let test = std::thread::current().name().unwrap_or("power").to_owned();
                eprintln!("again: KENNET_TEST_SEED={} cargo test -p kennet-log --test log {test}", self.0);
            }
        }
    }
    for seed in seeds(first) {
        let _replay = Replay(seed);
        live(seed);
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_and_takes_no_log_offline() {
    for_each_seed(0, |seed| {
        lives(seed, Rules::default());
    });
}

#[test]
fn what_crosses_a_pass_is_not_lost_by_a_power_cut() {
    for_each_seed(0, |seed| crossings(seed, Rules::default()));
}

#[test]
fn a_power_cut_at_each_single_call_loses_nothing_that_was_acknowledged() {
    let life = |cut: Option<u64>| {
        let mut world = World::new(7, 3);
        if let Some(call) = cut {
            world.disk.plan(call, Trouble::PowerOff);
        }
        live(&mut world, 100);
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

#[test]
fn a_flipped_bit_in_an_older_block_is_damage_or_nothing_is_missing() {
    let damaged = seeds(0).filter(|seed| bit_flips(*seed, Rules::default())).count();
    assert!(damaged > 20, "{damaged} seeds met damage");
}

/// The design's fifty logs: one pass of the filler takes many, and a slot holds entries of many.
#[test]
fn fifty_logs_lose_nothing_that_was_acknowledged_either() {
    for seed in seeds(10_000).take(20) {
        let mut world = World::new(seed, 50);
        for life in 0..3 {
            let call = world.disk.calls() + world.random.u64(1..400);
            world.disk.plan(call, Trouble::PowerOff);
            live(&mut world, 250);
            world.restart(true, &format!("seed {seed}, life {life}, power cut at call {call}"));
        }
    }
}

#[test]
fn a_power_cut_at_each_call_of_compaction_loses_no_key() {
    for seed in 0..3 {
        let calls = compacting(seed, Rules::default(), None);
        assert!(calls > 10, "{calls} calls");
        (1..=calls).for_each(|call| {
            compacting(seed, Rules::default(), Some(call));
        });
    }
}

#[test]
fn lives_compact_often_enough_to_tell() {
    let rounds: u32 = seeds(0).take(50).map(|seed| lives(seed, Rules::default())).sum();
    assert!(rounds > 25, "{rounds} rounds of compaction in fifty seeds");
}

/// What `mutants.rs` lives through without a rule loses nothing with all of them.
#[test]
fn new_bases_failed_syncs_and_wrong_bytes_lose_nothing_and_serve_nothing_wrong() {
    for seed in seeds(0).take(60) {
        new_bases(seed, Rules::default());
        failed_syncs(seed, Rules::default());
        wrong_indexes(seed, Rules::default());
        wrong_batches(seed, Rules::default());
    }
}
