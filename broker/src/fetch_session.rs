//! Incremental fetch sessions (KIP-227): the broker remembers what a client fetches, so that later requests name only changes.
//!
//! A bounded cache: a session that is in use makes room for nobody, except that one of some age makes room for a larger one, as in Kafka.
//! What one connection takes, it takes from itself first. A client that gets session id 0 simply sends full requests.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use kennet_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kennet_protocol::{ErrorCode, Offset, PartitionIndex, TimestampMs, Uuid};

use crate::broker::ConnectionId;

/// A partition as a client names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FetchKey {
    /// By name up to version 12.
    pub(crate) topic: String,
    /// By id from version 13 on.
    pub(crate) topic_id: Uuid,
    pub(crate) partition: PartitionIndex,
}

/// What a client wants of one partition, and what it was last told.
#[derive(Debug, Clone)]
struct Wanted {
    request: FetchPartition,
    told: Option<(Offset, Offset, ErrorCode)>,
}

/// What to fetch, and how to answer.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) session_id: i32,
    /// Answer only partitions with news.
    pub(crate) is_incremental: bool,
    pub(crate) partitions: Vec<(FetchKey, FetchPartition)>,
}

#[derive(Debug)]
struct Session {
    next_epoch: i32,
    /// Whether its requests name topics by id; a session can't change that.
    has_ids: bool,
    connection: ConnectionId,
    /// In the order of the client's requests; rotated so that every partition gets its turn at being first.
    order: Vec<FetchKey>,
    wanted: HashMap<FetchKey, Wanted>,
    made: TimestampMs,
    used: TimestampMs,
}

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking {
    pub(crate) connection: ConnectionId,
    /// The request's version; from 13 on topics are named by id.
    pub(crate) version: i16,
    pub(crate) now: TimestampMs,
    /// A random id for a session that may have to be made.
    pub(crate) new_id: i32,
}

/// The broker's fetch sessions.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    sessions: HashMap<i32, Session>,
    /// Partitions of all sessions. Each is kept with its name, twice: about half a kilobyte.
    partitions_max: usize,
}

/// Partitions of one session; a client with more gets none and sends full requests.
const SESSION_PARTITIONS_MAX: usize = 20_000;
/// Sessions of one connection: clients have one, and a second while they replace it. More only displace the connection's own.
const CONNECTION_SESSIONS_MAX: usize = 4;
/// Kafka's `min.incremental.fetch.session.eviction.ms`: a session that is used makes room for nobody for so long.
const EVICTION_MS: i64 = 120_000;
const FINAL_EPOCH: i32 = -1;
const FIRST_VERSION_WITH_IDS: i16 = 13;

impl FetchSessions {
    pub(crate) fn new(slots: usize, partitions_max: usize) -> Self {
        Self { slots, inner: Mutex::new(Inner { sessions: HashMap::new(), partitions_max }) }
    }

    /// Takes a request into its session.
    pub(crate) fn plan(&self, request: &FetchRequest, asking: Asking) -> Result<Plan, ErrorCode> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match (request.session_id, request.session_epoch) {
            (id, FINAL_EPOCH) => {
                inner.sessions.remove(&id);
                Ok(full(request, 0))
            }
            (id, 0) => {
                inner.sessions.remove(&id);
                let mut plan = full(request, 0);
                plan.session_id = inner.make(&plan.partitions, asking, self.slots);
                Ok(plan)
            }
            (id, _) => inner.go_on(request, id, asking),
        }
    }

    /// Whether a partition's answer says anything new; remembers it as told.
    pub(crate) fn is_news(
        &self,
        session_id: i32,
        key: &FetchKey,
        watermark: Offset,
        log_start: Offset,
        error: ErrorCode,
        records: usize,
    ) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(wanted) = inner.sessions.get_mut(&session_id).and_then(|session| session.wanted.get_mut(key)) else {
            return true;
        };
        let told = wanted.told.replace((watermark, log_start, error));
        records > 0 || error != ErrorCode::None || told != Some((watermark, log_start, error))
    }
}

impl Inner {
    /// Remembers partitions under a new id; 0 when there is no room.
    fn make(&mut self, partitions: &[(FetchKey, FetchPartition)], asking: Asking, slots: usize) -> i32 {
        let Asking { connection, version, now, new_id } = asking;
        if slots == 0 || partitions.is_empty() || new_id <= 0 || self.sessions.contains_key(&new_id) {
            return 0;
        }
        if partitions.len() > SESSION_PARTITIONS_MAX || !self.make_room(partitions.len(), asking, slots) {
            return 0;
        }
        let order = partitions.iter().map(|(key, _)| key.clone()).collect();
        let remembered = |(key, request): &(FetchKey, FetchPartition)| {
            (key.clone(), Wanted { request: request.clone(), told: None })
        };
        let session = Session {
            next_epoch: 1,
            has_ids: version >= FIRST_VERSION_WITH_IDS,
            connection,
            order,
            wanted: partitions.iter().map(remembered).collect(),
            made: now,
            used: now,
        };
        self.sessions.insert(new_id, session);
        new_id
    }

