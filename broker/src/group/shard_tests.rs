//! A shard over a real log whose watermark the test moves: what is in the log, and when it is in memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use kennet_log::fs::RealFileSystem;
use kennet_log::{DataDirectory, Limits, LogConfig, LogId};
use kennet_protocol::record::{Batch, BatchBuilder};
use kennet_protocol::{ErrorCode, GenerationId, LeaderEpoch, Offset, PartitionIndex, TimestampMs, Uuid};
use tokio::sync::Notify;

use crate::group::join::Join;
use crate::group::memory::{GROUP_BYTES_MAX, Memory};
use crate::group::offsets::CommitOffset;
use crate::group::records::{self, Committed};
use crate::group::shard::Shard;
use crate::group::state::{GroupLimits, State};
use crate::group::sync::Sync;
use crate::partition::{AckError, Partition};

pub(super) const LIMITS: GroupLimits = GroupLimits {
    session_ms_min: 6_000,
    session_ms_max: 1_800_000,
    initial_delay_ms: 0,
    members_max: 100,
    bytes_max: GROUP_BYTES_MAX,
    room: usize::MAX,
};

/// The one topic, whatever its name.
pub(super) const TOPIC: Uuid = Uuid::from_u128(7);

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(1 << 16))
}

pub(super) struct World {
    pub(super) shard: Arc<Shard>,
    partition: Arc<Partition>,
    directory: DataDirectory,
    _folder: tempfile::TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fs = Arc::new(RealFileSystem::new(folder.path()));
        let directory = DataDirectory::open(fs, folder.path(), Limits::default()).unwrap();
        let id = LogId { topic_id: Uuid::from_u128(1), partition: PartitionIndex(0) };
        let log = directory.open_log(&id, "__consumer_offsets", LogConfig::default(), TimestampMs(0));
        let partition = Arc::new(Partition::new("__consumer_offsets".into(), PartitionIndex(0), log, LeaderEpoch(0)));
        let shard = Shard::start(Arc::clone(&partition), Arc::new(Notify::new()), &memory());
        shard.load(0, &|_| Some(TOPIC)).unwrap();
        Self { shard, partition, directory, _folder: folder }
    }

    /// Everything that was appended is acknowledged, and settled.
    pub(super) async fn acknowledge(&self) {
        self.directory.flush();
        self.partition.advance(self.partition.log.log_end());
        self.settle().await;
    }

    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn committed(&self, group_id: &str) -> Option<i64> {
        let key = ("t".to_owned(), PartitionIndex(0));
        self.shard.offsets(group_id, |offsets| offsets.get(&key).map(|committed| committed.offset.0)).unwrap()
    }

    async fn commit(&self, member_id: &str, generation: i32, offset: i64) -> Result<(), ErrorCode> {
        let who = (member_id, None, GenerationId(generation));
        self.shard.commit("g", who, || vec![commit_of(offset)], 0).await
    }
}

pub(super) fn commit_of(offset: i64) -> CommitOffset {
    CommitOffset {
        topic: "t".to_owned(),
        topic_id: TOPIC,
        partition: PartitionIndex(0),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(0),
        metadata: String::new(),
    }
}

pub(super) fn join_of(new_id: &str) -> Join {
    Join {
        member_id: String::new(),
        instance: None,
        new_member_id: new_id.to_owned(),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_ms: 10_000,
        rebalance_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
        id_required: false,
        can_skip_assignment: true,
    }
}

pub(super) fn sync_of(member_id: &str) -> Sync {
    Sync {
        member_id: member_id.to_owned(),
        instance: None,
        generation: GenerationId(1),
        protocol_type: None,
        protocol: None,
        assignments: vec![(member_id.to_owned(), Bytes::from_static(b"all"))],
    }
}

