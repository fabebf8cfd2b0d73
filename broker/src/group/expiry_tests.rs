//! When committed offsets expire. Their retention is of whole minutes, so the time is an argument here and no broker waits for it.

use futures::FutureExt;
use kennet_protocol::{ErrorCode, GenerationId, TimestampMs};

use crate::clock;
use crate::group::shard_tests::{LIMITS, TOPIC, World, commit_of, join_of, sync_of};

const DAY_MS: i64 = 86_400_000;

fn later(time: TimestampMs, ms: i64) -> TimestampMs {
    TimestampMs(time.0 + ms)
}

impl World {
    /// Removes what expired by `now` when offsets are kept for a day, and settles it.
    async fn expire(&self, now: TimestampMs) {
        let mut expiring = Box::pin(self.shard.expire(now, DAY_MS));
        while (&mut expiring).now_or_never().is_none() {
            self.acknowledge().await;
        }
    }

    /// Commits for a group, and waits until it is acknowledged.
    async fn commit_for(&self, group_id: &str, who: (&str, i32), offset: i64) {
        let who = (who.0, None, GenerationId(who.1));
        let mut committing = Box::pin(self.shard.commit(group_id, who, || vec![commit_of(offset)], 0));
        assert!((&mut committing).now_or_never().is_none());
        self.acknowledge().await;
        assert_eq!(committing.await, Ok(()));
    }

    /// Becomes the one member of `g`.
    async fn become_member(&self) {
        assert_eq!(self.shard.join("g", join_of("a"), &LIMITS, 0).await.error, ErrorCode::None);
        let mut syncing = Box::pin(self.shard.sync("g", sync_of("a"), 0));
        assert!((&mut syncing).now_or_never().is_none());
        self.acknowledge().await;
        assert_eq!(syncing.await.error, ErrorCode::None);
    }
}

#[tokio::test]
async fn offsets_of_a_group_without_members_expire_with_their_retention_and_it_goes_with_them() {
    let world = World::new();
    let before = clock::now();
    world.commit_for("g", ("", -1), 7).await;
    let after = clock::now();
    world.expire(later(before, DAY_MS - 1)).await;
    assert_eq!(world.committed("g"), Some(7), "a millisecond too early");
    world.expire(later(after, DAY_MS)).await;
    assert_eq!(world.committed("g"), None);
    assert_eq!(world.shard.describe("g", |_| ()), Ok(None), "a group without anything is no group");
    world.shard.load(0, &|_| Some(TOPIC)).unwrap();
    assert_eq!(world.committed("g"), None, "the log knows it too");
}

#[tokio::test]
async fn a_groups_offsets_stay_while_it_has_members_and_expire_after_the_last_one_left() {
    let world = World::new();
    world.become_member().await;
    world.commit_for("g", ("a", 1), 7).await;
    let years = later(clock::now(), 1_000 * DAY_MS);
    world.expire(years).await;
    assert_eq!(world.committed("g"), Some(7), "a member that commits nothing for years still has its offsets");
    let left = clock::now();
    assert_eq!(world.shard.leave("g", "a", None, 0), ErrorCode::None);
    world.acknowledge().await;
    world.expire(later(left, DAY_MS - 1)).await;
    assert_eq!(world.committed("g"), Some(7), "their retention begins when the group is empty");
    world.expire(later(clock::now(), DAY_MS)).await;
    assert_eq!(world.committed("g"), None);
    assert_eq!(world.shard.describe("g", |_| ()), Ok(None));
}

#[tokio::test]
async fn a_commit_begins_the_retention_of_its_offset_anew_and_of_no_other_group() {
    let world = World::new();
    world.commit_for("idle", ("", -1), 7).await;
    world.commit_for("busy", ("", -1), 7).await;
    let first = clock::now();
    // so that the next commit is later than the first by the clock
    while clock::now() <= first {
        tokio::task::yield_now().await;
    }
    world.commit_for("busy", ("", -1), 8).await;
    world.expire(later(first, DAY_MS)).await;
    assert_eq!((world.committed("idle"), world.committed("busy")), (None, Some(8)));
}
