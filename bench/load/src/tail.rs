//! A producer at a fixed rate and a consumer at the tail: how long a record takes from the time it was due to the answer that brings it.
//!
//! Each connection writes to a partition of its own, so that a request's number follows from its record's offset. Beside it another
//! consumer may read a topic from its start to its end; then the tail is measured until that one is through.

use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use kennet_protocol::{Offset, TimestampMs};
use serde_json::{Value, json};

use crate::clock;
use crate::fetch::Reader;
use crate::latencies::Latencies;
use crate::open_loop::{self, HEAD_START, Schedule};
use crate::stop::Stop;
use crate::wire::{self, Prepared};

/// A topic that is read beside the tail.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) topic: String,
    pub(crate) partitions: usize,
}

/// What was read beside the tail.
struct Read {
    bytes: usize,
    seconds: f64,
}

/// Runs the schedule, or as much of it as the reader beside it takes; one connection for each partition of `prepared`, one record in each
/// request.
pub(crate) fn run(
    address: &str,
    topic: &str,
    prepared: &[Prepared],
    schedule: Schedule,
    beside: Option<&Beside>,
) -> Result<Value> {
    let stop = Stop::at_end(&schedule);
    let tail = Reader::new(address, topic, prepared.len(), TimestampMs::LATEST)?;
    let other = beside
        .map(|beside| Reader::new(address, &beside.topic, beside.partitions, TimestampMs::EARLIEST))
        .transpose()?;
    let sockets = prepared.iter().map(|_| wire::connect(address)).collect::<Result<Vec<_>>>()?;
    let start = clock::now() + HEAD_START;
    let (mut consumed, mut acknowledged, mut read) = (Latencies::default(), Latencies::default(), None);
    std::thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(tail, &schedule, &stop, start));
        let other = other.map(|reader| scope.spawn(|| read_all(reader, &schedule, &stop, start)));
        acknowledged = open_loop::exchange(sockets, prepared, &schedule, &stop, start)?;
        consumed = consumer.join().map_err(|_| anyhow!("the consumer panicked"))??;
        read = other.map(|other| other.join().map_err(|_| anyhow!("the other reader panicked"))?).transpose()?;
        anyhow::Ok(())
    })?;
    let mut summary = consumed.summary();
    let acknowledged = acknowledged.summary();
    for key in ["p50_us", "p99_us"] {
        summary[format!("acknowledged_{key}")] = acknowledged[key].clone();
    }
    if let Some(read) = read {
        summary["read_bytes"] = json!(read.bytes);
        summary["read_seconds"] = json!(read.seconds);
    }
    Ok(summary)
}

/// Takes every record until each partition's last one.
fn consume(mut reader: Reader, schedule: &Schedule, stop: &Stop, start: Instant) -> Result<Latencies> {
    let bases = reader.next().to_vec();
    let mut seen = bases.clone();
    let mut latencies = Latencies::with_capacity(usize::try_from(schedule.requests)?);
    loop {
        reader.fetch()?;
        let now = clock::now();
        let mut ended = true;
        for (connection, base) in (0..).zip(&bases) {
            let partition = usize::try_from(connection)?;
            while seen[partition] < reader.next()[partition] {
                let request = request_of(schedule, connection, *base, seen[partition])?;
                if (schedule.warm_up..stop.number()).contains(&request) {
                    latencies.push(clock::micros(now.saturating_duration_since(schedule.due(start, request))));
                }
                seen[partition] = seen[partition] + 1;
            }
            ended &=
                seen[partition] > *base && stop.is_last(request_of(schedule, connection, *base, seen[partition] + -1)?);
        }
        if ended {
            return Ok(latencies);
        }
    }
}

/// The number of the request that made this record.
fn request_of(schedule: &Schedule, connection: u32, base: Offset, offset: Offset) -> Result<u32> {
    let nth = u32::try_from(offset - base).context("an offset before the first")?;
    Ok(connection + nth * schedule.connections)
}

/// Reads to the end that was there at the start, once the tail is warm, and ends the schedule then.
fn read_all(mut reader: Reader, schedule: &Schedule, stop: &Stop, start: Instant) -> Result<Read> {
    let ends = reader.offsets(TimestampMs::LATEST)?;
    clock::sleep_until(schedule.due(start, schedule.warm_up));
    let (began, limit) = (clock::now(), schedule.due(start, schedule.requests));
    let mut bytes = 0;
    while reader.next().iter().zip(&ends).any(|(next, end)| next < end) {
        bytes += reader.fetch()?;
        if clock::now() > limit {
            bail!("the other reader was not through in time; it had {bytes} bytes");
        }
    }
    let seconds = clock::now().saturating_duration_since(began).as_secs_f64();
    stop.at(schedule.number_at(start, clock::now() + HEAD_START));
    Ok(Read { bytes, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_offset_says_which_request_it_was() {
        let schedule = Schedule { rate: 4, requests: 10, warm_up: 0, connections: 3 };
        for connection in 0..3 {
            for (offset, request) in (100..).zip(schedule.of_connection(connection)) {
                let found = request_of(&schedule, connection, Offset(100), Offset(offset)).unwrap();
                assert_eq!(found, request, "connection {connection}");
            }
        }
    }
}
