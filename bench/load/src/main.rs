//! Load for the benchmarks: produce requests over plain sockets, one JSON object as the result.
//!
//! `rate` sends at a fixed rate and measures from the scheduled time; `tail` does so up to a consumer that reads along; `most` sends as
//! fast as answers come; `wake` sends nothing and measures the machine. Topics must be there, on the one broker that is named. Threads
//! block on their sockets: there is no runtime whose own delays would be measured.

mod clock;
mod closed_loop;
mod fetch;
mod latencies;
mod open_loop;
mod stop;
mod tail;
mod wake;
mod wire;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::closed_loop::Plan;
use crate::open_loop::Schedule;
use crate::tail::Beside;
use crate::wire::Prepared;

/// A sane number of requests; also keeps sums within 32 bits.
const REQUESTS_MAX: u32 = 100_000_000;

#[derive(Debug, Parser)]
#[command(about = "Produce requests for the benchmarks")]
struct Command {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// A fixed rate; latencies count from the scheduled time
    Rate {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        pace: Pace,
    },
    /// The same with a connection for each partition, up to a consumer at the tail: its latencies, and those of the acknowledgements
    Tail {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        pace: Pace,
        /// A topic that another consumer reads from start to end meanwhile; ends when it is through
        #[arg(long)]
        beside: Option<String>,
        /// Partitions of that topic
        #[arg(long, default_value_t = 6)]
        beside_partitions: usize,
    },
    /// No requests at all: how late a thread wakes that does nothing else
    Wake {
        #[command(flatten)]
        pace: Pace,
    },
    /// As many requests as are answered
    Most {
        #[command(flatten)]
        target: Target,
        /// Requests in flight on each connection
        #[arg(long, default_value_t = 1)]
        in_flight: usize,
        /// Ends after so many requests
        #[arg(long, default_value_t = REQUESTS_MAX)]
        requests: u32,
        /// Ends after so long
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
}

#[derive(Debug, Args)]
struct Target {
    /// The broker, host:port
    address: String,
    /// A topic that is there
    topic: String,
    /// Partitions of the topic that are written to, from 0
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Connections
    #[arg(long, default_value_t = 4)]
    connections: u32,
    /// Records in a request
    #[arg(long, default_value_t = 1)]
    records: u32,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
}

impl Target {
    fn prepare(&self) -> Result<Vec<Prepared>> {
        let now = clock::timestamp();
        (0..self.partitions.max(1))
            .map(|partition| Prepared::new(&self.topic, partition, self.records, self.bytes, now))
            .collect()
    }
}

#[derive(Debug, Args)]
struct Pace {
    /// Requests a second, over all connections
    #[arg(long)]
    rate: u32,
    /// How long is measured
    #[arg(long)]
    seconds: u32,
    /// How long is sent before that
    #[arg(long, default_value_t = 1)]
    warm_up_seconds: u32,
}

impl Pace {
    fn schedule(&self, connections: u32) -> Result<Schedule> {
        let requests = self
            .rate
            .checked_mul(self.seconds.saturating_add(self.warm_up_seconds))
            .filter(|requests| *requests <= REQUESTS_MAX)
            .with_context(|| format!("more than {REQUESTS_MAX} requests"))?;
        let warm_up = self.rate.saturating_mul(self.warm_up_seconds);
        Ok(Schedule { rate: self.rate, requests, warm_up, connections: connections.max(1) })
    }
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> Result<()> {
    clock::wake_on_time();
    let summary = match Command::parse().mode {
        Mode::Rate { target, pace } => {
            open_loop::run(&target.address, &target.prepare()?, pace.schedule(target.connections)?)?
        }
        Mode::Tail { target, pace, beside, beside_partitions } => {
            let prepared = target.prepare()?;
            let schedule = pace.schedule(u32::try_from(prepared.len())?)?;
            let beside = beside.map(|topic| Beside { topic, partitions: beside_partitions });
            tail::run(&target.address, &target.topic, &prepared, schedule, beside.as_ref())?
        }
        Mode::Wake { pace } => wake::run(&pace.schedule(1)?),
        Mode::Most { target, in_flight, requests, seconds } => {
            let limit = Duration::from_secs(u64::from(seconds));
            let plan = Plan { connections: target.connections.max(1), in_flight: in_flight.max(1), requests, limit };
            closed_loop::run(&target.address, &target.prepare()?, plan)?
        }
    };
    println!("{summary}");
    Ok(())
}
