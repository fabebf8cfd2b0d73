//! `kennet produce`: lines of standard input into a topic.

use std::collections::VecDeque;

use bytes::Bytes;
use kennet_client::{Client, Delivery, Header, NewRecord, PartitionIndex, Producer, ProducerOptions};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::clock;
use crate::command_line::Produce;
use crate::error::CliError;
use crate::output::Output;
use crate::progress::Progress;
use crate::record_json::RecordLine;

/// Records whose acknowledgement is outstanding.
const UNACKNOWLEDGED_MAX: usize = 4096;
/// The longest line: a record can't be longer than a batch of 32 bits anyway.
const LINE_BYTES_MAX: usize = 256 << 20;

pub(crate) async fn run(client: Client, output: &Output, options: Produce) -> Result<(), CliError> {
    // a missing topic is said at once, not after the last attempt
    client.topic(&options.topic).await?;
    let settings = ProducerOptions { compression: options.compression, ..ProducerOptions::default() };
    let producer = Producer::new(client, settings);
    let mut input = BufReader::with_capacity(1 << 20, tokio::io::stdin());
    let mut waiting: VecDeque<Delivery> = VecDeque::new();
    let mut progress = Progress::new("written");
    let mut written = 0;
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = tokio::select! {
            read = input.read_until(b'\n', &mut line) => read,
            interrupt = tokio::signal::ctrl_c() => interrupt.map(|()| 0),
        };
        if read.map_err(|source| CliError::failed("reading standard input", source))? == 0 {
            break;
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(CliError::Failed(format!("line {number} is longer than {LINE_BYTES_MAX} bytes")));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let record = read_line(&line, &options).map_err(|why| CliError::Failed(format!("line {number}: {why}")))?;
        waiting.push_back(producer.send(record).await?);
        if waiting.len() >= UNACKNOWLEDGED_MAX
            && let Some(first) = waiting.pop_front()
        {
            first.wait().await?;
            written += 1;
            progress.set(written);
        }
    }
    for delivery in waiting {
        delivery.wait().await?;
        written += 1;
    }
    drop(progress);
    if output.is_json() {
        return output.say("", &json!({"topic": options.topic, "records": written}));
    }
    crate::output::note(&format!("{written} records written to {}", options.topic));
    Ok(())
}

fn read_line(line: &[u8], options: &Produce) -> Result<NewRecord, String> {
    let now = clock::now_ms();
    if options.json {
        let read: RecordLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let mut record = read.record(&options.topic, now, options.keep_partitions)?;
        record.partition = options.partition.map(PartitionIndex).or(record.partition);
        return Ok(record);
    }
    let (key, value) = match &options.key_separator {
        None => (None, line),
        Some(separator) => {
            let at = line.windows(separator.len().max(1)).position(|window| window == separator.as_bytes());
            let at = at.ok_or_else(|| format!("no '{separator}' between key and value"))?;
            (Some(Bytes::copy_from_slice(&line[..at])), &line[at + separator.len()..])
        }
    };
    let header = |(key, value): &(String, String)| Header {
        key: key.clone(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    };
    Ok(NewRecord {
        topic: options.topic.clone(),
        partition: options.partition.map(PartitionIndex),
        timestamp: now,
        key,
        value: Some(Bytes::copy_from_slice(value)),
        headers: options.headers.iter().map(header).collect(),
    })
}
