//! How much a test lives through: a plain `cargo test` takes a sample that is over soon, `make test` everything, a long run what it is told,
//! and a replay the one seed that failed.
#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "tests")]

use std::ops::Range;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().unwrap())
}

/// Whether this is the replay of one seed; then nothing can be said of how often something happens.
pub(crate) fn is_replay() -> bool {
    number("KENNET_TEST_SEED").is_some()
}

/// What `KENNET_TEST_SEEDS` is in `make test`; a run with more is a long one.
const SEEDS_OF_MAKE_TEST: u64 = 2_000;

/// Seeds from `first` on; `KENNET_TEST_SEEDS` sets their number, `KENNET_TEST_SEED` is the one that failed.
pub(crate) fn seeds(first: u64) -> Range<u64> {
    match number("KENNET_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("KENNET_TEST_SEEDS").unwrap_or(60),
    }
}

/// Seeds for lives that take long: `count` of them up to those of `make test`, and in a long run as many more as of all others.
pub(crate) fn fewer_seeds(first: u64, count: u64) -> Range<u64> {
    let all = seeds(first);
    let given = all.end - all.start;
    all.start..all.start + given.min(count * given.max(SEEDS_OF_MAKE_TEST) / SEEDS_OF_MAKE_TEST)
}

/// The step through what is tried at each single place: 1 where the number of seeds is set, or one is met again.
pub(crate) fn step() -> usize {
    if number("KENNET_TEST_SEEDS").is_some() || is_replay() { 1 } else { 5 }
}

/// Lives through all of them; a failure says how it is met again.
pub(crate) fn for_each_seed(seeds: Range<u64>, mut live: impl FnMut(u64)) {
    struct Replay(u64);
    impl Drop for Replay {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let test = std::thread::current().name().unwrap_or("power").to_owned();
                eprintln!("again: KENNET_TEST_SEED={} cargo test -p kennet-log --test log {test}", self.0);
            }
        }
    }
    for seed in seeds {
        let _replay = Replay(seed);
        live(seed);
    }
}
