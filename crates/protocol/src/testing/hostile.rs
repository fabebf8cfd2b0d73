//! Input that no honest client sends: cut off, damaged, random, or small on the wire and large in memory.
//!
//! Whatever it is, decoding neither panics nor holds more than a small multiple of the input.

use std::fmt::Debug;

use bytes::Bytes;
use proptest::prelude::*;

use super::allocation::peak_of;
use super::{Described, Role, Sample, Source, Visitor, check_bytes, check_request_frame, visit_messages};
use crate::{ApiKey, DecodeError, Decoder, Form, Message};

/// Bytes of memory for one byte of input. An empty compact string is one byte there and 24 here, twice for a moment
/// while its array grows.
const MULTIPLE_MAX: usize = 65;
/// A body of a few bytes may fill a struct with a long name for its error.
const ALLOWANCE: usize = 1024;

/// Decodes within the limit on memory.
fn decode<M: Message>(bytes: &Bytes, version: i16) -> Result<(M, usize), DecodeError> {
    let (peak, result) = peak_of(|| {
        let mut input = Decoder::new(bytes.clone());
        M::decode(&mut input, version).map(|message| (message, input.remaining()))
    });
    let limit = bytes.len() * MULTIPLE_MAX + ALLOWANCE;
    assert!(peak <= limit, "{} v{version} holds {peak} bytes for {} bytes of input", M::NAME, bytes.len());
    result
}

/// Calls a function with each message, in each version, as encoded sample.
struct EachSample<F> {
    source: fn() -> Source,
    check: F,
}

/// What is done with the bytes of a sample.
trait Check {
    fn check<M: Message + Debug + PartialEq>(&mut self, bytes: &Bytes, version: i16);
}

impl<F: Check> Visitor for EachSample<F> {
    fn visit<M: Message + Described + Sample + Debug + Clone + PartialEq + Default>(&mut self, _: Role) {
        for version in M::VERSIONS.min..=M::VERSIONS.max {
            let form = Form { version, flexible: M::VERSIONS.is_flexible(version) };
            let bytes = M::sample(&mut (self.source)(), form).to_bytes(version).unwrap();
            self.check.check::<M>(&bytes, version);
        }
    }
}

struct CutEverywhere;

impl Check for CutEverywhere {
    fn check<M: Message + Debug + PartialEq>(&mut self, bytes: &Bytes, version: i16) {
        for length in 0..bytes.len() {
            let cut = bytes.slice(..length);
            assert!(decode::<M>(&cut, version).is_err(), "{} v{version} reads {length} of {}", M::NAME, bytes.len());
        }
    }
}

#[test]
fn a_message_that_is_cut_off_anywhere_is_refused() {
    visit_messages(&mut EachSample { source: || Source::new(1), check: CutEverywhere });
}

struct DamageEverywhere;

impl Check for DamageEverywhere {
    fn check<M: Message + Debug + PartialEq>(&mut self, bytes: &Bytes, version: i16) {
        for place in 0..bytes.len() {
            for damage in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[place] ^= damage;
                let Ok((first, _)) = decode::<M>(&damaged.into(), version) else { continue };
                let second = decode::<M>(&first.to_bytes(version).unwrap(), version);
                assert_eq!(second, Ok((first, 0)), "{} v{version} damaged at {place}", M::NAME);
            }
        }
    }
}

#[test]
fn a_damaged_message_is_refused_or_reads_back_as_itself() {
    visit_messages(&mut EachSample { source: || Source::new(2), check: DamageEverywhere });
}

struct WithinLimit;

impl Check for WithinLimit {
    fn check<M: Message + Debug + PartialEq>(&mut self, bytes: &Bytes, version: i16) {
        assert!(decode::<M>(bytes, version).is_ok());
    }
}

#[test]
fn arrays_of_empty_elements_hold_a_small_multiple_of_their_bytes() {
    visit_messages(&mut EachSample { source: || Source::hollow([2000, 0, 0]), check: WithinLimit });
    // the worst moment: an array that has just grown
    visit_messages(&mut EachSample { source: || Source::hollow([2049, 0, 0]), check: WithinLimit });
    visit_messages(&mut EachSample { source: || Source::hollow([1, 2049, 0]), check: WithinLimit });
    visit_messages(&mut EachSample { source: || Source::hollow([1, 1, 2049]), check: WithinLimit });
    visit_messages(&mut EachSample { source: || Source::hollow([30, 30, 30]), check: WithinLimit });
}

/// A message in every version with a length at every place where one may be.
struct HugeLengths;

impl Visitor for HugeLengths {
    fn visit<M: Message + Described + Sample + Debug + Clone + PartialEq + Default>(&mut self, _: Role) {
        for version in M::VERSIONS.min..=M::VERSIONS.max {
            for zeros in 0..40 {
                for length in
                    [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x07], &[0x00, 0x0f, 0x42, 0x3f]]
                {
                    let body = [&vec![0; zeros], length, &[0; 64]].concat();
                    let _refused_or_not = decode::<M>(&body.into(), version);
                }
            }
        }
    }
}

#[test]
fn a_length_that_the_body_does_not_have_allocates_nothing() {
    visit_messages(&mut HugeLengths);
}

#[test]
fn a_random_body_is_refused_or_reads_back_as_itself() {
    let mut source = Source::new(3);
    for _ in 0..20_000 {
        let mut bytes = source.bytes(120);
        // small numbers let more of the body pass for lengths
        let mask = if source.chance(2) { 0x03 } else { 0xff };
        bytes.iter_mut().skip(2).for_each(|byte| *byte &= mask);
        if let [message, version, ..] = &mut bytes[..] {
            *message %= 64;
            *version %= 20;
        }
        check_bytes(&bytes.into());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_frame_is_refused_or_read(key in 0_i16..93, version in -1_i16..20, rest: Vec<u8>) {
        let header = [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 7, 0xff, 0xff, 0]].concat();
        let frame = Bytes::from([header, rest].concat());
        let read = check_request_frame(&frame);
        prop_assert!(!read || ApiKey::from_code(key).is_some_and(|key| key.serves(version)));
    }
}
