//! A record as one line of JSON, which `consume` writes and `produce` reads back to the same bytes.
//!
//! Bytes that are UTF-8 stand as text; others in base64 under a name that says so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kennet_client::{FetchedRecord, Header, NewRecord, PartitionIndex, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::time;

/// The line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RecordLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HeaderLine {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl RecordLine {
    /// The line of a record that was read.
    pub(crate) fn of(fetched: &FetchedRecord) -> Self {
        let record = &fetched.record;
        let (key, key_base64) = write_bytes(record.key.as_ref());
        let (value, value_base64) = write_bytes(record.value.as_ref());
        let headers = record.headers.iter().map(|header| {
            let (value, value_base64) = write_bytes(header.value.as_ref());
            HeaderLine { key: header.key.clone(), value, value_base64 }
        });
        Self {
            topic: Some(fetched.partition.topic.clone()),
            partition: Some(fetched.partition.partition.0),
            offset: Some(record.offset.0),
            timestamp: time::show(record.timestamp),
            key,
            key_base64,
            value,
            value_base64,
            headers: headers.collect(),
        }
    }

    /// The record to write into `topic`. Its offset is not kept; its partition only if `keep_partition`.
    pub(crate) fn record(self, topic: &str, now: TimestampMs, keep_partition: bool) -> Result<NewRecord, String> {
        let timestamp = self.timestamp.map(|text| text.parse::<time::Instant>()).transpose()?;
        let headers = self.headers.into_iter().map(|header| {
            let value = read_bytes(header.value, header.value_base64)?;
            Ok::<_, String>(Header { key: header.key, value })
        });
        Ok(NewRecord {
            topic: topic.to_owned(),
            partition: self.partition.filter(|_| keep_partition).map(PartitionIndex),
            timestamp: timestamp.map_or(now, TimestampMs::from),
            key: read_bytes(self.key, self.key_base64)?,
            value: read_bytes(self.value, self.value_base64)?,
            headers: headers.collect::<Result<_, _>>()?,
        })
    }
}

fn write_bytes(bytes: Option<&Bytes>) -> (Option<String>, Option<String>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => (None, None),
        Some((Ok(text), _)) => (Some(text.to_owned()), None),
        Some((Err(_), bytes)) => (None, Some(STANDARD.encode(bytes))),
    }
}

fn read_bytes(text: Option<String>, encoded: Option<String>) -> Result<Option<Bytes>, String> {
    match (text, encoded) {
        (Some(_), Some(_)) => Err("a field stands there as text and in base64: give one".to_owned()),
        (Some(text), None) => Ok(Some(Bytes::from(text))),
        (None, Some(encoded)) => {
            let bytes = STANDARD.decode(&encoded).map_err(|error| format!("'{encoded}' is not base64: {error}"))?;
            Ok(Some(Bytes::from(bytes)))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use kennet_client::{Offset, Record, TopicPartition};

    use super::*;

    #[test]
    fn any_bytes_come_back_from_a_line() {
        let record = Record {
            offset: Offset(5),
            timestamp: TimestampMs(1_793_534_400_005),
            key: Some(Bytes::from_static(b"\xff\x00\n")),
            value: None,
            headers: vec![
                Header { key: "a".into(), value: Some(Bytes::from_static(b"")) },
                Header { key: "a".into(), value: None },
            ],
        };
        let fetched = FetchedRecord { partition: TopicPartition::new("t", 2), record: record.clone() };
        let line = serde_json::to_string(&RecordLine::of(&fetched)).unwrap();
        let read: RecordLine = serde_json::from_str(&line).unwrap();
        let back = read.record("u", TimestampMs(0), true).unwrap();
        assert_eq!((back.key, back.value, back.headers), (record.key, record.value, record.headers));
        assert_eq!((back.timestamp, back.partition), (record.timestamp, Some(PartitionIndex(2))));
    }
}
