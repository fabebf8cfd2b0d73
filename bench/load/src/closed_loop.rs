//! As many requests as the broker takes: each connection keeps some in flight and sends the next one when one is answered.
//!
//! Says how much the broker can do; the latencies are those of a full pipe and are no promise. Ends after a number of requests or a
//! time, whichever comes first.

use std::collections::VecDeque;
use std::io::BufReader;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::clock;
use crate::latencies::Latencies;
use crate::wire::{self, Prepared};

/// How much is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Connections.
    pub(crate) connections: u32,
    /// Requests that a connection has in flight.
    pub(crate) in_flight: usize,
    /// The most requests, over all connections.
    pub(crate) requests: u32,
    /// The longest time.
    pub(crate) limit: Duration,
}

/// Runs until the plan ends; connection `n` starts with partition `n` and goes through all of them.
pub(crate) fn run(address: &str, prepared: &[Prepared], plan: Plan) -> Result<Value> {
    let sockets = (0..plan.connections).map(|_| wire::connect(address)).collect::<Result<Vec<_>>>()?;
    let taken = AtomicU32::new(0);
    let barrier = Barrier::new(sockets.len() + 1);
    let mut all = Latencies::default();
    let mut seconds = 0.0;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (first, socket) in sockets.into_iter().enumerate() {
            let mut connection = Connection { prepared: prepared.to_vec(), next: first, taken: &taken, plan };
            let barrier = &barrier;
            threads.push(scope.spawn(move || {
                barrier.wait();
                connection.run(socket)
            }));
        }
        barrier.wait();
        let start = clock::now();
        for thread in threads {
            all.append(thread.join().map_err(|_| anyhow!("a connection's thread panicked"))??);
        }
        seconds = clock::now().saturating_duration_since(start).as_secs_f64();
        anyhow::Ok(())
    })?;
    let requests = u32::try_from(all.len())?;
    let mut summary = all.summary();
    summary["requests"] = json!(requests);
    summary["seconds"] = json!(seconds);
    summary["rate"] = json!(f64::from(requests) / seconds);
    Ok(summary)
}

struct Connection<'a> {
    prepared: Vec<Prepared>,
    next: usize,
    taken: &'a AtomicU32,
    plan: Plan,
}

impl Connection<'_> {
    fn run(&mut self, mut socket: std::net::TcpStream) -> Result<Latencies> {
        let mut answers = BufReader::new(socket.try_clone()?);
        let end = clock::now() + self.plan.limit;
        let mut latencies = Latencies::default();
        let mut sent: VecDeque<Instant> = VecDeque::new();
        loop {
            while sent.len() < self.plan.in_flight && clock::now() < end && self.take() {
                sent.push_back(clock::now());
                let partition = self.next % self.prepared.len();
                self.prepared[partition].send(&mut socket, 0)?;
                self.next += 1;
            }
            let Some(begun) = sent.pop_front() else { return Ok(latencies) };
            wire::answer(&mut answers)?;
            latencies.push(clock::micros(clock::now().saturating_duration_since(begun)));
        }
    }

    fn take(&self) -> bool {
        self.taken.fetch_add(1, Ordering::Relaxed) < self.plan.requests
    }
}
