//! What the journal says of logs, one entry after the other.
//!
//! ```text
//! kind 1 | log number 8 | body
//! Create 1: topic id 16, partition 4, topic name     Append 2: the stamped batch
//! LogStart 3: offset 8                               Delete 4: nothing
//! ```
//!
//! Invariant: an entry names its log by the number that the log's `Create` gave it, and numbers are never given twice in a data directory.

use bytes::Bytes;
use kennet_protocol::record::{BatchHeader, HEADER_LENGTH, StampedBatch};
use kennet_protocol::{Offset, PartitionIndex, Uuid};

use crate::partition::LogId;

/// A log within its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LogNumber(pub(crate) u64);

/// An entry on its way to the journal.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// The log exists from here on.
    Create { number: LogNumber, id: LogId, topic: Box<str> },
    /// A batch at the log's end.
    Append { number: LogNumber, batch: StampedBatch },
    /// Records below are deleted.
    LogStart { number: LogNumber, offset: Offset },
    /// The log's topic is deleted; nothing after it is about this log.
    Delete { number: LogNumber },
}

const CREATE: u8 = 1;
const APPEND: u8 = 2;
const LOG_START: u8 = 3;
const DELETE: u8 = 4;
/// Kind and number.
const HEAD_BYTES: usize = 9;

/// An entry's bytes: a small part, and the payload that it shares with its sender.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    head: [u8; HEAD_BYTES + HEADER_LENGTH],
    head_length: usize,
    payload: Bytes,
}

impl Entry {
    /// The log that it is about.
    pub(crate) fn number(&self) -> LogNumber {
        match self {
            Self::Create { number, .. }
            | Self::Append { number, .. }
            | Self::LogStart { number, .. }
            | Self::Delete { number } => *number,
        }
    }

    pub(crate) fn encode(&self) -> Encoded {
        match self {
            Self::Create { number, id, topic } => {
                let mut body = Vec::with_capacity(20 + topic.len());
                body.extend_from_slice(id.topic_id.as_bytes());
                body.extend_from_slice(&id.partition.0.to_be_bytes());
                body.extend_from_slice(topic.as_bytes());
                Encoded::new(CREATE, *number, &[], body.into())
            }
            Self::Append { number, batch } => {
                Encoded::new(APPEND, *number, &batch.header.to_bytes(), batch.payload.clone())
            }
            Self::LogStart { number, offset } => {
                Encoded::new(LOG_START, *number, &offset.0.to_be_bytes(), Bytes::new())
            }
            Self::Delete { number } => Encoded::new(DELETE, *number, &[], Bytes::new()),
        }
    }

    /// Reads an entry; `None` when the bytes are none.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let (head, body) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let number = LogNumber(u64::from_be_bytes(head[1..].try_into().ok()?));
        match head[0] {
            CREATE => {
                let (topic_id, rest) = body.split_first_chunk::<16>()?;
                let (partition, topic) = rest.split_first_chunk::<4>()?;
                let id = LogId {
                    topic_id: Uuid::from_bytes(*topic_id),
                    partition: PartitionIndex(i32::from_be_bytes(*partition)),
                };
                Some(Self::Create { number, id, topic: std::str::from_utf8(topic).ok()?.into() })
            }
            APPEND => {
                let header = BatchHeader::parse(body)?;
                let whole = header.total_length()? == body.len() && header.last_offset_delta >= 0;
                let payload = bytes.slice(HEAD_BYTES + HEADER_LENGTH..);
                whole.then_some(Self::Append { number, batch: StampedBatch { header, payload } })
            }
            LOG_START => {
                let offset = Offset(i64::from_be_bytes(body.try_into().ok()?));
                (offset.0 >= 0).then_some(Self::LogStart { number, offset })
            }
            DELETE => body.is_empty().then_some(Self::Delete { number }),
            _ => None,
        }
    }
}

impl Encoded {
    fn new(kind: u8, number: LogNumber, small: &[u8], payload: Bytes) -> Self {
        let mut head = [0; HEAD_BYTES + HEADER_LENGTH];
        head[0] = kind;
        head[1..HEAD_BYTES].copy_from_slice(&number.0.to_be_bytes());
        let head_length = HEAD_BYTES + small.len();
        head[HEAD_BYTES..head_length].copy_from_slice(small);
        Self { head, head_length, payload }
    }

    pub(crate) fn length(&self) -> usize {
        self.head_length + self.payload.len()
    }

    /// Copies the bytes from `from` on to `place`, as far as it reaches.
    pub(crate) fn copy(&self, from: usize, place: &mut [u8]) {
        let head = self.head[..self.head_length].get(from..).unwrap_or(&[]);
        let of_head = head.len().min(place.len());
        place[..of_head].copy_from_slice(&head[..of_head]);
        let rest = place.len() - of_head;
        let payload_from = (from + of_head).saturating_sub(self.head_length);
        place[of_head..].copy_from_slice(&self.payload[payload_from..payload_from + rest]);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kennet_protocol::record::{Batch, BatchBuilder, Stamp};
    use kennet_protocol::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, Uuid};
    use proptest::prelude::*;

    use super::{Entry, LogNumber};
    use crate::partition::LogId;

    fn entries() -> Vec<Entry> {
        let number = LogNumber(5);
        let mut builder = BatchBuilder::new(TimestampMs(1));
        builder.push(TimestampMs(1), None, Some(b"value"), &[]);
        let batch = Batch::parse(&builder.build().unwrap()).unwrap();
        let stamp = Stamp { base_offset: Offset(9), leader_epoch: LeaderEpoch(2), log_append_time: None };
        let id = LogId { topic_id: Uuid::from_u128(3), partition: PartitionIndex(4) };
        vec![
            Entry::Create { number, id, topic: "orders".into() },
            Entry::Append { number, batch: batch.stamp(stamp) },
            Entry::LogStart { number, offset: Offset(8) },
            Entry::Delete { number },
        ]
    }

    fn bytes(entry: &Entry) -> Vec<u8> {
        let encoded = entry.encode();
        let mut bytes = vec![0; encoded.length()];
        encoded.copy(0, &mut bytes);
        bytes
    }

    #[test]
    fn an_entry_comes_back() {
        for entry in entries() {
            let bytes = bytes(&entry);
            let back = Entry::decode(&Bytes::from(bytes)).unwrap();
            assert_eq!(format!("{back:?}"), format!("{entry:?}"));
        }
    }

    #[test]
    fn an_entry_is_copied_in_any_two_pieces() {
        for entry in entries() {
            let whole = bytes(&entry);
            let encoded = entry.encode();
            for cut in 0..=whole.len() {
                let mut pieces = vec![0; whole.len()];
                let (left, right) = pieces.split_at_mut(cut);
                encoded.copy(0, left);
                encoded.copy(cut, right);
                assert_eq!(pieces, whole, "cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Entry::decode(&Bytes::from(bytes));
        }
    }
}
