//! The records of `__consumer_offsets`, in Kafka's format.
//!
//! A key starts with two bytes that say what the record is, a value with its version. What a record does to a group is
//! left to the group coordinator; tombstones are values that are not there.

mod group_metadata;
mod offset_commit;

use bytes::Bytes;

pub use group_metadata::{GroupMetadataKey, GroupMetadataValue, MemberMetadata};
pub use offset_commit::{OffsetCommitKey, OffsetCommitValue};

use crate::{DecodeError, Decoder, EncodeError, Encoder, Message};

const OFFSET_COMMIT: i16 = 1;
/// As [`OFFSET_COMMIT`]; written by Kafka before 0.8.2 kept timestamps in values.
const OFFSET_COMMIT_LEGACY: i16 = 0;
const GROUP_METADATA: i16 = 2;
/// Both keys have one version.
const KEY_VERSION: i16 = 0;

/// The key of a record in `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq)]
pub enum CoordinatorKey {
    /// The value is an [`OffsetCommitValue`].
    OffsetCommit(OffsetCommitKey),
    /// The value is a [`GroupMetadataValue`].
    GroupMetadata(GroupMetadataKey),
    /// Something that this release does not know, by the number in front of the key; KIP-848 groups are from 3 on.
    Other(i16),
}

impl CoordinatorKey {
    /// Reads a record's key.
    pub fn decode(key: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(key);
        match input.i16()? {
            OFFSET_COMMIT | OFFSET_COMMIT_LEGACY => {
                OffsetCommitKey::decode(&mut input, KEY_VERSION).map(Self::OffsetCommit)
            }
            GROUP_METADATA => GroupMetadataKey::decode(&mut input, KEY_VERSION).map(Self::GroupMetadata),
            other => Ok(Self::Other(other)),
        }
    }
}

impl OffsetCommitKey {
    /// The key as it is stored.
    pub fn to_key(&self) -> Result<Bytes, EncodeError> {
        to_key(OFFSET_COMMIT, self)
    }
}

impl GroupMetadataKey {
    /// The key as it is stored.
    pub fn to_key(&self) -> Result<Bytes, EncodeError> {
        to_key(GROUP_METADATA, self)
    }
}

fn to_key(record_type: i16, key: &impl Message) -> Result<Bytes, EncodeError> {
    let mut out = Encoder::new();
    out.i16(record_type);
    key.encode(&mut out, KEY_VERSION)?;
    Ok(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};

    #[test]
    fn an_offset_commit_is_stored_as_kafka_stores_it() {
        let key = OffsetCommitKey { group: "g".to_owned(), topic: "t".to_owned(), partition: PartitionIndex(3) };
        let stored = key.to_key().unwrap();
        assert_eq!(stored, Bytes::from_static(b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x03"));
        assert_eq!(CoordinatorKey::decode(stored), Ok(CoordinatorKey::OffsetCommit(key)));
        let value = OffsetCommitValue {
            offset: Offset(5),
            leader_epoch: LeaderEpoch(2),
            metadata: "m".to_owned(),
            commit_timestamp: TimestampMs(7),
            ..Default::default()
        };
        let stored = value.to_versioned_bytes(3).unwrap();
        let expected =
            b"\x00\x03\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02\x00\x01m\x00\x00\x00\x00\x00\x00\x00\x07";
        assert_eq!(stored, Bytes::from_static(expected));
        assert_eq!(OffsetCommitValue::from_versioned_bytes(stored), Ok(value));
    }

    #[test]
    fn a_key_of_a_later_kind_is_known_by_its_number() {
        assert_eq!(CoordinatorKey::decode(Bytes::from_static(b"\x00\x03\x00\x01g")), Ok(CoordinatorKey::Other(3)));
    }

    #[test]
    fn a_value_of_a_later_version_is_refused() {
        let error = GroupMetadataValue::from_versioned_bytes(Bytes::from_static(&[0, 5, 0, 0])).unwrap_err();
        assert!(error.to_string().contains("GroupMetadataValue has no version 5, expected 0 to 4"), "{error}");
    }
}
