//! All partitions of this broker, kept in step with committed metadata.
//!
//! A commit is answered after its partitions are open here, so a client that was told of a topic can use it. The completion task takes what
//! the journal made durable and moves high watermarks; it is the only one that does.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use hashbrown::HashMap;
use kennet_contract::config_keys::Configs;
use kennet_log::{Advance, DataDirectory, LogConfig, LogId, PartitionLog, Progress};
use kennet_metadata::{Image, Record, ResourceType, Topic};
use kennet_protocol::{BrokerId, Offset, PartitionIndex, Uuid};
use tokio::sync::Notify;

use crate::clock;
use crate::controller::Follower;
use crate::partition::open::NO_CONFIGS;
use crate::partition::{AckError, Partition, log_config};

/// The partitions that this broker has.
pub(crate) struct Partitions {
    broker_id: BrokerId,
    file_configs: BTreeMap<String, String>,
    directory: Arc<DataDirectory>,
    by_id: RwLock<HashMap<LogId, Arc<Partition>>>,
    /// Topics in the data directory that metadata did not name at the start.
    unknown_topics: AtomicUsize,
    /// What the journal reported and the completion task has not taken.
    reported: Mutex<Vec<Report>>,
    report: Notify,
    /// Appends that were refused because too much waits for the disk may be tried again.
    room: Notify,
}

enum Report {
    Durable(LogId, Offset),
    Dropped(LogId),
    Failed(Arc<str>),
}

impl Partitions {
    pub(crate) fn new(
        broker_id: BrokerId,
        file_configs: BTreeMap<String, String>,
        directory: Arc<DataDirectory>,
    ) -> Arc<Self> {
        let partitions = Arc::new(Self {
            broker_id,
            file_configs,
            directory: Arc::clone(&directory),
            by_id: RwLock::default(),
            unknown_topics: AtomicUsize::new(0),
            reported: Mutex::default(),
            report: Notify::new(),
            room: Notify::new(),
        });
        let progress: std::sync::Weak<dyn Progress> = Arc::downgrade(&(Arc::clone(&partitions) as Arc<dyn Progress>));
        directory.set_progress(progress);
        partitions
    }

    /// The partition, if this broker has it.
    pub(crate) fn get(&self, topic_id: Uuid, partition: PartitionIndex) -> Option<Arc<Partition>> {
        let id = LogId { topic_id, partition };
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// All partitions, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn directory(&self) -> &DataDirectory {
        &self.directory
    }

    /// Opens the logs of all partitions that the image gives this broker, and calls `opened` after each; used once, at the start. It waits
    /// for the disk, so it must not run on the runtime. Of the topics that metadata removed, a crash may have left files; they go.
    pub(crate) fn open_all(&self, image: &Image, removed_topics: &[Uuid], opened: impl Fn()) {
        for topic in image.topics() {
            let config = log_config(&topic.name, &self.configs(image, Some(topic)));
            for (index, partition) in (0..).zip(&topic.partitions) {
                if partition.replicas.contains(&self.broker_id) {
                    self.open_partition(topic, PartitionIndex(index), &config);
                }
                opened();
            }
        }
        self.finish_removals(image, removed_topics);
        self.tell_of_unknown(image);
    }

    /// Removes what is left of topics whose removal is committed.
    fn finish_removals(&self, image: &Image, removed_topics: &[Uuid]) {
        // one that can't be listed is told of below
        let found = self.directory.topics_found().unwrap_or_default();
        for topic_id in removed_topics.iter().filter(|id| found.contains(*id) && image.topic_by_id(**id).is_none()) {
            tracing::info!(topic = %topic_id, "the deletion of a topic is finished, which was cut off");
            self.remove_topic(*topic_id);
        }
    }

