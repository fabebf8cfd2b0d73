//! Load for the benchmarks: produce requests over plain sockets, one JSON object as the result.
//!
//! `rate` sends at a fixed rate and measures from the scheduled time; `most` sends as fast as answers come. The topic must be there, on
//! the one broker that is named. Threads block on their sockets: there is no runtime whose own delays would be measured.

mod clock;
mod closed_loop;
mod latencies;
mod open_loop;
mod wire;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::closed_loop::Plan;
use crate::open_loop::Schedule;
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
        /// Requests a second, over all connections
        #[arg(long)]
        rate: u32,
        /// How long is measured
        #[arg(long)]
        seconds: u32,
        /// How long is sent before that
        #[arg(long, default_value_t = 1)]
        warm_up_seconds: u32,
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

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> Result<()> {
    clock::wake_on_time();
    let summary = match Command::parse().mode {
        Mode::Rate { target, rate, seconds, warm_up_seconds } => {
            let requests = rate
                .checked_mul(seconds.saturating_add(warm_up_seconds))
                .filter(|requests| *requests <= REQUESTS_MAX)
                .with_context(|| format!("more than {REQUESTS_MAX} requests"))?;
            let warm_up = rate.saturating_mul(warm_up_seconds);
            let schedule = Schedule { rate, requests, warm_up, connections: target.connections.max(1) };
            open_loop::run(&target.address, &target.prepare()?, schedule)?
        }
        Mode::Most { target, in_flight, requests, seconds } => {
            let limit = Duration::from_secs(u64::from(seconds));
            let plan = Plan { connections: target.connections.max(1), in_flight: in_flight.max(1), requests, limit };
            closed_loop::run(&target.address, &target.prepare()?, plan)?
        }
    };
    println!("{summary}");
    Ok(())
}
