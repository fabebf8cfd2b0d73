//! Any bytes as the files of a data directory.
//!
//! `cargo +nightly fuzz run log`. The body is shared with the bounded tests of `kennet-log`, which run on stable in CI.

#![no_main]

use kennet_log::testing::{check_directory, files_from_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Err(error) = check_directory(&files_from_bytes(input)) {
        panic!("{error}");
    }
});