    /// Drops sessions until one of `size` fits: the connection's own beyond its share, idle ones, then smaller ones that are not new.
    fn make_room(&mut self, size: usize, asking: Asking, slots: usize) -> bool {
        let own = |session: &Session| session.connection == asking.connection;
        while self.sessions.values().filter(|session| own(session)).count() >= CONNECTION_SESSIONS_MAX {
            let used = |(_, session): &(&i32, &Session)| session.used;
            let oldest = self.sessions.iter().filter(|(_, session)| own(session)).min_by_key(used).map(|(id, _)| *id);
            oldest.and_then(|oldest| self.sessions.remove(&oldest));
        }
        while self.sessions.len() >= slots || self.partitions() + size > self.partitions_max {
            let Some(evicted) = self.evictable(size, asking.now) else { return false };
            self.sessions.remove(&evicted);
        }
        true
    }

    fn evictable(&self, size: usize, now: TimestampMs) -> Option<i32> {
        let long_ago = |time: TimestampMs| now.0.saturating_sub(time.0) > EVICTION_MS;
        let idle = self.sessions.iter().filter(|(_, session)| long_ago(session.used));
        let idle = idle.min_by_key(|(_, session)| session.used);
        let smaller = || {
            let old = self.sessions.iter().filter(|(_, session)| long_ago(session.made));
            old.min_by_key(|(_, session)| session.wanted.len()).filter(|(_, session)| session.wanted.len() < size)
        };
        idle.or_else(smaller).map(|(id, _)| *id)
    }

    fn partitions(&self) -> usize {
        self.sessions.values().map(|session| session.wanted.len()).sum()
    }

    fn go_on(&mut self, request: &FetchRequest, id: i32, asking: Asking) -> Result<Plan, ErrorCode> {
        let (partitions, partitions_max) = (self.partitions(), self.partitions_max);
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let epoch = request.session_epoch;
        if session.next_epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.has_ids != (asking.version >= FIRST_VERSION_WITH_IDS) {
            // a client's topics got ids, or lost them, by a change of versions: it starts again
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.next_epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.used = asking.now;
        let room = partitions_max.saturating_sub(partitions) + session.wanted.len();
        if !session.change(request, room.min(SESSION_PARTITIONS_MAX)) {
            // a client that is told so starts again, and is not remembered then
            self.sessions.remove(&id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        let partitions =
            session.order.iter().filter_map(|key| Some((key.clone(), session.wanted.get(key)?.request.clone())));
        Ok(Plan { session_id: id, is_incremental: true, partitions: partitions.collect() })
    }
}

impl Session {
    /// Forgets and adds what a request says; false when it would be more than `most` partitions.
    fn change(&mut self, request: &FetchRequest, most: usize) -> bool {
        for topic in &request.forgotten_topics_data {
            for partition in &topic.partitions {
                let key = FetchKey { topic: topic.topic.clone(), topic_id: topic.topic_id, partition: *partition };
                self.wanted.remove(&key);
            }
        }
        self.order.retain(|key| self.wanted.contains_key(key));
        for (key, request) in named(&request.topics) {
            let has_room = self.wanted.len() < most;
            match self.wanted.get_mut(&key) {
                Some(wanted) => wanted.request = request,
                None if has_room => {
                    self.order.push(key.clone());
                    self.wanted.insert(key, Wanted { request, told: None });
                }
                None => return false,
            }
        }
        if !self.order.is_empty() {
            self.order.rotate_left(1);
        }
        true
    }
}

/// All partitions of a request, each once. Of a partition that is named twice the last entry counts, as in Kafka.
fn full(request: &FetchRequest, session_id: i32) -> Plan {
    let mut partitions: Vec<(FetchKey, FetchPartition)> = Vec::new();
    let mut places = HashMap::new();
    for (key, request) in named(&request.topics) {
        match places.get(&key) {
            Some(place) => partitions[*place] = (key, request),
            None => {
                places.insert(key.clone(), partitions.len());
                partitions.push((key, request));
            }
        }
    }
    Plan { session_id, is_incremental: false, partitions }
}

fn named(topics: &[FetchTopic]) -> impl Iterator<Item = (FetchKey, FetchPartition)> {
    topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let key = FetchKey { topic: topic.topic.clone(), topic_id: topic.topic_id, partition: partition.partition };
            (key, partition.clone())
        })
    })
}

#[cfg(test)]
mod tests;