#[tokio::test]
async fn a_decision_is_in_the_log_before_the_next_one_is_made() {
    let world = World::new();
    let joined = world.shard.join("g", join_of("a"), &LIMITS, 0).await;
    assert_eq!(joined.error, ErrorCode::None);
    let mut syncing = Box::pin(world.shard.sync("g", sync_of("a"), 0));
    assert!((&mut syncing).now_or_never().is_none(), "the assignment is not durable yet");
    assert_eq!(world.partition.log.log_end(), Offset(1), "the assignment, while nobody else had a turn");
    assert_eq!(world.shard.leave("g", "a", None, 0), ErrorCode::None);
    assert_eq!(world.partition.log.log_end(), Offset(2), "the empty group is behind it");
    world.acknowledge().await;
    let found = world.shard.describe("g", |group| (group.state, group.generation)).unwrap();
    assert_eq!(found, Some((State::Empty, GenerationId(2))));
    world.shard.load(0, &|_| Some(TOPIC)).unwrap();
    assert_eq!(world.shard.describe("g", |group| (group.state, group.generation)).unwrap(), found);
}

#[tokio::test]
async fn a_commit_whose_client_is_gone_is_in_memory_as_it_is_in_the_log() {
    let world = World::new();
    assert!(world.commit("", -1, 7).now_or_never().is_none(), "dropped while its record is on its way");
    assert_eq!(world.committed("g"), None);
    world.acknowledge().await;
    assert_eq!(world.committed("g"), Some(7));
}

#[tokio::test]
async fn a_group_that_is_deleted_takes_offsets_along_that_are_on_their_way() {
    let world = World::new();
    let mut first = Box::pin(world.commit("", -1, 7));
    assert!((&mut first).now_or_never().is_none());
    world.acknowledge().await;
    let mut second = Box::pin(world.shard.commit(
        "g",
        ("", None, GenerationId(-1)),
        || vec![CommitOffset { topic: "u".to_owned(), ..commit_of(8) }],
        0,
    ));
    assert!((&mut second).now_or_never().is_none());
    let mut deleting = Box::pin(world.shard.delete_group("g"));
    assert!((&mut deleting).now_or_never().is_none());
    world.acknowledge().await;
    assert_eq!((second.await, deleting.await), (Ok(()), Ok(())));
    assert_eq!(world.shard.offsets("g", std::collections::BTreeMap::len), Ok(0));
    world.shard.load(0, &|_| Some(TOPIC)).unwrap();
    assert_eq!(world.shard.describe("g", |_| ()), Ok(None));
}

#[tokio::test]
async fn a_commit_that_will_never_be_durable_is_answered_and_changes_nothing() {
    let world = World::new();
    let mut waiting = Box::pin(world.commit("", -1, 7));
    assert!((&mut waiting).now_or_never().is_none());
    world.partition.fail(&AckError::Storage { reason: "the volume is full".into() });
    assert_eq!(waiting.await, Err(ErrorCode::NotCoordinator));
    assert_eq!(world.committed("g"), None);
    world.directory.delete_topic(Uuid::from_u128(1)).unwrap();
    assert_eq!(world.commit("", -1, 8).await, Err(ErrorCode::CoordinatorNotAvailable));
}

#[tokio::test]
async fn a_removed_topic_takes_its_offsets_along_those_on_their_way_included() {
    let world = World::new();
    let first = world.commit("", -1, 7);
    let mut second = Box::pin(world.commit("", -1, 8));
    assert!(first.now_or_never().is_none());
    world.acknowledge().await;
    assert!((&mut second).now_or_never().is_none());
    world.shard.forget_topic("t");
    assert_eq!(world.committed("g"), None, "before the tombstone is durable");
    // a topic of that name is made again, and committed to
    let mut third = Box::pin(world.commit("", -1, 1));
    assert!((&mut third).now_or_never().is_none());
    world.acknowledge().await;
    assert_eq!(world.committed("g"), Some(1));
    world.shard.load(0, &|_| Some(TOPIC)).unwrap();
    assert_eq!(world.committed("g"), Some(1));
}