    /// Topics that the data directory has and metadata does not name are kept. They take room, and nobody else tells of them.
    fn tell_of_unknown(&self, image: &Image) {
        let found = match self.directory.topics_found() {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "the data directory's topics could not be listed"),
        };
        let unknown: Vec<_> = found.into_iter().filter(|id| image.topic_by_id(*id).is_none()).collect();
        self.unknown_topics.store(unknown.len(), Ordering::Relaxed);
        if let Some(first) = unknown.iter().min() {
            let (count, path) = (unknown.len(), self.directory.path().join("topics").join(first.to_string()));
            tracing::warn!(
                count,
                first = %path.display(),
                "the data directory has topics that metadata does not name; they are kept and take room"
            );
        }
    }

    /// Topics in the data directory that metadata did not name at the start.
    pub(crate) fn unknown_topics(&self) -> usize {
        self.unknown_topics.load(Ordering::Relaxed)
    }

    /// All layers of configs for a topic, or for none.
    pub(crate) fn configs<'a>(&'a self, image: &'a Image, topic: Option<&'a Topic>) -> Configs<'a> {
        Configs {
            topic: topic.map_or(&NO_CONFIGS, |topic| &topic.configs),
            dynamic_broker: image.broker_configs(self.broker_id).unwrap_or(&NO_CONFIGS),
            dynamic_cluster: image.cluster_configs(),
            file: &self.file_configs,
        }
    }

    /// Tries an append until it is no longer refused because too much waits for the disk, or `timeout` is over; then the refusal is the answer.
    pub(crate) async fn when_there_is_room<T, E>(
        &self,
        timeout: Duration,
        append: impl Fn() -> Result<T, E>,
        is_busy: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let mut deadline = None;
        loop {
            let mut room = pin!(self.room.notified());
            // before the attempt, so that no room is missed in between
            room.as_mut().enable();
            match append() {
                Err(error) if is_busy(&error) => {
                    let deadline = *deadline.get_or_insert_with(|| tokio::time::Instant::now() + timeout);
                    if tokio::time::timeout_at(deadline, room).await.is_err() {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    /// Moves watermarks and completes waiters as the journal reports, for ever.
    pub(crate) async fn complete(self: Arc<Self>) {
        loop {
            self.report.notified().await;
            let reports = std::mem::take(&mut *self.reported.lock().unwrap_or_else(PoisonError::into_inner));
            for report in reports {
                self.take(report);
            }
        }
    }

    fn take(&self, report: Report) {
        match report {
            Report::Durable(id, end) => {
                if let Some(partition) = self.get(id.topic_id, id.partition) {
                    partition.advance(end);
                }
            }
            Report::Dropped(id) => {
                if let Some(partition) = self.get(id.topic_id, id.partition) {
                    partition.fail_dropped();
                }
            }
            Report::Failed(reason) => {
                for partition in self.all() {
                    partition.fail(&AckError::Storage { reason: Arc::clone(&reason) });
                }
            }
        }
    }

    fn open_partition(&self, topic: &Topic, index: PartitionIndex, config: &LogConfig) {
        let Some(described) = topic.partition(index) else { return };
        if let Some(open) = self.get(topic.id, index) {
            open.set_leader_epoch(described.leader_epoch);
            return;
        }
        let id = LogId { topic_id: topic.id, partition: index };
        let log = self.directory.open_log(&id, &topic.name, config.clone(), clock::now());
        if let Some(reason) = log.unavailable() {
            tracing::error!(topic = &*topic.name, partition = index.0, error = %reason, "partition is offline");
        }
        let partition = Partition::new(Arc::clone(&topic.name), index, log, described.leader_epoch);
        self.by_id.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(partition));
    }

    fn remove_topic(&self, topic_id: Uuid) {
        let removed: Vec<_> = self
            .by_id
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extract_if(|id, _| id.topic_id == topic_id)
            .collect();
        if let Err(error) = self.directory.delete_topic(topic_id) {
            tracing::error!(topic = %topic_id, %error, "files of a deleted topic could not be removed");
        }
        for (_, partition) in removed {
            partition.fail(&AckError::Deleted);
        }
    }

    fn update_configs(&self, image: &Image, topic: &Topic) {
        let config = log_config(&topic.name, &self.configs(image, Some(topic)));
        for index in (0..).take(topic.partitions.len()) {
            if let Some(partition) = self.get(topic.id, PartitionIndex(index)) {
                partition.log.set_config(config.clone());
            }
        }
    }

    fn follow_record(&self, image: &Image, record: &Record) {
        match record {
            Record::Partition(fields) => {
                if let Some(topic) = image.topic_by_id(fields.topic_id) {
                    let config = log_config(&topic.name, &self.configs(image, Some(topic)));
                    self.open_partition(topic, fields.partition, &config);
                }
            }
            Record::RemoveTopic(fields) => self.remove_topic(fields.topic_id),
            Record::Config(fields) => match ResourceType::from_number(fields.resource_type) {
                Some(ResourceType::Topic) => {
                    if let Some(topic) = image.topic(&fields.resource_name) {
                        self.update_configs(image, topic);
                    }
                }
                Some(ResourceType::Broker) => image.topics().for_each(|topic| self.update_configs(image, topic)),
                None => {}
            },
            Record::Broker(_)
            | Record::Topic(_)
            | Record::ProducerIds(_)
            | Record::TopicOwner(_)
            | Record::AppliedGeneration(_) => {}
        }
    }

    fn push(&self, reports: impl Iterator<Item = Report>) {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).extend(reports);
        self.report.notify_one();
    }
}

impl Follower for Partitions {
    fn follow(&self, image: &Arc<Image>, records: &[Record]) {
        for record in records {
            self.follow_record(image, record);
        }
    }

    fn failed(&self, reason: &str) {
        self.directory.fail(reason);
    }
}

impl Progress for Partitions {
    fn durable(&self, advances: &[Advance]) {
        self.push(advances.iter().map(|advance| Report::Durable(advance.log.id().clone(), advance.durable_end)));
    }

    fn room(&self) {
        self.room.notify_waiters();
    }

    fn full(&self, is_full: bool) {
        let path = self.directory.path().display();
        if is_full {
            tracing::error!(%path, "the volume is full; produce is refused until there is room");
        } else {
            tracing::info!(%path, "the volume has room again");
        }
        self.room.notify_waiters();
    }

    fn dropped(&self, logs: &[Arc<PartitionLog>]) {
        self.push(logs.iter().map(|log| Report::Dropped(log.id().clone())));
    }

    fn failed(&self, reason: &str) {
        tracing::error!(path = %self.directory.path().display(), error = reason, "the data directory failed");
        self.push(std::iter::once(Report::Failed(reason.into())));
    }

    fn buffered(&self) {
        let path = self.directory.path().display();
        tracing::warn!(
            %path,
            "the volume takes no direct writes (O_DIRECT): the journal is buffered and synced, which is as safe and slower; put it on a local disk with ext4 or XFS"
        );
    }

    fn complain(&self, message: &str) {
        tracing::warn!(error = message, "a file of the data directory could not be used");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::FutureExt;
    use kennet_log::fs::RealFileSystem;
    use kennet_log::{DataDirectory, Limits, Progress};
    use kennet_metadata::{ConfigRecord, Image, MetadataLog, MetadataLogError, Record};
    use kennet_protocol::BrokerId;

    use super::Partitions;
    use crate::controller::{ChangeError, Controller, Follower};

    fn partitions(folder: &Path) -> Arc<Partitions> {
        let fs = Arc::new(RealFileSystem::new(folder));
        let limits = Limits { journal_bytes_max: Some(4 << 20), ..Limits::default() };
        let directory = Arc::new(DataDirectory::open(fs, folder, limits).unwrap());
        Partitions::new(BrokerId(0), BTreeMap::new(), directory)
    }

    /// On a disk whose sync failed.
    struct Broken;

    impl MetadataLog for Broken {
        fn append(&mut self, _: &[Record]) -> Result<i64, MetadataLogError> {
            Err(MetadataLogError::Io { path: "metadata.log".to_owned(), source: std::io::Error::other("EIO") })
        }
        fn committed_offset(&self) -> i64 {
            -1
        }
        fn wants_snapshot(&self) -> bool {
            false
        }
        fn write_snapshot(&mut self, _: &Image) -> Result<(), MetadataLogError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_metadata_log_that_fails_takes_the_directory_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let partitions = partitions(folder.path());
        let follower = Arc::clone(&partitions) as Arc<dyn Follower>;
        let controller = Controller::start(Box::new(Broken), Image::default(), follower).unwrap();
        let set = Record::Config(ConfigRecord {
            resource_type: 4,
            resource_name: String::new(),
            name: "log.retention.ms".to_owned(),
            value: Some("1".to_owned()),
        });
        let changed = controller.change(|_| Ok::<_, ()>((vec![set], ()))).await;
        assert!(matches!(changed, Err(ChangeError::Unavailable { .. })));
        assert!(partitions.directory().failed().is_some(), "records would be acknowledged on a disk that failed");
    }

    #[tokio::test(start_paused = true)]
    async fn an_append_waits_for_room_and_is_tried_again_when_there_is_some() {
        let folder = tempfile::tempdir().unwrap();
        let partitions = partitions(folder.path());
        let tries = AtomicUsize::new(0);
        let append = || match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err("busy"),
            tries => Ok(tries),
        };
        let appended = partitions.when_there_is_room(Duration::from_secs(10), append, |error| *error == "busy");
        tokio::pin!(appended);
        // who waits here has not been answered, and its connection is not read
        assert!(appended.as_mut().now_or_never().is_none());
        assert!(appended.as_mut().now_or_never().is_none(), "without room it is not tried again");
        assert_eq!(tries.load(Ordering::Relaxed), 1);
        partitions.room();
        assert_eq!(appended.await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_append_that_finds_no_room_is_refused_when_its_time_is_over_and_other_errors_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let partitions = partitions(folder.path());
        let started = tokio::time::Instant::now();
        let wait = Duration::from_secs(10);
        let busy = partitions.when_there_is_room(wait, || Err::<(), _>("busy"), |error| *error == "busy").await;
        assert_eq!((busy, started.elapsed()), (Err("busy"), wait));
        let other = partitions.when_there_is_room(wait, || Err::<(), _>("other"), |error| *error == "busy").await;
        assert_eq!((other, started.elapsed()), (Err("other"), wait));
    }
}
