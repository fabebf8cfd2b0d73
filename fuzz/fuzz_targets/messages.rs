//! Any bytes as any message in any version, and as a request frame.
//!
//! `cargo +nightly fuzz run messages`. The body is shared with the bounded tests of `kennet-protocol`, which run on
//! stable in CI.

#![no_main]

use bytes::Bytes;
use kennet_protocol::testing::{check_bytes, check_request_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let input = Bytes::copy_from_slice(input);
    check_bytes(&input);
    let _is_request = check_request_frame(&input);
});