#[tokio::test]
async fn tombstones_that_were_lost_are_written_again_unless_there_is_a_newer_commit() {
    let world = World::new();
    for topic in ["t", "u"] {
        let offset = CommitOffset { topic: topic.to_owned(), ..commit_of(7) };
        let committing = world.shard.commit("g", ("", None, GenerationId(-1)), || vec![offset], 0);
        assert!(committing.now_or_never().is_none());
        world.acknowledge().await;
        world.shard.forget_topic(topic);
        world.partition.fail(&AckError::Storage { reason: "the volume is full".into() });
        world.settle().await;
    }
    assert_eq!(world.partition.log.log_end(), Offset(4));
    assert!(world.commit("", -1, 1).now_or_never().is_none());
    world.acknowledge().await;
    world.shard.bury_all_owed();
    assert_eq!(world.partition.log.log_end(), Offset(6), "the tombstone of u only");
    world.acknowledge().await;
    world.shard.load(0, &|_| Some(TOPIC)).unwrap();
    assert_eq!(world.shard.offsets("g", std::collections::BTreeMap::len), Ok(1));
    assert_eq!(world.committed("g"), Some(1));
}

#[tokio::test]
async fn a_load_forgets_topics_that_are_gone_or_were_removed_while_it_read() {
    let world = World::new();
    assert!(world.commit("", -1, 7).now_or_never().is_none());
    world.acknowledge().await;
    let again = || Shard::start(Arc::clone(&world.partition), Arc::new(Notify::new()), &memory());
    let key = ("t".to_owned(), PartitionIndex(0));
    let found = |shard: &Shard| shard.offsets("g", |offsets| offsets.contains_key(&key)).unwrap();
    let (unchanged, removed) = (again(), again());
    unchanged.load(0, &|_| Some(TOPIC)).unwrap();
    assert!(found(&unchanged));
    removed.forget_topic("t");
    removed.load(0, &|_| Some(TOPIC)).unwrap();
    assert!(!found(&removed), "the topic that exists now is another of that name");
    let absent = again();
    absent.load(0, &|topic| (topic != "t").then_some(TOPIC)).unwrap();
    assert!(!found(&absent));
    assert_eq!(world.partition.log.log_end(), Offset(3), "each wrote a tombstone");
}

#[tokio::test]
async fn a_topic_that_was_made_again_has_no_offsets_of_the_one_before_though_their_tombstones_were_lost() {
    let world = World::new();
    for (topic, id) in [("t", TOPIC), ("u", TOPIC), ("v", Uuid::nil())] {
        let offset = CommitOffset { topic: topic.to_owned(), topic_id: id, ..commit_of(7) };
        let committing = world.shard.commit("g", ("", None, GenerationId(-1)), || vec![offset], 0);
        assert!(committing.now_or_never().is_none());
    }
    world.acknowledge().await;
    // the process dies with a tombstone owed, and t exists again when the next one reads
    let again = Shard::start(Arc::clone(&world.partition), Arc::new(Notify::new()), &memory());
    again.load(0, &|topic| Some(if topic == "t" { Uuid::from_u128(8) } else { TOPIC })).unwrap();
    let names = again.offsets("g", |offsets| offsets.keys().map(|key| key.0.clone()).collect::<Vec<_>>());
    assert_eq!(names.unwrap(), ["u", "v"], "a record without an id is of whatever topic there is");
    assert_eq!(world.partition.log.log_end(), Offset(4), "the tombstone");
}

