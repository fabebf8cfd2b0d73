//! A broker's lives by chance, each ended by a power cut.

use kennet_log::Rules;
use kennet_log::fs::sim::Trouble;

use super::world::World;

const LIVES: usize = 3;
/// A checkpoint of few logs gets a new base after about a hundred fills.
const FILLS_MAX: usize = 1_000;

/// One step of a broker's life, by chance.
fn step(world: &mut World) {
    let at = world.random.usize(..world.logs.len());
    match world.random.u8(..100) {
        0..35 => {
            let batches = world.random.usize(1..=6);
            world.append_some(batches);
        }
        35..60 => world.step(),
        60..66 => world.flush(),
        66..74 => world.fill(),
        74..80 => world.roll(at),
        80..84 => world.delete_records(at),
        84..88 => world.apply_retention(at),
        88..92 => world.compact(),
        92..95 => world.replace(at),
        _ => world.stop_and_start(),
    }
}

/// Lives until the power fails, or for so many steps.
pub(crate) fn live(world: &mut World, steps: usize) {
    for _ in 0..steps {
        if world.disk.is_off() {
            return;
        }
        step(world);
    }
}

/// Three lives; returns how often compaction came to its end in them.
pub(crate) fn lives(seed: u64, rules: Rules) -> u32 {
    let mut world = World::with_rules(seed, 3, rules);
    for life in 0..LIVES {
        let call = world.disk.calls() + world.random.u64(1..250);
        world.disk.plan(call, Trouble::PowerOff);
        live(&mut world, 120);
        world.restart(true, &format!("seed {seed}, life {life}, power cut at call {call}"));
    }
    world.compactions
}

/// A life in which the power fails at this call, or after all; returns how many calls there were.
pub(crate) fn cut_at(seed: u64, cut: Option<u64>) -> u64 {
    let mut world = World::new(seed, 3);
    if let Some(call) = cut {
        world.disk.plan(call, Trouble::PowerOff);
    }
    live(&mut world, 100);
    let calls = world.disk.calls();
    world.restart(true, &format!("seed {seed}, power cut at call {cut:?}"));
    calls
}

/// A life of few steps around passes that others cross, until the power fails.
pub(crate) fn crossings(seed: u64, rules: Rules) {
    let mut world = World::with_rules(seed, 3, rules);
    for life in 0..LIVES {
        for _ in 0..2 {
            world.append_some(6);
            world.flush();
            if world.random.bool() {
                world.fill_all();
            }
            if world.random.u8(..4) == 0 {
                let call = world.disk.calls() + world.random.u64(1..60);
                world.disk.plan(call, Trouble::PowerOff);
            }
            let all = world.random.bool();
            world.crossed(all);
        }
        world.restart(true, &format!("seed {seed}, life {life}"));
    }
}

/// A life in which the third log is compacted, and the power fails at a call of that; returns how many calls there were.
pub(crate) fn compacting(seed: u64, rules: Rules, cut: Option<u64>) -> u64 {
    let append = |world: &mut World| {
        if !world.append(2) {
            world.fill_all();
        }
    };
    let mut world = World::with_rules(seed, 3, rules);
    (0..24).for_each(|_| append(&mut world));
    world.fill_all();
    world.compact_once(2);
    (0..16).for_each(|_| append(&mut world));
    world.fill_all();
    let before = world.disk.calls();
    if let Some(call) = cut {
        world.disk.plan(before + call, Trouble::PowerOff);
    }
    while !world.disk.is_off() && world.compact_once(2) {}
    let calls = world.disk.calls() - before;
    world.restart(true, &format!("seed {seed}, power cut at call {cut:?} of compaction"));
    world.append(2);
    world.stop_and_start();
    calls
}

/// As [`compacting`], with the power cut at any of the calls. The life is lived twice: the first time only to know how many there are.
pub(crate) fn cut_compactions(seed: u64, rules: Rules) {
    let calls = compacting(seed, Rules::default(), None);
    let call = fastrand::Rng::with_seed(seed).u64(1..=calls);
    compacting(seed, rules, Some(call));
}

/// A life in which the checkpoint gets a new base, and the power fails while it does. The life is lived twice: the first time only to know when that is.
pub(crate) fn new_bases(seed: u64, rules: Rules) {
    let fills = |world: &mut World, until: usize| -> Option<(usize, std::ops::Range<u64>)> {
        for fill in 0..until {
            let before = (world.checkpoint_generation(), world.disk.calls());
            world.append_some(3);
            world.fill_all();
            if world.disk.is_off() {
                return None;
            }
            if world.checkpoint_generation() > before.0 {
                return Some((fill + 1, before.1 + 1..world.disk.calls() + 1));
            }
        }
        None
    };
    let (count, calls) = fills(&mut World::with_rules(seed, 3, rules), FILLS_MAX).unwrap();
    let mut world = World::with_rules(seed, 3, rules);
    let call = fastrand::Rng::with_seed(seed).u64(calls);
    world.disk.plan(call, Trouble::PowerOff);
    fills(&mut world, count);
    world.restart(true, &format!("seed {seed}, power cut at call {call}, in fill {count}"));
}

/// A life in which one call fails with EIO, and goes on; then the power fails.
pub(crate) fn failed_syncs(seed: u64, rules: Rules) {
    let mut world = World::with_rules(seed, 3, rules);
    let call = world.disk.calls() + world.random.u64(1..150);
    world.disk.plan(call, Trouble::InputOutput);
    for _ in 0..40 {
        world.append_some(3);
        world.flush();
        if world.random.bool() {
            world.fill();
        }
    }
    world.restart(true, &format!("seed {seed}, EIO at call {call}"));
}

/// A life, a clean stop, and indexes with wrong entries: every record has to be found all the same.
pub(crate) fn wrong_indexes(seed: u64, rules: Rules) {
    let mut world = World::with_rules(seed, 3, rules);
    live(&mut world, 60);
    world.directory.close();
    world.flip_in_indexes();
    world.restart(false, &format!("seed {seed}, wrong indexes"));
}

/// A life, a clean stop, and batches with a bit that flipped: they are not served.
pub(crate) fn wrong_batches(seed: u64, rules: Rules) {
    let mut world = World::with_rules(seed, 3, rules);
    live(&mut world, 60);
    world.fill_all();
    world.flip_in_batches();
    world.read_damaged(&format!("seed {seed}, wrong batches"));
}

/// A life, a power cut, and a bit that flipped in any block but the newest; returns whether that was damage. It is none where the block is not
/// needed any more, and then nothing may be missing.
pub(crate) fn bit_flips(seed: u64, rules: Rules) -> bool {
    let mut world = World::with_rules(seed, 3, rules);
    live(&mut world, 60);
    world.flip_in_older_block();
    world.restart_damaged(&format!("seed {seed}, a bit flipped"))
}
