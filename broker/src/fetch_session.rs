//! Incremental fetch sessions (KIP-227): the broker remembers what a client fetches, so that later requests name only changes.
//!
//! A bounded cache: when it is full, the session that was idle longest goes, and a client that is told so starts again. A client that
//! gets session id 0 simply sends full requests.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use kennet_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kennet_protocol::{ErrorCode, Offset, PartitionIndex, Uuid};

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
pub(crate) struct Wanted {
    pub(crate) request: FetchPartition,
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
    /// In the order of the client's requests; rotated so that every partition gets its turn at being first.
    order: Vec<FetchKey>,
    wanted: HashMap<FetchKey, Wanted>,
    used: u64,
}

/// The broker's fetch sessions.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<i32, Session>,
    clock: u64,
}

/// Partitions of one session; a client with more gets none and sends full requests.
const SESSION_PARTITIONS_MAX: usize = 100_000;
const FINAL_EPOCH: i32 = -1;

impl FetchSessions {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots, inner: Mutex::default() }
    }

    /// Takes a request into its session; `new_id` is a random id for a session that may have to be made.
    pub(crate) fn plan(&self, request: &FetchRequest, new_id: i32) -> Result<Plan, ErrorCode> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        match (request.session_id, request.session_epoch) {
            (id, FINAL_EPOCH) => {
                inner.sessions.remove(&id);
                Ok(full(request, 0))
            }
            (id, 0) => {
                inner.sessions.remove(&id);
                let session_id = inner.make(request, new_id, self.slots);
                Ok(full(request, session_id))
            }
            (id, epoch) => inner.go_on(request, id, epoch),
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
    fn make(&mut self, request: &FetchRequest, new_id: i32, slots: usize) -> i32 {
        let partitions: Vec<_> = named(&request.topics).collect();
        if slots == 0 || partitions.len() > SESSION_PARTITIONS_MAX || self.sessions.contains_key(&new_id) || new_id <= 0
        {
            return 0;
        }
        if self.sessions.len() >= slots
            && let Some(oldest) = self.sessions.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| *id)
        {
            self.sessions.remove(&oldest);
        }
        let order = partitions.iter().map(|(key, _)| key.clone()).collect();
        let wanted = partitions.into_iter().map(|(key, request)| (key, Wanted { request, told: None })).collect();
        self.sessions.insert(new_id, Session { next_epoch: 1, order, wanted, used: self.clock });
        new_id
    }

    fn go_on(&mut self, request: &FetchRequest, id: i32, epoch: i32) -> Result<Plan, ErrorCode> {
        let clock = self.clock;
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.next_epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        session.next_epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.used = clock;
        for topic in &request.forgotten_topics_data {
            for partition in &topic.partitions {
                let key = FetchKey { topic: topic.topic.clone(), topic_id: topic.topic_id, partition: *partition };
                session.wanted.remove(&key);
            }
        }
        for (key, request) in named(&request.topics) {
            let has_room = session.wanted.len() < SESSION_PARTITIONS_MAX;
            match session.wanted.get_mut(&key) {
                Some(wanted) => wanted.request = request,
                None if has_room => {
                    session.order.push(key.clone());
                    session.wanted.insert(key, Wanted { request, told: None });
                }
                None => return Err(ErrorCode::InvalidRequest),
            }
        }
        session.order.retain(|key| session.wanted.contains_key(key));
        if !session.order.is_empty() {
            session.order.rotate_left(1);
        }
        let partitions =
            session.order.iter().filter_map(|key| Some((key.clone(), session.wanted.get(key)?.request.clone())));
        Ok(Plan { session_id: id, is_incremental: true, partitions: partitions.collect() })
    }
}

fn full(request: &FetchRequest, session_id: i32) -> Plan {
    Plan { session_id, is_incremental: false, partitions: named(&request.topics).collect() }
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
mod tests {
    use kennet_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
    use kennet_protocol::{ErrorCode, Offset, PartitionIndex};

    use super::{FetchKey, FetchSessions, Plan};

    fn request(id: i32, epoch: i32, partitions: &[i32]) -> FetchRequest {
        let partition = |index: &i32| FetchPartition { partition: PartitionIndex(*index), ..FetchPartition::default() };
        let topic = FetchTopic {
            topic: "t".to_owned(),
            partitions: partitions.iter().map(partition).collect(),
            ..FetchTopic::default()
        };
        FetchRequest { session_id: id, session_epoch: epoch, topics: vec![topic], ..FetchRequest::default() }
    }

    fn indexes(plan: &Plan) -> Vec<i32> {
        let mut found: Vec<_> = plan.partitions.iter().map(|(key, _)| key.partition.0).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_session_remembers_what_is_not_named_again() {
        let sessions = FetchSessions::new(10);
        assert_eq!(sessions.plan(&request(0, 0, &[0, 1]), 7).unwrap().session_id, 7);
        let plan = sessions.plan(&request(7, 1, &[2]), 8).unwrap();
        assert!(plan.is_incremental);
        assert_eq!(indexes(&plan), [0, 1, 2]);
        let mut forget = request(7, 2, &[]);
        let partitions = vec![PartitionIndex(1)];
        forget.forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".to_owned(), partitions, ..ForgottenTopic::default() }];
        assert_eq!(indexes(&sessions.plan(&forget, 8).unwrap()), [0, 2]);
    }

    #[test]
    fn epochs_and_ids_that_do_not_fit_are_told_apart() {
        let sessions = FetchSessions::new(10);
        sessions.plan(&request(0, 0, &[0]), 7).unwrap();
        assert_eq!(sessions.plan(&request(7, 5, &[]), 8).unwrap_err(), ErrorCode::InvalidFetchSessionEpoch);
        assert_eq!(sessions.plan(&request(9, 1, &[]), 8).unwrap_err(), ErrorCode::FetchSessionIdNotFound);
        sessions.plan(&request(7, -1, &[]), 8).unwrap();
        assert_eq!(sessions.plan(&request(7, 1, &[]), 8).unwrap_err(), ErrorCode::FetchSessionIdNotFound);
    }

    #[test]
    fn a_full_cache_forgets_the_session_that_was_idle_longest() {
        let sessions = FetchSessions::new(2);
        for id in [1, 2, 3] {
            sessions.plan(&request(0, 0, &[0]), id).unwrap();
        }
        assert_eq!(sessions.plan(&request(1, 1, &[]), 8).unwrap_err(), ErrorCode::FetchSessionIdNotFound);
        assert!(sessions.plan(&request(3, 1, &[]), 8).is_ok());
    }

    #[test]
    fn without_slots_a_client_gets_id_zero() {
        assert_eq!(FetchSessions::new(0).plan(&request(0, 0, &[0]), 7).unwrap().session_id, 0);
    }

    #[test]
    fn an_answer_that_was_given_is_no_news() {
        let sessions = FetchSessions::new(2);
        sessions.plan(&request(0, 0, &[0]), 7).unwrap();
        let key =
            FetchKey { topic: "t".to_owned(), topic_id: kennet_protocol::Uuid::nil(), partition: PartitionIndex(0) };
        let news = |watermark| sessions.is_news(7, &key, Offset(watermark), Offset(0), ErrorCode::None, 0);
        assert!(news(5));
        assert!(!news(5));
        assert!(news(6));
    }
}