#[tokio::test]
async fn one_record_that_does_not_decode_costs_no_other() {
    let world = World::new();
    let record = |topic: &str| {
        let committed = Committed {
            offset: Offset(3),
            leader_epoch: LeaderEpoch(0),
            metadata: String::new(),
            committed_at: TimestampMs(0),
            topic_id: Uuid::nil(),
            log_offset: Offset(0),
        };
        records::offset_record("g", topic, PartitionIndex(0), Some(&committed)).unwrap()
    };
    let mut builder = BatchBuilder::new(TimestampMs(0));
    let damaged = (record("x").0, Some(Bytes::from_static(b"\x7f")));
    for (key, value) in [record("t"), (Bytes::from_static(b"\0"), None), damaged, record("u")] {
        builder.push(TimestampMs(0), Some(&key), value.as_deref(), &[]);
    }
    let batch = Batch::parse(&builder.build().unwrap()).unwrap();
    let appended = world.partition.append(&batch, TimestampMs(0));
    assert!(appended.is_ok());
    world.acknowledge().await;
    world.shard.load(0, &|_| Some(TOPIC)).unwrap();
    assert_eq!(world.shard.offsets("g", std::collections::BTreeMap::len), Ok(2));
}

#[tokio::test]
async fn a_shard_that_can_not_be_read_says_so_and_does_not_look_empty() {
    let world = World::new();
    let again = Shard::start(Arc::clone(&world.partition), Arc::new(Notify::new()), &memory());
    assert_eq!(again.list(|_| ()), Err(ErrorCode::CoordinatorLoadInProgress));
    world.directory.delete_topic(Uuid::from_u128(1)).unwrap();
    assert!(again.load(0, &|_| Some(TOPIC)).is_err());
    assert_eq!(again.list(|_| ()), Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(again.join("g", join_of("a"), &LIMITS, 0).await.error, ErrorCode::CoordinatorNotAvailable);
}

#[tokio::test]
async fn a_join_that_is_refused_makes_no_group() {
    let world = World::new();
    let refused = world.shard.join("g", Join { session_ms: 1, ..join_of("a") }, &LIMITS, 0).await;
    assert_eq!(refused.error, ErrorCode::InvalidSessionTimeout);
    assert_eq!(world.shard.list(|_| ()), Ok(Vec::new()));
    let joined = world.shard.join("g", join_of("a"), &LIMITS, 0).await;
    assert_eq!((joined.error, world.shard.list(|_| ()).unwrap().len()), (ErrorCode::None, 1));
}

#[tokio::test]
async fn groups_and_offsets_are_bounded_together_and_give_back_what_they_took() {
    let world = World::new();
    let big = || Join { protocols: vec![("range".to_owned(), Bytes::from(vec![0; 40_000]))], ..join_of("a") };
    assert_eq!(world.shard.join("g", big(), &LIMITS, 0).await.error, ErrorCode::None);
    assert_eq!(world.shard.join("h", big(), &LIMITS, 0).await.error, ErrorCode::GroupMaxSizeReached);
    let commit = |offset: i64| {
        let large = CommitOffset { metadata: "x".repeat(30_000), ..commit_of(offset) };
        world.shard.commit("i", ("", None, GenerationId(-1)), move || vec![large], 0)
    };
    assert_eq!(commit(1).now_or_never(), Some(Err(ErrorCode::InvalidCommitOffsetSize)));
    assert_eq!(world.shard.leave("g", "a", None, 0), ErrorCode::None);
    for offset in 0..3 {
        assert_eq!(commit(offset).now_or_never(), None, "it replaces the one before");
        world.acknowledge().await;
    }
    world.shard.forget_topic("t");
    let joined = world.shard.join("h", big(), &LIMITS, 0).await;
    assert_eq!(joined.error, ErrorCode::None);
}

#[tokio::test]
async fn an_offset_that_is_on_its_way_when_its_topic_goes_is_never_seen() {
    let world = World::new();
    assert!(world.commit("", -1, 7).now_or_never().is_none());
    world.shard.forget_topic("t");
    world.directory.flush();
    world.partition.advance(Offset(1));
    world.settle().await;
    assert_eq!((world.committed("g"), world.partition.log.log_end()), (None, Offset(2)));
    world.acknowledge().await;
    assert_eq!(world.committed("g"), None);
}
