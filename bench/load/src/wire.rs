//! Plain sockets; produce requests that are encoded once and sent many times, and the answers to them.
//!
//! Only the correlation id differs between two sends, so the load costs the machine as little as it can. Every answer is
//! decoded, and one with an error ends the run: nothing is measured that was not acknowledged.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use kennet_protocol::messages::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use kennet_protocol::record::BatchBuilder;
use kennet_protocol::{ApiKey, Decoder, Message, PartitionIndex, TimestampMs, decode_response_header, encode_request};

/// The newest version whose topics have names.
const VERSION: i16 = 12;
/// Where the correlation id stands in a frame: behind size, API key and version.
const CORRELATION: std::ops::Range<usize> = 8..12;
/// The longest answer to a produce request of one partition that makes sense.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A broker that is silent for so long ends the run.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A request for one partition, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Prepared(Vec<u8>);

impl Prepared {
    /// A batch of equal records for one partition, acks from all replicas, not idempotent.
    pub(crate) fn new(topic: &str, partition: i32, records: u32, bytes: usize, now: TimestampMs) -> Result<Self> {
        let value = vec![b'x'; bytes];
        let mut batch = BatchBuilder::new(now);
        for _ in 0..records {
            batch.push(now, None, Some(&value), &[]);
        }
        let data = PartitionProduceData { index: PartitionIndex(partition), records: Some(batch.build()?) };
        let topic = TopicProduceData { name: topic.to_owned(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        Ok(Self(encode_request(VERSION, 0, Some("bench"), &request)?.concat()))
    }

    /// Writes it with that correlation id.
    pub(crate) fn send(&mut self, socket: &mut TcpStream, id: u32) -> Result<()> {
        self.0[CORRELATION].copy_from_slice(&id.to_be_bytes());
        send(socket, &self.0)
    }
}

/// Opens a connection.
pub(crate) fn connect(address: &str) -> Result<TcpStream> {
    let socket = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(SILENCE_MAX))?;
    socket.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(socket)
}

/// Writes a request.
pub(crate) fn send(socket: &mut TcpStream, request: &[u8]) -> Result<()> {
    socket.write_all(request).context("cannot send")
}

/// Reads one answer of at most so many bytes: its correlation id, and what it says.
pub(crate) fn receive<A: Message>(
    socket: &mut impl Read,
    key: ApiKey,
    version: i16,
    bytes_max: usize,
) -> Result<(i32, A)> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).context("no answer")?;
    let length = usize::try_from(u32::from_be_bytes(length))?;
    if length > bytes_max {
        bail!("an answer of {length} bytes, expected at most {bytes_max}");
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).context("an answer is cut")?;
    let mut input = Decoder::new(Bytes::from(body));
    let id = decode_response_header(key, version, &mut input)?;
    Ok((id, A::decode(&mut input, version)?))
}

/// Reads one answer to a produce request: its correlation id.
pub(crate) fn answer(socket: &mut impl Read) -> Result<u32> {
    let (id, response): (_, ProduceResponse) = receive(socket, ApiKey::Produce, VERSION, ANSWER_BYTES_MAX)?;
    for partition in response.responses.iter().flat_map(|topic| &topic.partition_responses) {
        if !partition.error_code.is_ok() {
            bail!("partition {} answers {}", partition.index, partition.error_code);
        }
    }
    Ok(id.cast_unsigned())
}
