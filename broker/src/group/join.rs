//! JoinGroup: who is a member, and when a rebalance starts and ends.

use std::collections::BTreeMap;

use bytes::Bytes;
use kennet_protocol::{ErrorCode, GenerationId};

use crate::group::member::{Member, protocol_bytes};
use crate::group::memory::OVERHEAD_BYTES;
use crate::group::state::{
    Action, Group, GroupLimits, JoinAnswer, Millis, Purpose, Rebalance, State, SyncAnswer, Ticket,
};

/// A JoinGroup request.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    pub(crate) member_id: String,
    pub(crate) instance: Option<String>,
    /// The id that a new member gets; random, so it comes from outside.
    pub(crate) new_member_id: String,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_ms: i64,
    pub(crate) rebalance_ms: i64,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// From version 4 on a new member first gets its id and comes back with it (KIP-394).
    pub(crate) id_required: bool,
    /// From version 9 on a static leader that comes back can be told not to assign anew (KIP-814).
    pub(crate) can_skip_assignment: bool,
}

/// A rebalance to which nobody came is looked at again no sooner; members may name a rebalance timeout of nothing.
const POSTPONE_MS_MIN: Millis = 1_000;

impl Group {
    /// JoinGroup; answered at once, or when the rebalance completes.
    pub(crate) fn join(&mut self, join: Join, ticket: Ticket, limits: &GroupLimits, now: Millis) -> Vec<Action> {
        let mut actions = Vec::new();
        let member_id = join.member_id.clone();
        if let Err(error) = self.try_join(join, ticket, limits, now, &mut actions) {
            actions.push(Action::Join(ticket, JoinAnswer::error(&member_id, error)));
        }
        actions
    }

    fn try_join(
        &mut self,
        join: Join,
        ticket: Ticket,
        limits: &GroupLimits,
        now: Millis,
        actions: &mut Vec<Action>,
    ) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if !(limits.session_ms_min..=limits.session_ms_max).contains(&join.session_ms) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        self.check_protocols(&join)?;
        let known = self.members.contains_key(&join.member_id);
        if !known
            && self.members.len() + self.pending.len() >= limits.members_max
            && !self.pending.contains_key(&join.member_id)
        {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        self.check_join_bytes(&join, limits)?;
        if join.member_id.is_empty() {
            self.join_unknown(join, ticket, limits, now, actions)
        } else {
            self.join_known(join, ticket, limits, now, actions)
        }
    }

    /// Refuses what is too much for the group or for all of them. A member that takes no more than before may always join again.
    fn check_join_bytes(&self, join: &Join, limits: &GroupLimits) -> Result<(), ErrorCode> {
        let instance = join.instance.as_ref();
        let replaced = instance.and_then(|instance| self.instances.get(instance)).unwrap_or(&join.member_id);
        let present = self.members.get(replaced).map_or(0, |member| protocol_bytes(&member.protocols));
        let new = match self.members.contains_key(replaced) {
            true => 0,
            false => {
                let texts = 2 * instance.map_or(0, String::len) + join.client_id.len() + join.client_host.len();
                OVERHEAD_BYTES + 2 * join.new_member_id.len().max(join.member_id.len()) + texts
            }
        };
        let growth = (new + protocol_bytes(&join.protocols)).saturating_sub(present);
        if growth > 0 && (growth > limits.room || self.bytes() + growth > limits.bytes_max) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        Ok(())
    }

    fn check_protocols(&self, join: &Join) -> Result<(), ErrorCode> {
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.members.is_empty() {
            return Ok(());
        }
        let same_type = self.protocol_type.as_deref().is_none_or(|kind| kind == join.protocol_type);
        let others = || self.members.iter().filter(|(id, _)| **id != join.member_id).map(|(_, member)| member);
        let common = join.protocols.iter().any(|(name, _)| others().all(|member| member.supports(name)));
        if same_type && common { Ok(()) } else { Err(ErrorCode::InconsistentGroupProtocol) }
    }

    fn join_unknown(
        &mut self,
        join: Join,
        ticket: Ticket,
        limits: &GroupLimits,
        now: Millis,
        actions: &mut Vec<Action>,
    ) -> Result<(), ErrorCode> {
        let new_id = join.new_member_id.clone();
        if let Some(old_id) = join.instance.as_ref().and_then(|instance| self.instances.get(instance)).cloned() {
            self.replace_static(&old_id, join, ticket, now, actions);
        } else if join.instance.is_none() && join.id_required {
            self.pending.insert(new_id.clone(), now + join.session_ms);
            actions.push(Action::Join(ticket, JoinAnswer::error(&new_id, ErrorCode::MemberIdRequired)));
        } else {
            self.add_member(&new_id, join, ticket, limits, now, actions);
        }
        Ok(())
    }

