//! Producing and fetching in tests: one batch, one partition.

use bytes::Bytes;
use kennet_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use kennet_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
};
use kennet_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use kennet_protocol::record::{BatchBuilder, BatchHeader, Batches, HEADER_LENGTH};
use kennet_protocol::{Offset, PartitionIndex, TimestampMs};

use super::client::Client;

/// A batch with these values and keys, times counting from 1000.
pub fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(TimestampMs(1_000));
    for (at, value) in (1_000..).zip(values) {
        builder.push(TimestampMs(at), Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.build().expect("the batch is made")
}

/// A batch of this header and payload, with the length and the checksum that they call for.
pub fn sealed(mut header: BatchHeader, payload: &[u8]) -> Bytes {
    // what follows the length, and what the checksum is of
    header.batch_length = i32::try_from(HEADER_LENGTH - 12 + payload.len()).expect("a small batch");
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(payload);
    let checksum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes[21..]);
    bytes[17..21].copy_from_slice(&u32::try_from(checksum).expect("32 bits").to_be_bytes());
    Bytes::from(bytes)
}

pub fn produce_request(topic: &str, acks: i16, records: Option<Bytes>) -> ProduceRequest {
    let partition = PartitionProduceData { index: PartitionIndex(0), records };
    let topic =
        TopicProduceData { name: topic.to_owned(), partition_data: vec![partition], ..TopicProduceData::default() };
    ProduceRequest { acks, timeout_ms: 10_000, topic_data: vec![topic], ..ProduceRequest::default() }
}

pub fn fetch_request(topic: &str, offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        partition: PartitionIndex(0),
        fetch_offset: Offset(offset),
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..FetchTopic::default() };
    FetchRequest { max_wait_ms: 0, min_bytes: 1, topics: vec![topic], ..FetchRequest::default() }
}

impl Client {
    /// Appends a batch to partition 0.
    pub fn produce(&mut self, topic: &str, records: Bytes) -> PartitionProduceResponse {
        let mut answer = self.call(9, &produce_request(topic, -1, Some(records)));
        answer.responses.remove(0).partition_responses.remove(0)
    }

    /// Reads partition 0 from an offset, without waiting.
    pub fn fetch(&mut self, topic: &str, offset: i64) -> PartitionData {
        let mut answer = self.call(12, &fetch_request(topic, offset));
        answer.responses.remove(0).partitions.remove(0)
    }

    /// What ListOffsets says of partition 0.
    pub fn list_offset(&mut self, topic: &str, timestamp: i64) -> ListOffsetsPartitionResponse {
        let partition = ListOffsetsPartition { timestamp: TimestampMs(timestamp), ..ListOffsetsPartition::default() };
        let topic = ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] };
        let request = ListOffsetsRequest { topics: vec![topic], ..ListOffsetsRequest::default() };
        self.call(9, &request).topics.remove(0).partitions.remove(0)
    }

    pub fn end_offset(&mut self, topic: &str) -> i64 {
        self.list_offset(topic, -1).offset.0
    }
}

/// Offsets and values of all records that a fetch brought, in order.
pub fn values(data: PartitionData) -> Vec<(i64, String)> {
    let bytes = data.records.map(kennet_protocol::Records::into_bytes).unwrap_or_default();
    let mut found = Vec::new();
    for batch in Batches::new(bytes) {
        let batch = batch.expect("the batch is whole");
        for record in batch.records(1 << 20).expect("the records decode") {
            let record = record.expect("the record decodes");
            let value = String::from_utf8(record.value.expect("a value").to_vec()).expect("a text");
            found.push((record.offset.0, value));
        }
    }
    found
}
