//! Power cuts at every call: what was acknowledged is there, what was deleted stays away, and the log goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::common::lives::{
    bit_flips, compacting, crossings, cut_at, failed_syncs, live, lives, new_bases, wrong_batches, wrong_indexes,
};
use crate::common::seeds::{fewer_seeds, for_each_seed, is_replay, seeds, step};
use crate::common::world::World;
use kennet_log::Rules;
use kennet_log::fs::sim::Trouble;

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_and_takes_no_log_offline() {
    for_each_seed(seeds(0), |seed| {
        lives(seed, Rules::default());
    });
}

#[test]
fn what_crosses_a_pass_is_not_lost_by_a_power_cut() {
    for_each_seed(seeds(0), |seed| crossings(seed, Rules::default()));
}

/// Where not all calls are tried, seeds that follow one another begin with another one.
#[test]
fn a_power_cut_at_each_single_call_loses_nothing_that_was_acknowledged() {
    for_each_seed(fewer_seeds(7, 5), |seed| {
        let calls = cut_at(seed, None);
        assert!(calls > 200, "{calls} calls");
        let step = step();
        let first = 1 + seed % u64::try_from(step).unwrap();
        (first..=calls).step_by(step).for_each(|call| {
            cut_at(seed, Some(call));
        });
    });
}

#[test]
fn a_flipped_bit_in_an_older_block_is_damage_or_nothing_is_missing() {
    let (mut lived, mut damaged) = (0, 0);
    for_each_seed(seeds(0), |seed| {
        lived += 1;
        damaged += u64::from(bit_flips(seed, Rules::default()));
    });
    assert!(is_replay() || damaged > lived / 8, "{damaged} of {lived} seeds met damage");
}

/// The design's fifty logs: one pass of the filler takes many, and a slot holds entries of many.
#[test]
fn fifty_logs_lose_nothing_that_was_acknowledged_either() {
    for_each_seed(fewer_seeds(10_000, 20), |seed| {
        let mut world = World::new(seed, 50);
        for life in 0..3 {
            let call = world.disk.calls() + world.random.u64(1..400);
            world.disk.plan(call, Trouble::PowerOff);
            live(&mut world, 250);
            world.restart(true, &format!("seed {seed}, life {life}, power cut at call {call}"));
        }
    });
}

#[test]
fn a_power_cut_at_each_call_of_compaction_loses_no_key() {
    for seed in 0..3 {
        let calls = compacting(seed, Rules::default(), None);
        assert!(calls > 10, "{calls} calls");
        (1..=calls).step_by(step()).for_each(|call| {
            compacting(seed, Rules::default(), Some(call));
        });
    }
}

#[test]
fn lives_compact_often_enough_to_tell() {
    let rounds: u32 = (0..100).map(|seed| lives(seed, Rules::default())).sum();
    assert!(rounds > 35, "{rounds} rounds of compaction in a hundred seeds");
}

/// What `mutants.rs` lives through without a rule loses nothing with all of them.
#[test]
fn new_bases_failed_syncs_and_wrong_bytes_lose_nothing_and_serve_nothing_wrong() {
    for_each_seed(fewer_seeds(0, 60), |seed| {
        new_bases(seed, Rules::default());
        failed_syncs(seed, Rules::default());
        wrong_indexes(seed, Rules::default());
        wrong_batches(seed, Rules::default());
    });
}
