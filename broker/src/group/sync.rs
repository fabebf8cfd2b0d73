//! SyncGroup: the leader's assignment goes to everybody, once it is persisted.

use bytes::Bytes;
use kennet_protocol::{ErrorCode, GenerationId};

use crate::group::memory::GROUP_BYTES_MAX;
use crate::group::state::{Action, Group, Millis, Purpose, State, SyncAnswer, Ticket};

/// A SyncGroup request.
#[derive(Debug, Clone)]
pub(crate) struct Sync {
    pub(crate) member_id: String,
    pub(crate) instance: Option<String>,
    pub(crate) generation: GenerationId,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignments: Vec<(String, Bytes)>,
}

impl Group {
    /// SyncGroup; answered at once, or when the leader's assignment is persisted.
    pub(crate) fn sync(&mut self, sync: Sync, ticket: Ticket, room: usize, now: Millis) -> Vec<Action> {
        match self.check_sync(&sync).and_then(|()| self.check_assignment_bytes(&sync, room)) {
            Err(error) => vec![Action::Sync(ticket, SyncAnswer::error(error))],
            Ok(()) => self.accept_sync(sync, ticket, now),
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(&sync.member_id, sync.instance.as_deref())?;
        if sync.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |given: &Option<String>, present: &Option<String>| given.is_some() && given != present;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::Empty | State::Dead => Err(ErrorCode::UnknownMemberId),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Refuses assignments that are too much for the group, or for all groups at this time.
    fn check_assignment_bytes(&self, sync: &Sync, room: usize) -> Result<(), ErrorCode> {
        if self.state != State::CompletingRebalance || !self.is_leader(&sync.member_id) {
            return Ok(());
        }
        let wanted: usize = sync.assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        if self.bytes() + wanted > GROUP_BYTES_MAX {
            return Err(ErrorCode::InvalidRequest);
        }
        // the leader joins again, and there may be room then
        if wanted > room { Err(ErrorCode::CoordinatorNotAvailable) } else { Ok(()) }
    }

    fn accept_sync(&mut self, sync: Sync, ticket: Ticket, now: Millis) -> Vec<Action> {
        let mut actions = Vec::new();
        let is_leader = self.is_leader(&sync.member_id);
        let answer = self.sync_answer(&sync.member_id);
        let Some(member) = self.members.get_mut(&sync.member_id) else { return actions };
        member.seen(now);
        member.has_synced = true;
        if self.state == State::Stable {
            actions.push(Action::Sync(ticket, answer));
            return actions;
        }
        if let Some(earlier) = member.awaiting_sync.replace(ticket) {
            actions.push(Action::Sync(earlier, SyncAnswer::error(ErrorCode::RebalanceInProgress)));
        }
        if is_leader {
            for (member_id, assignment) in sync.assignments {
                if let Some(member) = self.members.get_mut(&member_id) {
                    // a slice would keep the whole request in memory
                    member.assignment = Bytes::copy_from_slice(&assignment);
                }
            }
            actions.push(Action::Persist(Purpose::Assignment(self.generation)));
        }
        actions
    }

    fn sync_answer(&self, member_id: &str) -> SyncAnswer {
        SyncAnswer {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(member_id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    /// The group was written, or could not be.
    pub(crate) fn persisted(&mut self, purpose: Purpose, is_written: bool, now: Millis) -> Vec<Action> {
        let mut actions = Vec::new();
        match purpose {
            // nothing waits for it; a group that could not be written as empty is written again with its next change
            Purpose::Emptied => {}
            Purpose::Replaced(ticket, answer) => {
                let mut answer = *answer;
                if !is_written {
                    answer.error = ErrorCode::CoordinatorNotAvailable;
                }
                actions.push(Action::Join(ticket, answer));
            }
            // another rebalance may have begun meanwhile; its members were told
            Purpose::Assignment(generation)
                if generation == self.generation && self.state == State::CompletingRebalance =>
            {
                if is_written {
                    self.begin_stable(now, &mut actions);
                } else {
                    for member in self.members.values_mut() {
                        member.assignment = Bytes::new();
                        if let Some(ticket) = member.awaiting_sync.take() {
                            actions.push(Action::Sync(ticket, SyncAnswer::error(ErrorCode::CoordinatorNotAvailable)));
                        }
                    }
                    self.prepare_rebalance(now, None, &mut actions);
                }
            }
            Purpose::Assignment(_) => {}
        }
        actions
    }

    fn begin_stable(&mut self, now: Millis, actions: &mut Vec<Action>) {
        self.state = State::Stable;
        // members that have not asked yet have until the deadline
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.sync_answer(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            if let Some(ticket) = member.awaiting_sync.take() {
                member.seen(now);
                actions.push(Action::Sync(ticket, answer));
            }
        }
    }
}