    fn join_known(
        &mut self,
        join: Join,
        ticket: Ticket,
        limits: &GroupLimits,
        now: Millis,
        actions: &mut Vec<Action>,
    ) -> Result<(), ErrorCode> {
        let member_id = join.member_id.clone();
        if self.pending.remove(&member_id).is_some() {
            if join.instance.is_some() {
                return Err(ErrorCode::UnknownMemberId);
            }
            self.add_member(&member_id, join, ticket, limits, now, actions);
            return Ok(());
        }
        self.check_member(&member_id, join.instance.as_deref())?;
        let unchanged = self.members.get_mut(&member_id).is_some_and(|member| {
            member.seen(now);
            member.protocols == join.protocols
        });
        match self.state {
            State::CompletingRebalance if unchanged => {
                actions.push(Action::Join(ticket, self.present_generation(&member_id)));
            }
            State::Stable if unchanged && !self.is_leader(&member_id) => {
                actions.push(Action::Join(ticket, self.present_generation(&member_id)));
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update_member(&member_id, join, ticket, now, actions);
                self.prepare_rebalance(now, None, actions);
                self.complete_if_all_joined(now, actions);
            }
            State::Empty | State::Dead => return Err(ErrorCode::UnknownMemberId),
        }
        Ok(())
    }

