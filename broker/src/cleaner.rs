//! Compacts logs by itself: the dirtiest that is due first, one at a time, then a rest (`log.cleaner.backoff.ms`).
//!
//! Each round runs on a thread of its own, slowed down to `log.cleaner.io.max.bytes.per.second`, so it holds up neither the runtime nor the reads. A
//! round that fails is reported, and its log rests for a while; a round that panics too. The cleaner itself never ends before the broker does.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use kennet_log::{Compacted, CompactionError, LogId};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::clock;
use crate::partition::Partition;

/// A log whose compaction failed rests this long: the reason rarely goes by itself, and each attempt reads the log.
const REST_MS: i64 = 10 * 60 * 1_000;
/// A round that is early waits when that is at least so long.
const SLEEP_MS_MIN: i64 = 5;

/// What the cleaner has done since the start.
#[derive(Debug, Default)]
pub(crate) struct Cleaned {
    pub(crate) rounds: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) removed_bytes: AtomicU64,
}

/// How a round may go.
#[derive(Debug, Clone, Copy)]
struct Means {
    map_bytes: usize,
    bytes_per_second: u64,
}

/// What one look at all logs came to.
enum Looked {
    NothingToDo,
    Compacted,
    Failed(LogId),
}

/// The log that is being compacted, for when its thread panics.
type Current = Arc<Mutex<Option<LogId>>>;

/// Runs until `stop`.
pub(crate) async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut resting: HashMap<LogId, i64> = HashMap::new();
    loop {
        let (backoff, means) = settings(&broker);
        resting.retain(|_, until| *until > clock::monotonic_ms());
        let current = Current::default();
        let looked = look(&broker, &stop, means, resting.keys().cloned().collect(), Arc::clone(&current)).await;
        let failed = match looked {
            Some(Looked::Compacted) => None,
            Some(Looked::Failed(id)) => Some(id),
            Some(Looked::NothingToDo) => {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(backoff) => {}
                }
                None
            }
            // it panicked, or there was no thread
            None => {
                tokio::time::sleep(backoff.min(Duration::from_secs(1))).await;
                current.lock().unwrap_or_else(PoisonError::into_inner).take()
            }
        };
        if let Some(id) = failed {
            broker.cleaned.failures.fetch_add(1, Ordering::Relaxed);
            resting.insert(id, clock::monotonic_ms() + REST_MS);
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

fn settings(broker: &Broker) -> (Duration, Means) {
    let image = broker.controller.image();
    let configs = broker.configs(&image, None);
    let number = |name| u64::try_from(configs.broker_number(name)).unwrap_or(0);
    let map_bytes = number("log.cleaner.dedupe.buffer.size").min(broker.shares.compaction);
    let means = Means {
        map_bytes: usize::try_from(map_bytes).unwrap_or(usize::MAX),
        bytes_per_second: whole(configs.broker_text("log.cleaner.io.max.bytes.per.second").trim()),
    };
    (Duration::from_millis(number("log.cleaner.backoff.ms")), means)
}

/// A rate as a whole number of at least one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate beyond is no limit either")]
fn whole(text: &str) -> u64 {
    text.parse().map_or(u64::MAX, |rate: f64| rate as u64).max(1)
}

/// Compacts the dirtiest log that is due, on a thread. None when the thread came to nothing.
async fn look(
    broker: &Arc<Broker>,
    stop: &CancellationToken,
    means: Means,
    resting: Vec<LogId>,
    current: Current,
) -> Option<Looked> {
    let (answer, answered) = oneshot::channel();
    let (broker, stop) = (Arc::clone(broker), stop.clone());
    let runtime = Handle::current();
    let work = move || {
        // nobody is there only when the broker stops
        let _ = answer.send(compact_dirtiest(&broker, &runtime, &stop, means, &resting, &current));
    };
    if let Err(error) = std::thread::Builder::new().name("log-cleaner".to_owned()).spawn(work) {
        tracing::warn!(%error, "there is no thread for compaction");
    }
    answered.await.ok()
}

fn compact_dirtiest(
    broker: &Broker,
    runtime: &Handle,
    stop: &CancellationToken,
    means: Means,
    resting: &[LogId],
    current: &Current,
) -> Looked {
    broker.partitions.directory().fill_sealed();
    let mut dirtiest: Option<(f64, Arc<Partition>)> = None;
    for partition in broker.partitions.all() {
        if stop.is_cancelled() {
            return Looked::NothingToDo;
        }
        let id = partition.log.id();
        if resting.contains(id) {
            continue;
        }
        *current.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.clone());
        match partition.log.cleanable(partition.high_watermark(), clock::now()) {
            Ok(Some(found)) if found.is_due && dirtiest.as_ref().is_none_or(|(ratio, _)| *ratio < found.ratio) => {
                dirtiest = Some((found.ratio, partition));
            }
            // an unavailable log is reported by whoever found out
            Ok(_) | Err(CompactionError::Unavailable(_) | CompactionError::Changed) => {}
            Err(error) => {
                report(&partition, &error);
                return Looked::Failed(id.clone());
            }
        }
    }
    let Some((_, partition)) = dirtiest else { return Looked::NothingToDo };
    *current.lock().unwrap_or_else(PoisonError::into_inner) = Some(partition.log.id().clone());
    compact(broker, runtime, &partition, stop, means)
}

