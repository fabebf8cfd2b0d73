//! A member of a classic group.

use bytes::Bytes;
use kennet_protocol::ErrorCode;

use crate::group::memory::OVERHEAD_BYTES;
use crate::group::state::{Action, JoinAnswer, Millis, SyncAnswer, Ticket};

/// A member that is waiting for its first generation is kept this long without a heartbeat (Kafka's new member join timeout).
const NEW_MEMBER_MS: Millis = 5 * 60 * 1000;

/// A member.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_ms: i64,
    pub(crate) rebalance_ms: i64,
    /// Assignors that it supports, the best first, with its metadata for each.
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    pub(super) order: u64,
    pub(super) awaiting_join: Option<Ticket>,
    pub(super) awaiting_sync: Option<Ticket>,
    pub(super) has_synced: bool,
    pub(super) is_new: bool,
    pub(super) last_seen: Millis,
}

/// What assignors take of the memory.
pub(super) fn protocol_bytes(protocols: &[(String, Bytes)]) -> usize {
    protocols.iter().map(|(name, metadata)| name.len() + metadata.len() + size_of::<(String, Bytes)>()).sum()
}

impl Member {
    pub(super) fn seen(&mut self, now: Millis) {
        self.last_seen = self.last_seen.max(now);
    }

    /// When it counts as gone. A member that waits for an answer sends no heartbeats and is not held to them.
    pub(super) fn session_deadline(&self) -> Option<Millis> {
        match (self.awaiting_join, self.awaiting_sync) {
            (Some(_), _) if self.is_new => Some(self.last_seen + NEW_MEMBER_MS),
            (None, None) => Some(self.last_seen + self.session_ms),
            _ => None,
        }
    }

    /// What it takes of the memory beside its id.
    pub(super) fn bytes(&self) -> usize {
        let instance = self.instance.as_ref().map_or(0, String::len);
        let texts = 2 * instance + self.client_id.len() + self.client_host.len() + self.assignment.len();
        OVERHEAD_BYTES + texts + protocol_bytes(&self.protocols)
    }

    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// Answers whatever it waits for with an error.
    pub(super) fn refuse(&self, member_id: &str, error: ErrorCode, actions: &mut Vec<Action>) {
        if let Some(ticket) = self.awaiting_join {
            actions.push(Action::Join(ticket, JoinAnswer::error(member_id, error)));
        }
        if let Some(ticket) = self.awaiting_sync {
            actions.push(Action::Sync(ticket, SyncAnswer::error(error)));
        }
    }
}
