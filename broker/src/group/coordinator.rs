//! Finds the shard that a group belongs to, loads shards, keeps their time.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use hashbrown::HashMap;
use kennet_contract::config_keys::{CompactionLags, Configs};
use kennet_metadata::decisions::create_topics::{self, NewTopic, TopicDefaults};
use kennet_metadata::{Image, OFFSETS_TOPIC};
use kennet_protocol::{ErrorCode, PartitionIndex, Uuid};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::clock;
use crate::controller::{ChangeError, Removals};
use crate::group::load::LoadError;
use crate::group::memory::{GROUP_BYTES_MAX, Memory};
use crate::group::shard::Shard;
use crate::group::state::GroupLimits;
use crate::start_error::with_source;

/// A read pool that is full is soon empty again.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// A disk that fails is asked this often; each time costs a line in the log.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// All groups of this broker.
pub(crate) struct Coordinator {
    memory: Arc<Memory>,
    shards: RwLock<HashMap<PartitionIndex, Arc<Shard>>>,
    timer: Arc<Notify>,
}

/// Where a group is.
pub(crate) struct Located {
    pub(crate) shard: Arc<Shard>,
}

impl Coordinator {
    pub(crate) fn new(memory: Memory) -> Self {
        Self { memory: Arc::new(memory), shards: RwLock::default(), timer: Arc::default() }
    }

