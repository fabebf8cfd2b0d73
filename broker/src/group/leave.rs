//! LeaveGroup: a member goes, or an administrator removes a static one.

use kennet_protocol::ErrorCode;

use crate::group::state::{Action, Group, Millis, State};

impl Group {
    /// LeaveGroup of one member, by id or by instance.
    pub(crate) fn leave(&mut self, member_id: &str, instance: Option<&str>, now: Millis) -> (ErrorCode, Vec<Action>) {
        let mut actions = Vec::new();
        if self.state == State::Dead {
            return (ErrorCode::CoordinatorNotAvailable, actions);
        }
        if self.pending.remove(member_id).is_some() {
            self.complete_if_all_joined(now, &mut actions);
            return (ErrorCode::None, actions);
        }
        let leaving = match instance {
            // an administrator names the instance only
            Some(instance) if member_id.is_empty() => self.instances.get(instance).cloned(),
            _ => Some(member_id.to_owned()),
        };
        let Some(leaving) = leaving else { return (ErrorCode::UnknownMemberId, actions) };
        if let Err(error) = self.check_member(&leaving, instance) {
            return (error, actions);
        }
        self.remove_member(&leaving, ErrorCode::UnknownMemberId, &mut actions);
        self.after_removal(now, &mut actions);
        (ErrorCode::None, actions)
    }
}
