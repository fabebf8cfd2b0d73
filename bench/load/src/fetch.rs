//! Fetch requests for the partitions of one topic, one after the other, each from where the last answer ended.
//!
//! Of a batch only the header is looked at: what a reader does with records is no part of what is measured.

use std::net::TcpStream;

use anyhow::{Context, Result, bail};
use kennet_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use kennet_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use kennet_protocol::record::BatchHeader;
use kennet_protocol::{Message, Offset, PartitionIndex, Request, TimestampMs, encode_request};

use crate::wire;

/// The newest version whose topics have names.
const VERSION: i16 = 12;
const LIST_VERSION: i16 = 7;
/// What Kafka's own consumer asks for.
const PARTITION_BYTES: i32 = 1 << 20;
const WAIT_MS: i32 = 500;
/// A full answer of some partitions, and room.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A reader of a topic's partitions, from 0.
#[derive(Debug)]
pub(crate) struct Reader {
    socket: TcpStream,
    topic: String,
    next: Vec<Offset>,
}

impl Reader {
    /// Starts at the partitions' ends (`LATEST`) or beginnings (`EARLIEST`).
    pub(crate) fn new(address: &str, topic: &str, partitions: usize, from: TimestampMs) -> Result<Self> {
        let mut reader =
            Self { socket: wire::connect(address)?, topic: topic.to_owned(), next: vec![Offset(0); partitions] };
        reader.next = reader.offsets(from)?;
        Ok(reader)
    }

    /// The offset that is read next, by partition.
    pub(crate) fn next(&self) -> &[Offset] {
        &self.next
    }

    /// The partitions' offsets at a special position.
    pub(crate) fn offsets(&mut self, at: TimestampMs) -> Result<Vec<Offset>> {
        let partitions = (0..self.next.len())
            .map(|index| {
                anyhow::Ok(ListOffsetsPartition {
                    partition_index: partition(index)?,
                    timestamp: at,
                    ..Default::default()
                })
            })
            .collect::<Result<_>>()?;
        let topics = vec![ListOffsetsTopic { name: self.topic.clone(), partitions }];
        let response: ListOffsetsResponse =
            self.ask(LIST_VERSION, &ListOffsetsRequest { topics, ..Default::default() })?;
        let mut offsets = vec![Offset(0); self.next.len()];
        for found in response.topics.iter().flat_map(|topic| &topic.partitions) {
            if !found.error_code.is_ok() {
                bail!("partition {} answers {}", found.partition_index, found.error_code);
            }
            offsets[usize::try_from(found.partition_index.0)?] = found.offset;
        }
        Ok(offsets)
    }

    /// One request and its answer: bytes of the whole batches that came, of all partitions together.
    pub(crate) fn fetch(&mut self) -> Result<usize> {
        let partitions = (0..)
            .zip(&self.next)
            .map(|(index, next)| FetchPartition {
                partition: PartitionIndex(index),
                fetch_offset: *next,
                partition_max_bytes: PARTITION_BYTES,
                ..Default::default()
            })
            .collect();
        let topics = vec![FetchTopic { topic: self.topic.clone(), partitions, ..Default::default() }];
        let request = FetchRequest { max_wait_ms: WAIT_MS, min_bytes: 1, topics, ..Default::default() };
        let response: FetchResponse = self.ask(VERSION, &request)?;
        let mut bytes = 0;
        for found in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            if !found.error_code.is_ok() {
                bail!("partition {} answers {}", found.partition_index, found.error_code);
            }
            let records = found.records.unwrap_or_default().into_bytes();
            if let Some((length, end)) = whole(&records) {
                bytes += length;
                let next = &mut self.next[usize::try_from(found.partition_index.0)?];
                *next = end.max(*next);
            }
        }
        Ok(bytes)
    }

    fn ask<Q: Request, A: Message>(&mut self, version: i16, request: &Q) -> Result<A> {
        wire::send(&mut self.socket, &encode_request(version, 0, Some("bench"), request)?.concat())?;
        let (_, answer) = wire::receive(&mut self.socket, Q::KEY, version, ANSWER_BYTES_MAX)?;
        Ok(answer)
    }
}

fn partition(index: usize) -> Result<PartitionIndex> {
    Ok(PartitionIndex(i32::try_from(index).context("too many partitions")?))
}

/// Bytes of all whole batches and the offset after the last one; none when there is none.
fn whole(records: &[u8]) -> Option<(usize, Offset)> {
    let (mut rest, mut end) = (records, None);
    while let Some(header) = BatchHeader::parse(rest) {
        let Some(behind) = header.total_length().and_then(|length| rest.get(length..)) else { break };
        rest = behind;
        end = Some(header.next_offset());
    }
    Some((records.len() - rest.len(), end?))
}

#[cfg(test)]
mod tests {
    use kennet_protocol::record::BatchBuilder;

    use super::*;

    #[test]
    fn a_batch_that_is_cut_is_not_counted() {
        let mut batch = BatchBuilder::new(TimestampMs(0));
        for _ in 0..3 {
            batch.push(TimestampMs(0), None, Some(b"value"), &[]);
        }
        let batch = batch.build().unwrap();
        assert_eq!(whole(&batch), Some((batch.len(), Offset(3))));
        assert_eq!(whole(&batch[..batch.len() - 1]), None);
        assert_eq!(whole(&[&batch[..], &batch[..20]].concat()), Some((batch.len(), Offset(3))));
    }
}
