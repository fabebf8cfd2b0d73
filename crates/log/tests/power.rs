//! Power cuts at every call: what was acknowledged is there, what was deleted stays away, and the log goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::world::World;
use kennet_log::fs::sim::Trouble;

const LIVES: usize = 3;

/// One step of a broker's life, by chance.
fn step(world: &mut World, batches_max: usize) {
    let at = world.random.usize(..world.logs.len());
    match world.random.u8(..100) {
        0..70 => {
            let batches = world.random.usize(1..=batches_max);
            world.append_round(batches);
        }
        70..76 => world.roll(at),
        76..84 => world.delete_records(at),
        84..92 => world.apply_retention(at),
        92..95 => world.replace(at),
        _ => world.stop_and_start(),
    }
}

/// Lives until the power fails, or for so many steps.
fn live(world: &mut World, batches_max: usize, steps: usize) {
    for _ in 0..steps {
        if world.disk.is_off() {
            return;
        }
        step(world, batches_max);
    }
}

fn lives(seed: u64, batches_max: usize) {
    let mut world = World::new(seed, 3);
    for life in 0..LIVES {
        let call = world.disk.calls() + world.random.u64(1..250);
        world.disk.plan(call, Trouble::PowerOff);
        live(&mut world, batches_max, 60);
        world.restart(true, &format!("seed {seed}, life {life}, power cut at call {call}"));
    }
}

/// Seeds from `first` on; `KENNET_TEST_SEEDS` sets their number, for long runs.
fn seeds(first: u64) -> std::ops::Range<u64> {
    let count = std::env::var("KENNET_TEST_SEEDS").map_or(400, |count| count.parse().unwrap());
    first..first + count
}

/// With one batch a round, whatever is torn is the tail: no log may be offline.
#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_and_takes_no_log_offline() {
    seeds(0).for_each(|seed| lives(seed, 1));
}

/// Several batches of one unsynced round may survive apart, which looks like damage: such a log is offline, all others are whole.
#[test]
fn a_power_cut_among_many_batches_loses_nothing_that_was_acknowledged() {
    seeds(1_000_000).for_each(|seed| lives(seed, 6));
}

#[test]
fn a_power_cut_at_each_single_call_loses_nothing_that_was_acknowledged() {
    let life = |cut: Option<u64>| {
        let mut world = World::new(7, 2);
        if let Some(call) = cut {
            world.disk.plan(call, Trouble::PowerOff);
        }
        live(&mut world, 1, 40);
        let calls = world.disk.calls();
        world.restart(true, &format!("power cut at call {cut:?}"));
        calls
    };
    let calls = life(None);
    assert!(calls > 100, "{calls} calls");
    for call in 1..=calls {
        life(Some(call));
    }
}