    fn add_member(
        &mut self,
        member_id: &str,
        join: Join,
        ticket: Ticket,
        limits: &GroupLimits,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        self.joined += 1;
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), member_id.to_owned());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        let member = Member {
            instance: join.instance,
            client_id: join.client_id,
            client_host: join.client_host,
            session_ms: join.session_ms,
            rebalance_ms: join.rebalance_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
            order: self.joined,
            awaiting_join: Some(ticket),
            awaiting_sync: None,
            has_synced: false,
            is_new: true,
            last_seen: now,
        };
        self.members.insert(member_id.to_owned(), member);
        self.leader.get_or_insert_with(|| member_id.to_owned());
        // whoever opens the rebalance does not prolong it
        if let Some(rebalance) = &mut self.rebalance {
            rebalance.joined_meanwhile = true;
        }
        let was_empty = self.state == State::Empty;
        self.prepare_rebalance(now, was_empty.then_some(limits.initial_delay_ms), actions);
        self.complete_if_all_joined(now, actions);
    }

    fn update_member(&mut self, member_id: &str, join: Join, ticket: Ticket, now: Millis, actions: &mut Vec<Action>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        member.protocols = join.protocols;
        member.session_ms = join.session_ms;
        member.rebalance_ms = join.rebalance_ms;
        member.client_id = join.client_id;
        member.client_host = join.client_host;
        member.seen(now);
        // the request before this one was given up by the client
        if let Some(earlier) = member.awaiting_join.replace(ticket) {
            actions.push(Action::Join(earlier, JoinAnswer::error(member_id, ErrorCode::RebalanceInProgress)));
        }
    }

    /// A static member came back under a new id (KIP-345): without a rebalance if nothing else changed.
    fn replace_static(&mut self, old_id: &str, join: Join, ticket: Ticket, now: Millis, actions: &mut Vec<Action>) {
        let Some(mut member) = self.members.remove(old_id) else { return };
        member.refuse(old_id, ErrorCode::FencedInstanceId, actions);
        let (new_id, can_skip) = (join.new_member_id.clone(), join.can_skip_assignment);
        let was_leader = self.is_leader(old_id);
        let unchanged = member.protocols == join.protocols;
        member.awaiting_join = None;
        member.awaiting_sync = None;
        member.seen(now);
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), new_id.clone());
        }
        self.members.insert(new_id.clone(), member);
        if was_leader {
            self.leader = Some(new_id.clone());
        }
        self.update_member(&new_id, join, ticket, now, actions);
        if self.state == State::Stable && unchanged {
            let mut answer = self.present_generation(&new_id);
            if was_leader && can_skip {
                answer.skip_assignment = true;
            } else if was_leader {
                // an old client would assign anew if it were told that it leads
                answer.leader = old_id.to_owned();
                answer.members.clear();
            }
            if let Some(member) = self.members.get_mut(&new_id) {
                member.awaiting_join = None;
            }
            actions.push(Action::Persist(Purpose::Replaced(ticket, Box::new(answer))));
        } else {
            self.prepare_rebalance(now, None, actions);
            self.complete_if_all_joined(now, actions);
        }
    }

    /// Starts a rebalance, unless one is going on. `initial_delay` is for a group that was empty.
    pub(super) fn prepare_rebalance(&mut self, now: Millis, initial_delay: Option<i64>, actions: &mut Vec<Action>) {
        if self.state == State::PreparingRebalance {
            return;
        }
        if self.state == State::CompletingRebalance {
            for member in self.members.values_mut() {
                if let Some(ticket) = member.awaiting_sync.take() {
                    actions.push(Action::Sync(ticket, SyncAnswer::error(ErrorCode::RebalanceInProgress)));
                }
            }
        }
        self.state = State::PreparingRebalance;
        self.sync_deadline = None;
        let whole = self.rebalance_ms();
        let rebalance = match initial_delay {
            Some(delay) => {
                let first = delay.min(whole);
                Rebalance {
                    deadline: now + first,
                    initial_left: Some(whole - first),
                    initial_delay: delay,
                    joined_meanwhile: false,
                }
            }
            None => Rebalance { deadline: now + whole, initial_left: None, initial_delay: 0, joined_meanwhile: false },
        };
        self.rebalance = Some(rebalance);
    }

    /// The longest that any member wants to be waited for.
    fn rebalance_ms(&self) -> i64 {
        self.members.values().map(|member| member.rebalance_ms.max(0)).max().unwrap_or(0)
    }

    pub(super) fn complete_if_all_joined(&mut self, now: Millis, actions: &mut Vec<Action>) {
        let Some(rebalance) = self.rebalance else { return };
        let all = self.pending.is_empty() && self.members.values().all(|member| member.awaiting_join.is_some());
        // a new group waits its delay out for members that are still starting
        let waits = rebalance.initial_left.is_some() && rebalance.deadline > now && !self.members.is_empty();
        if all && !waits {
            self.complete_join(now, actions);
        }
    }

    pub(super) fn rebalance_is_due(&mut self, now: Millis, actions: &mut Vec<Action>) {
        let Some(rebalance) = self.rebalance else { return };
        match rebalance.initial_left {
            Some(left) if rebalance.joined_meanwhile && left > 0 => {
                // as long as members keep arriving the group waits on, up to the rebalance timeout
                let step = rebalance.initial_delay.min(left);
                let initial_left = Some(left - step);
                self.rebalance =
                    Some(Rebalance { deadline: now + step, initial_left, joined_meanwhile: false, ..rebalance });
            }
            _ => self.complete_join(now, actions),
        }
    }

    /// Everybody has joined, or time is up: the next generation begins with who is here.
    fn complete_join(&mut self, now: Millis, actions: &mut Vec<Action>) {
        let absent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.awaiting_join.is_none() && member.instance.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for member_id in &absent {
            self.remove_member(member_id, ErrorCode::UnknownMemberId, actions);
        }
        if self.is_abandoned() {
            let deadline = now + self.rebalance_ms().max(POSTPONE_MS_MIN);
            let again = Rebalance { deadline, initial_left: None, initial_delay: 0, joined_meanwhile: false };
            self.rebalance = Some(again);
            return;
        }
        self.rebalance = None;
        self.generation = GenerationId(self.generation.0 + 1);
        if self.members.is_empty() {
            self.state = State::Empty;
            self.protocol = None;
            self.leader = None;
            actions.push(Action::Persist(Purpose::Emptied));
            return;
        }
        let joined =
            |group: &Self, id: &String| group.members.get(id).is_some_and(|member| member.awaiting_join.is_some());
        if !self.leader.as_ref().is_some_and(|leader| joined(self, leader)) {
            let next = self.in_order().into_iter().find(|(_, member)| member.awaiting_join.is_some());
            if let Some(next) = next.map(|(id, _)| id.clone()) {
                self.leader = Some(next);
            }
        }
        self.protocol = self.select_protocol();
        self.state = State::CompletingRebalance;
        self.sync_deadline = Some(now + self.rebalance_ms());
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.present_generation(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.has_synced = false;
            member.is_new = false;
            member.assignment = Bytes::new();
            if let Some(ticket) = member.awaiting_join.take() {
                member.seen(now);
                actions.push(Action::Join(ticket, answer));
            }
        }
    }

    /// Only static members are left and none came: a generation would have an absent leader, and nobody to assign. As in Kafka the rebalance
    /// goes on until somebody comes or their sessions end.
    fn is_abandoned(&self) -> bool {
        !self.members.is_empty() && self.members.values().all(|member| member.awaiting_join.is_none())
    }

    /// The protocol that every member supports and most prefer.
    fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let common = |name: &str| self.members.values().all(|other| other.supports(name));
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(name, _)| name.to_owned())
    }

    fn present_generation(&self, member_id: &str) -> JoinAnswer {
        let protocol = self.protocol.clone().unwrap_or_default();
        let members = if self.is_leader(member_id) {
            let member =
                |(id, member): (&String, &Member)| (id.clone(), member.instance.clone(), member.metadata(&protocol));
            self.in_order().into_iter().map(member).collect()
        } else {
            Vec::new()
        };
        JoinAnswer {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member_id.to_owned(),
            skip_assignment: false,
            members,
        }
    }
}
