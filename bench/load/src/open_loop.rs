//! Requests at a fixed rate, whatever the broker does: request `n` is due at `start + n / rate`, and its latency counts from there.
//!
//! So a broker that stalls is charged for every request that should have been sent meanwhile (no coordinated omission). A connection has
//! a thread that sends and one that reads; requests wait in the socket when the broker does not take them.

use std::io::BufReader;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::clock;
use crate::latencies::Latencies;
use crate::stop::Stop;
use crate::wire::{self, Prepared};

/// Between the threads' start and the first request.
pub(crate) const HEAD_START: Duration = Duration::from_millis(50);

/// What is sent when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// Requests a second, over all connections.
    pub(crate) rate: u32,
    /// All requests.
    pub(crate) requests: u32,
    /// The first ones, which are not measured.
    pub(crate) warm_up: u32,
    /// Connections, which take turns.
    pub(crate) connections: u32,
}

impl Schedule {
    /// When a request is due.
    pub(crate) fn due(&self, start: Instant, request: u32) -> Instant {
        start + Duration::from_nanos(u64::from(request) * 1_000_000_000 / u64::from(self.rate.max(1)))
    }

    /// The first request that is due at that time or later.
    pub(crate) fn number_at(&self, start: Instant, then: Instant) -> u32 {
        let elapsed = then.saturating_duration_since(start).as_nanos();
        u32::try_from((elapsed * u128::from(self.rate)).div_ceil(1_000_000_000)).unwrap_or(u32::MAX)
    }

    /// The requests of one connection.
    pub(crate) fn of_connection(&self, connection: u32) -> impl Iterator<Item = u32> + use<> {
        (connection..self.requests).step_by(usize::try_from(self.connections).unwrap_or(1))
    }
}

/// Sends everything and waits for every answer. Request `n` goes to partition `n` modulo their number.
pub(crate) fn run(address: &str, prepared: &[Prepared], schedule: Schedule) -> Result<Value> {
    let sockets = (0..schedule.connections).map(|_| wire::connect(address)).collect::<Result<Vec<_>>>()?;
    let start = clock::now() + HEAD_START;
    let all = exchange(sockets, prepared, &schedule, &Stop::at_end(&schedule), start)?;
    let seconds = clock::now().saturating_duration_since(start).as_secs_f64();
    let mut summary = all.summary();
    summary["requests"] = json!(schedule.requests);
    summary["seconds"] = json!(seconds);
    summary["rate"] = json!(f64::from(schedule.requests) / seconds);
    Ok(summary)
}

/// The same over connections that are there, up to the stop.
pub(crate) fn exchange(
    sockets: Vec<TcpStream>,
    prepared: &[Prepared],
    schedule: &Schedule,
    stop: &Stop,
    start: Instant,
) -> Result<Latencies> {
    let mut all = Latencies::default();
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        let mut senders = Vec::new();
        for (connection, socket) in (0..).zip(sockets) {
            let out = socket.try_clone()?;
            readers.push(scope.spawn(move || read(socket, schedule, stop, start, connection)));
            senders.push(scope.spawn(move || send(out, prepared.to_vec(), schedule, stop, start, connection)));
        }
        for sender in senders {
            sender.join().map_err(|_| anyhow!("a sender panicked"))??;
        }
        for reader in readers {
            all.append(reader.join().map_err(|_| anyhow!("a reader panicked"))??);
        }
        anyhow::Ok(())
    })?;
    Ok(all)
}

fn send(
    mut socket: TcpStream,
    mut prepared: Vec<Prepared>,
    schedule: &Schedule,
    stop: &Stop,
    start: Instant,
    connection: u32,
) -> Result<()> {
    let partitions = prepared.len();
    for request in schedule.of_connection(connection) {
        clock::sleep_until(schedule.due(start, request));
        prepared[usize::try_from(request)? % partitions].send(&mut socket, request)?;
        if stop.is_last(request) {
            break;
        }
    }
    Ok(())
}

fn read(socket: TcpStream, schedule: &Schedule, stop: &Stop, start: Instant, connection: u32) -> Result<Latencies> {
    let mut answers = BufReader::new(socket);
    let mut latencies = Latencies::with_capacity(schedule.of_connection(connection).count());
    for _ in schedule.of_connection(connection) {
        let request = wire::answer(&mut answers)?;
        if request >= schedule.warm_up {
            latencies.push(clock::micros(clock::now().saturating_duration_since(schedule.due(start, request))));
        }
        if stop.is_last(request) {
            break;
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_all_requests_and_the_rate_is_theirs_together() {
        let schedule = Schedule { rate: 4, requests: 10, warm_up: 0, connections: 3 };
        let mut sent: Vec<u32> = (0..3).flat_map(|connection| schedule.of_connection(connection)).collect();
        sent.sort_unstable();
        assert_eq!(sent, (0..10).collect::<Vec<_>>());
        let start = clock::now();
        assert_eq!(schedule.due(start, 6) - start, Duration::from_millis(1500));
        assert_eq!(schedule.number_at(start, start + Duration::from_millis(1500)), 6);
        assert_eq!(schedule.number_at(start, start + Duration::from_millis(1501)), 7);
    }
}
