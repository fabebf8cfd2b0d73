//! `kennet produce`: lines of standard input into a topic.

use std::collections::VecDeque;

use bytes::Bytes;
use kennet_client::{Client, Delivery, Header, NewRecord, PartitionIndex, Producer, ProducerOptions};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::clock;
use crate::command_line::Produce;
use crate::error::CliError;
use crate::output::{Output, counted};
use crate::progress::Progress;
use crate::record_json::RecordLine;

/// Records whose acknowledgement is outstanding.
const UNACKNOWLEDGED_MAX: usize = 4096;
/// The longest line: a record can't be longer than a batch of 32 bits anyway.
const LINE_BYTES_MAX: usize = 256 << 20;

/// The first Ctrl-C ends the reading, and what was read is still written; the second does not wait for that.
pub(crate) async fn run(client: Client, output: &Output, options: Produce) -> Result<(), CliError> {
    // listens from here to the end: a signal during a wait is kept until somebody asks
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    let interrupted_twice = async {
        interrupt.recv().await;
        stop.send_replace(true);
        interrupt.recv().await;
    };
    let mut lines = Lines::new(&options);
    tokio::select! {
        biased;
        () = interrupted_twice => {
            let left = lines.waiting.len();
            let left = counted(left, "record");
            return Err(CliError::Failed(format!("stopped with {left} not acknowledged yet")));
        }
        outcome = lines.write(client, stopped) => outcome?,
    }
    let written = lines.written;
    drop(lines);
    if output.is_json() {
        return output.say("", &json!({"topic": options.topic, "records": written}));
    }
    crate::output::note(&format!("{} written to {}", counted(written, "record"), options.topic));
    Ok(())
}

/// Lines on their way into the topic.
struct Lines<'a> {
    options: &'a Produce,
    waiting: VecDeque<Delivery>,
    written: u64,
    progress: Progress,
}

impl<'a> Lines<'a> {
    fn new(options: &'a Produce) -> Self {
        Self { options, waiting: VecDeque::new(), written: 0, progress: Progress::written() }
    }

    /// Until the input ends or `stopped` says so; then until all is acknowledged.
    async fn write(&mut self, client: Client, mut stopped: watch::Receiver<bool>) -> Result<(), CliError> {
        let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
        tokio::pin!(stop);
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            // a missing topic is said at once, not after the last attempt
            known = client.topic(&self.options.topic) => drop(known?),
        }
        let settings = ProducerOptions { compression: self.options.compression, ..ProducerOptions::default() };
        let producer = Producer::new(client, settings);
        let mut input = BufReader::with_capacity(1 << 20, tokio::io::stdin());
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let read = tokio::select! {
                biased;
                () = &mut stop => break,
                read = input.read_until(b'\n', &mut line) => read,
            };
            if read.map_err(|source| CliError::failed("reading standard input", source))? == 0 {
                break;
            }
            let record = record_of(&mut line, self.options);
            let record = record.map_err(|why| CliError::Failed(format!("line {number}: {why}")))?;
            self.waiting.push_back(producer.send(record).await?);
            if self.waiting.len() >= UNACKNOWLEDGED_MAX {
                self.settle_one().await?;
            }
        }
        while !self.waiting.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<(), CliError> {
        // it stays in the queue while it is waited for, so that it is counted if the wait is given up
        if let Some(first) = self.waiting.front_mut() {
            first.wait().await?;
            self.waiting.pop_front();
            self.written += 1;
            self.progress.set(self.written);
        }
        Ok(())
    }
}

fn record_of(line: &mut Vec<u8>, options: &Produce) -> Result<NewRecord, String> {
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("it is longer than {LINE_BYTES_MAX} bytes"));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    read_line(line, options)
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
