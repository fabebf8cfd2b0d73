//! The crate kafka-protocol as a second opinion: what we write, it reads and writes back as the same bytes.
//!
//! It is a dev-dependency only and never sees the network: a six-byte body can make it abort.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as TheirKey, RequestKind, ResponseKind};
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;

use crate::testing::{Described, Role, Sample, Source, Visitor, visit_messages};
use crate::{Decoder, Form, Message};

fn through_theirs(name: &str, role: Role, bytes: &Bytes, version: i16) -> anyhow::Result<Option<Bytes>> {
    let mut input = bytes.clone();
    let mut output = BytesMut::new();
    match role {
        Role::Request(key) => {
            let key = TheirKey::try_from(key.code()).expect("an API of Kafka 4.1");
            RequestKind::decode(key, &mut input, version)?.encode(&mut output, version)?;
        }
        Role::Response(key) => {
            let key = TheirKey::try_from(key.code()).expect("an API of Kafka 4.1");
            ResponseKind::decode(key, &mut input, version)?.encode(&mut output, version)?;
        }
        Role::Data if name == "ConsumerProtocolSubscription" => {
            ConsumerProtocolSubscription::decode(&mut input, version)?.encode(&mut output, version)?;
        }
        Role::Data if name == "ConsumerProtocolAssignment" => {
            ConsumerProtocolAssignment::decode(&mut input, version)?.encode(&mut output, version)?;
        }
        // the records of the coordinators are not in their crate
        Role::Data => return Ok(None),
    }
    Ok(Some(output.freeze()))
}

struct ThroughTheirs {
    seed: u64,
}

impl Visitor for ThroughTheirs {
    fn visit<M: Message + Described + Sample + Debug + Clone + PartialEq + Default>(&mut self, role: Role) {
        for version in M::VERSIONS.min..=M::VERSIONS.max {
            let form = Form { version, flexible: M::VERSIONS.is_flexible(version) };
            let ours = M::sample(&mut Source::new(self.seed), form);
            let context = format!("{} v{version} seed {}", M::NAME, self.seed);
            let bytes = ours.to_bytes(version).unwrap_or_else(|error| panic!("{context}: {error}"));
            let mut input = Decoder::new(bytes.clone());
            assert_eq!(M::decode(&mut input, version).as_ref(), Ok(&ours), "{context}");
            assert_eq!(input.remaining(), 0, "{context}");
            match through_theirs(M::NAME, role, &bytes, version) {
                Ok(theirs) => assert_eq!(theirs.unwrap_or_else(|| bytes.clone()), bytes, "{context}: {ours:?}"),
                Err(error) => panic!("{context}: kafka-protocol says {error}: {ours:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_in_every_version_passes_through_kafka_protocol_unchanged(seed: u64) {
        visit_messages(&mut ThroughTheirs { seed });
    }
}