fn compact(broker: &Broker, runtime: &Handle, partition: &Partition, stop: &CancellationToken, means: Means) -> Looked {
    let started = clock::monotonic_ms();
    let mut bytes = 0_u64;
    let mut pace = |more: u64| {
        bytes = bytes.saturating_add(more);
        let due = i64::try_from(u128::from(bytes) * 1_000 / u128::from(means.bytes_per_second)).unwrap_or(i64::MAX);
        let early = due.saturating_sub(clock::monotonic_ms() - started);
        if early >= SLEEP_MS_MIN {
            let wait = Duration::from_millis(u64::try_from(early).unwrap_or(0));
            // whether it was the time or the stop is seen below
            let _ = runtime.block_on(async { tokio::time::timeout(wait, stop.cancelled()).await });
        }
        if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let (watermark, time) = (partition.high_watermark(), clock::now());
    match partition.log.compact(watermark, time, means.map_bytes, &mut pace) {
        Ok(None) => Looked::NothingToDo,
        Ok(Some(done)) => {
            note(broker, partition, done, clock::monotonic_ms() - started);
            Looked::Compacted
        }
        Err(CompactionError::Stopped) => Looked::NothingToDo,
        // the next look starts again with what is there
        Err(CompactionError::Changed | CompactionError::Unavailable(_)) => Looked::NothingToDo,
        Err(error) => {
            report(partition, &error);
            Looked::Failed(partition.log.id().clone())
        }
    }
}

fn note(broker: &Broker, partition: &Partition, done: Compacted, took_ms: i64) {
    let Compacted { segments_replaced, segments_made, bytes_before, bytes_after, set_aside, .. } = done;
    broker.cleaned.rounds.fetch_add(1, Ordering::Relaxed);
    broker.cleaned.removed_bytes.fetch_add(bytes_before.saturating_sub(bytes_after), Ordering::Relaxed);
    // a round over a log that has nothing twice is no news
    if segments_replaced == 0 {
        tracing::debug!(topic = &*partition.topic, partition = partition.index.0, took_ms, "a log was clean already");
        return;
    }
    tracing::info!(
        topic = &*partition.topic,
        partition = partition.index.0,
        segments_replaced,
        segments_made,
        bytes_before,
        bytes_after,
        set_aside,
        took_ms,
        "a log was compacted"
    );
}

fn report(partition: &Partition, error: &CompactionError) {
    tracing::error!(
        topic = &*partition.topic,
        partition = partition.index.0,
        %error,
        rest_ms = REST_MS,
        "a log could not be compacted; it is whole, and tried again later"
    );
}