    /// The shard of a group; the topic behind it is made when the first group is looked for.
    pub(crate) async fn locate(&self, broker: &Arc<Broker>, group_id: &str) -> Result<Located, ErrorCode> {
        if broker.is_stopping() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let mut image = broker.controller.image();
        if image.topic(OFFSETS_TOPIC).is_none() {
            create_topic(broker, &image).await?;
            image = broker.controller.image();
        }
        let topic = image.topic(OFFSETS_TOPIC).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        let index = partition_of(group_id, topic.partitions.len());
        self.shard(broker, index).map(|shard| Located { shard }).ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// All shards that there are.
    pub(crate) fn shards(&self, broker: &Arc<Broker>) -> Vec<Arc<Shard>> {
        let image = broker.controller.image();
        let count = image.topic(OFFSETS_TOPIC).map_or(0, |topic| topic.partitions.len());
        (0..).take(count).filter_map(|index| self.shard(broker, PartitionIndex(index))).collect()
    }

    /// Starts to read all groups of an earlier run, and listens for topics that are removed. Nothing is removed before.
    pub(crate) fn start(self: &Arc<Self>, broker: &Arc<Broker>) {
        let removals: Weak<dyn Removals> = Arc::<Self>::downgrade(self);
        broker.controller.tell_removals(removals);
        drop(self.shards(broker));
    }

    /// Waits until all that was decided before is in the log, or can't be.
    pub(crate) async fn settled(&self) {
        for shard in self.present() {
            // whatever became of it
            let _ = shard.settled().await;
        }
    }

    fn present(&self) -> Vec<Arc<Shard>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The shard of a partition, loading it when it is first asked for.
    fn shard(&self, broker: &Arc<Broker>, index: PartitionIndex) -> Option<Arc<Shard>> {
        if let Some(shard) = self.shards.read().unwrap_or_else(PoisonError::into_inner).get(&index) {
            return Some(Arc::clone(shard));
        }
        let image = broker.controller.image();
        let partition = broker.partition(image.topic(OFFSETS_TOPIC)?, index)?;
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let shard = Arc::clone(shards.entry(index).or_insert_with(|| {
            let shard = Shard::start(partition, Arc::clone(&self.timer), &self.memory);
            load(broker, &shard);
            shard
        }));
        drop(shards);
        Some(shard)
    }

    /// Keeps sessions and rebalances in time, and removes expired offsets, until `stop`.
    pub(crate) async fn keep_time(self: Arc<Self>, broker: Arc<Broker>, stop: CancellationToken) {
        let every = with_configs(&broker, |configs| configs.broker_number("offsets.retention.check.interval.ms"));
        let every = Duration::from_millis(u64::try_from(every).unwrap_or(600_000).max(1));
        let mut clean = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        loop {
            let next = self.tick();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep(until(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.timer.notified() => {}
                () = due => {}
                _ = clean.tick() => self.expire(&broker).await,
            }
        }
    }

    fn tick(&self) -> Option<i64> {
        let now = clock::monotonic_ms();
        self.present().iter().filter_map(|shard| shard.tick(now)).min()
    }

    async fn expire(&self, broker: &Arc<Broker>) {
        const MINUTE_MS: i64 = 60_000;
        let retention = with_configs(broker, |configs| configs.broker_number("offsets.retention.minutes"));
        for shard in self.shards(broker) {
            shard.expire(clock::now(), retention.saturating_mul(MINUTE_MS)).await;
        }
    }
}

impl Removals for Coordinator {
    fn removed(&self, topics: &[Arc<str>]) {
        // a shard that is not there was never written since the start
        for shard in self.present() {
            for topic in topics {
                shard.forget_topic(topic);
            }
        }
    }
}

fn until(at: i64) -> Duration {
    Duration::from_millis(u64::try_from(at - clock::monotonic_ms()).unwrap_or(0))
}

/// Loads a shard, now or in the background, and again until it succeeds: a disk that was busy or away may come back.
fn load(broker: &Arc<Broker>, shard: &Arc<Shard>) {
    // of an empty log there is nothing to read, so nobody has to wait
    if shard.is_empty_log() && read(broker, shard).is_ok() {
        return;
    }
    let (broker, shard) = (Arc::downgrade(broker), Arc::downgrade(shard));
    tokio::spawn(retry(async move || load_once(&broker, &shard).await));
}

/// Attempts until there is nothing left to do.
async fn retry(mut attempt: impl AsyncFnMut() -> ControlFlow<()>) {
    let mut wait = RETRY_MIN;
    while attempt().await.is_continue() {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

async fn load_once(broker: &Weak<Broker>, shard: &Weak<Shard>) -> ControlFlow<()> {
    let (Some(broker), Some(shard)) = (broker.upgrade(), shard.upgrade()) else { return ControlFlow::Break(()) };
    if broker.is_stopping() {
        return ControlFlow::Break(());
    }
    let job = {
        let (broker, shard) = (Arc::clone(&broker), Arc::clone(&shard));
        move || read(&broker, &shard)
    };
    match broker.reads.run(job).await {
        Ok(Ok(())) => return ControlFlow::Break(()),
        Ok(Err(error)) => {
            tracing::error!(error = with_source(&error), "groups are not available; it is tried again");
        }
        Err(error) => tracing::warn!(%error, "groups are not loaded yet; it is tried again"),
    }
    ControlFlow::Continue(())
}

fn read(broker: &Broker, shard: &Shard) -> Result<(), LoadError> {
    shard.load(clock::monotonic_ms(), &|topic| broker.controller.image().topic(topic).map(|topic| topic.id))
}

async fn create_topic(broker: &Arc<Broker>, image: &Image) -> Result<(), ErrorCode> {
    let (partitions, segment) = {
        let configs = broker.configs(image, None);
        let partitions = i32::try_from(configs.broker_number("offsets.topic.num.partitions")).unwrap_or(50);
        (partitions, configs.broker_text("offsets.topic.segment.bytes"))
    };
    let topic = NewTopic {
        name: OFFSETS_TOPIC.to_owned(),
        partitions: Some(partitions),
        configs: vec![
            ("cleanup.policy".to_owned(), Some("compact".to_owned())),
            ("segment.bytes".to_owned(), Some(segment)),
        ],
        ..NewTopic::default()
    };
    let defaults = TopicDefaults { partitions, replication_factor: 1, compaction_lags: CompactionLags::DEFAULT };
    let id = Uuid::new_v4();
    let made = broker
        .controller
        .change(move |image| create_topics::decide(image, &topic, defaults, id).map(|records| (records, ())))
        .await;
    match made {
        Ok(()) | Err(ChangeError::Refused(create_topics::CreateTopicError::Exists { .. })) => Ok(()),
        Err(error) => {
            tracing::error!(topic = OFFSETS_TOPIC, %error, "the topic can't be made");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}

/// What the configs say about groups now.
pub(crate) fn limits(broker: &Broker) -> GroupLimits {
    with_configs(broker, |configs| GroupLimits {
        session_ms_min: configs.broker_number("group.min.session.timeout.ms"),
        session_ms_max: configs.broker_number("group.max.session.timeout.ms"),
        initial_delay_ms: configs.broker_number("group.initial.rebalance.delay.ms"),
        members_max: usize::try_from(configs.broker_number("group.max.size")).unwrap_or(usize::MAX),
        bytes_max: GROUP_BYTES_MAX,
        room: usize::MAX,
    })
}

fn with_configs<T>(broker: &Broker, read: impl FnOnce(&Configs<'_>) -> T) -> T {
    let image = broker.controller.image();
    read(&broker.configs(&image, None))
}

/// Java's `String.hashCode`, its absolute value, modulo the number of partitions; as in Kafka the one number that has none counts as 0.
pub(super) fn partition_of(group_id: &str, partitions: usize) -> PartitionIndex {
    let hash = group_id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let count = i32::try_from(partitions).unwrap_or(1).max(1);
    PartitionIndex(hash.checked_abs().unwrap_or(0) % count)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use kennet_protocol::PartitionIndex;

    use super::{RETRY_MAX, partition_of, retry};

    #[test]
    fn a_group_is_in_the_partition_in_which_kafka_has_it() {
        // hash codes 99162322, -1008770331, -2147483648
        for (group_id, of_50, of_7) in [("hello", 22, 0), ("orders", 31, 2), ("polygenelubricants", 0, 0)] {
            assert_eq!(partition_of(group_id, 50), PartitionIndex(of_50), "{group_id}");
            assert_eq!(partition_of(group_id, 7), PartitionIndex(of_7), "{group_id}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_until_it_succeeds() {
        let (mut attempts, begun) = (0, tokio::time::Instant::now());
        retry(async || {
            attempts += 1;
            if attempts < 20 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .await;
        assert_eq!(attempts, 20);
        assert!(begun.elapsed() > 9 * RETRY_MAX && begun.elapsed() < 19 * RETRY_MAX);
    }
}
