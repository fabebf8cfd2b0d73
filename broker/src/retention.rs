//! What happens by itself every few minutes: retention, forgotten producers, deletions that are due.
//!
//! File work runs on the read pool's threads, one partition after the other, so that it never holds up the runtime.

use std::sync::Arc;
use std::time::Duration;

use kennet_log::{DeleteRecordsError, Unavailable};
use kennet_metadata::decisions::delete_topics;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::clock;
use crate::partition::Partition;

/// Scheduled deletions are promised to the second, retention is not.
const DELETIONS_EVERY: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub(crate) async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let image = broker.controller.image();
    let every = broker.configs(&image, None).broker_number("log.retention.check.interval.ms");
    drop(image);
    let every = Duration::from_millis(u64::try_from(every).unwrap_or(300_000));
    let mut retention = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    let mut deletions = tokio::time::interval(DELETIONS_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = deletions.tick() => delete_due(&broker).await,
            _ = retention.tick() => clean(&broker, &stop).await,
        }
    }
}

async fn delete_due(broker: &Broker) {
    let now = clock::now().0;
    if delete_topics::due(&broker.controller.image(), now).is_empty() {
        return;
    }
    let deleted = broker
        .controller
        .change(move |image| {
            let records = delete_topics::due(image, now);
            let count = records.len();
            Ok::<_, std::convert::Infallible>((records, count))
        })
        .await;
    match deleted {
        Ok(count) => tracing::info!(count, "topics were deleted as scheduled"),
        Err(error) => tracing::warn!(%error, "topics could not be deleted as scheduled"),
    }
}

async fn clean(broker: &Arc<Broker>, stop: &CancellationToken) {
    // only segments can go, and one that is complete in memory alone is none yet
    let filling = Arc::clone(broker);
    if let Err(error) = broker.reads.run(move || filling.partitions.directory().fill_sealed()).await {
        tracing::warn!(%error, "retention waits for its next turn");
        return;
    }
    for partition in broker.partitions.all() {
        if stop.is_cancelled() {
            return;
        }
        let job = move || clean_partition(&partition);
        if let Err(error) = broker.reads.run(job).await {
            tracing::warn!(%error, "retention waits for its next turn");
            return;
        }
    }
}

fn clean_partition(partition: &Partition) {
    let now = clock::now();
    partition.log.expire_producers(now);
    match partition.log.apply_retention(partition.high_watermark(), now) {
        Ok(0) => {}
        Ok(segments) => tracing::info!(
            topic = &*partition.topic,
            partition = partition.index.0,
            segments,
            log_start = partition.log.log_start().0,
            "retention removed segments"
        ),
        // its topic was deleted meanwhile
        Err(DeleteRecordsError::Unavailable(Unavailable::Deleted)) => {}
        Err(error) => tracing::warn!(
            topic = &*partition.topic, partition = partition.index.0, %error, "retention could not remove segments"
        ),
    }
}
