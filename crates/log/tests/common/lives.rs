//! A broker's lives by chance, each ended by a power cut.

use kennet_log::Rules;
use kennet_log::fs::sim::Trouble;

use super::world::World;

const LIVES: usize = 3;

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

/// A life, a power cut, and a bit that flipped in any block but the newest; returns whether that was damage. It is none where the block is not
/// needed any more, and then nothing may be missing.
pub(crate) fn bit_flips(seed: u64, rules: Rules) -> bool {
    let mut world = World::with_rules(seed, 3, rules);
    live(&mut world, 60);
    world.flip_in_older_block();
    world.restart_damaged(&format!("seed {seed}, a bit flipped"))
}
