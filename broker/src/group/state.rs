//! One classic consumer group, as Kafka's GroupCoordinator keeps it.
//!
//! Pure: every event gets the time and answers actions; nothing here waits, sends or writes. Invariants: a member is answered by at most one
//! generation at a time, every member of a generation gets the same number, and an assignment is told only after it is persisted.

use std::collections::BTreeMap;

use bytes::Bytes;
use kennet_protocol::{ErrorCode, GenerationId};

use crate::group::member::Member;
use crate::group::memory::OVERHEAD_BYTES;

/// Names a request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// Milliseconds of a clock that never goes back.
pub(crate) type Millis = i64;

/// What a group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has no members; it may have offsets.
    Empty,
    /// It waits for its members to join.
    PreparingRebalance,
    /// It waits for the leader's assignment.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
    /// It is gone.
    Dead,
}

impl State {
    /// Kafka's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// What the broker's configs say about groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupLimits {
    pub(crate) session_ms_min: i64,
    pub(crate) session_ms_max: i64,
    pub(crate) initial_delay_ms: i64,
    pub(crate) members_max: usize,
    /// What one group may take.
    pub(crate) bytes_max: usize,
    /// What all groups may take beyond what they do.
    pub(crate) room: usize,
}

/// The answer to a JoinGroup.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JoinAnswer {
    pub(crate) error: ErrorCode,
    pub(crate) generation: GenerationId,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    pub(crate) skip_assignment: bool,
    /// For the leader only: member, instance, metadata.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// The answer to a SyncGroup.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SyncAnswer {
    pub(crate) error: ErrorCode,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

/// What to do after an event, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Join(Ticket, JoinAnswer),
    Sync(Ticket, SyncAnswer),
    /// Write the group as it is now, then say so with `persisted`.
    Persist(Purpose),
}

/// Why a group is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Purpose {
    /// The leader's assignment of this generation.
    Assignment(GenerationId),
    /// The last member left.
    Emptied,
    /// A static member came back under a new id; it is told when that is written.
    Replaced(Ticket, Box<JoinAnswer>),
}

/// A group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) generation: GenerationId,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// Instance id to member id.
    pub(super) instances: BTreeMap<String, String>,
    /// Ids that were given out and not used yet, with the time when they lapse.
    pub(super) pending: BTreeMap<String, Millis>,
    pub(super) rebalance: Option<Rebalance>,
    /// When members that did not sync are removed.
    pub(super) sync_deadline: Option<Millis>,
    /// Members are listed in the order in which they joined.
    pub(super) joined: u64,
}

/// When the group stops waiting for members to join.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rebalance {
    pub(super) deadline: Millis,
    /// For a group that was empty: how much longer it may wait for more members, in steps of the configured delay.
    pub(super) initial_left: Option<Millis>,
    pub(super) initial_delay: Millis,
    pub(super) joined_meanwhile: bool,
}

impl Group {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            state: State::Empty,
            generation: GenerationId(0),
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            rebalance: None,
            sync_deadline: None,
            joined: 0,
        }
    }

    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Members in the order in which they joined.
    pub(crate) fn in_order(&self) -> Vec<(&String, &Member)> {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.order);
        members
    }

    /// What its members take of the memory.
    pub(super) fn bytes(&self) -> usize {
        let members = self.members.iter().map(|(id, member)| 2 * id.len() + member.bytes());
        let pending = self.pending.keys().map(|id| id.len() + OVERHEAD_BYTES);
        OVERHEAD_BYTES + self.id.len() + members.chain(pending).sum::<usize>()
    }

    /// When something has to happen if nothing else does.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let sessions = self.members.values().filter_map(Member::session_deadline);
        let rebalance = self.rebalance.map(|rebalance| rebalance.deadline);
        sessions.chain(self.pending.values().copied()).chain(rebalance).chain(self.sync_deadline).min()
    }

    /// Checks that a request comes from the member and generation that it claims.
    pub(super) fn check_member(&self, member_id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(owner) if owner != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: GenerationId,
        now: Millis,
    ) -> ErrorCode {
        if self.state == State::Dead {
            return ErrorCode::CoordinatorNotAvailable;
        }
        if let Err(error) = self.check_member(member_id, instance) {
            return error;
        }
        if generation != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.seen(now);
        }
        match self.state {
            State::PreparingRebalance => ErrorCode::RebalanceInProgress,
            State::CompletingRebalance | State::Stable => ErrorCode::None,
            State::Empty | State::Dead => ErrorCode::UnknownMemberId,
        }
    }

    /// Whether this member may commit offsets now; -1 and no member is a tool, which may while the group is empty.
    pub(crate) fn may_commit(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: GenerationId,
        now: Millis,
    ) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if generation.0 < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation.0 < 0 && member_id.is_empty() && instance.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(member_id, instance)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.seen(now);
        }
        if self.state == State::CompletingRebalance { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    /// Time has passed: lapsed ids and sessions end, rebalances complete.
    pub(crate) fn tick(&mut self, now: Millis) -> Vec<Action> {
        let mut actions = Vec::new();
        let pending = self.pending.len();
        self.pending.retain(|_, lapses| *lapses > now);
        let lapsed = self.pending.len() < pending;
        let expired: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.session_deadline().is_some_and(|deadline| deadline <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for member_id in &expired {
            self.remove_member(member_id, ErrorCode::UnknownMemberId, &mut actions);
        }
        if self.sync_deadline.is_some_and(|deadline| deadline <= now) {
            self.sync_deadline = None;
            let silent: Vec<String> =
                self.members.iter().filter(|(_, member)| !member.has_synced).map(|(id, _)| id.clone()).collect();
            for member_id in &silent {
                self.remove_member(member_id, ErrorCode::UnknownMemberId, &mut actions);
            }
            if !silent.is_empty() {
                self.after_removal(now, &mut actions);
            }
        }
        if !expired.is_empty() {
            self.after_removal(now, &mut actions);
        } else if lapsed && self.state == State::PreparingRebalance {
            self.complete_if_all_joined(now, &mut actions);
        }
        if self.rebalance.is_some_and(|rebalance| rebalance.deadline <= now) {
            self.rebalance_is_due(now, &mut actions);
        }
        actions
    }

    /// Takes a member out; who waits in its name is told `error`.
    pub(super) fn remove_member(&mut self, member_id: &str, error: ErrorCode, actions: &mut Vec<Action>) {
        let Some(member) = self.members.remove(member_id) else { return };
        member.refuse(member_id, error, actions);
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if self.is_leader(member_id) {
            self.leader = self.in_order().first().map(|(id, _)| (*id).clone());
        }
    }

    /// What follows when members are gone.
    pub(super) fn after_removal(&mut self, now: Millis, actions: &mut Vec<Action>) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(now, None, actions),
            State::PreparingRebalance => {}
            State::Empty | State::Dead => return,
        }
        self.complete_if_all_joined(now, actions);
    }

    /// The group has no members, and is to be forgotten.
    pub(crate) fn end(&mut self) {
        self.state = State::Dead;
    }
}

impl JoinAnswer {
    pub(crate) fn error(member_id: &str, error: ErrorCode) -> Self {
        Self {
            error,
            generation: GenerationId(-1),
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            member_id: member_id.to_owned(),
            skip_assignment: false,
            members: Vec::new(),
        }
    }
}

impl SyncAnswer {
    pub(crate) fn error(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}
