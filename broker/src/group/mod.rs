//! The group coordinator: classic consumer groups and committed offsets.
//!
//! `state`, `member`, `join`, `leave`, `sync` are the pure group, and `records` its form in `__consumer_offsets`. `shard` is one partition of
//! that topic with its groups: `held` one of them, `offsets` their offsets, `topics` those of topics that are gone, `writes` its records on
//! their way to the disk, `load` the way back, `memory` its bounds. `coordinator` finds the shard of a group. A change is answered after its
//! record is acknowledged, and what is read is only what was.

mod coordinator;
#[cfg(test)]
mod expiry_tests;
mod held;
mod join;
mod leave;
mod load;
mod member;
mod memory;
mod offsets;
mod records;
mod shard;
#[cfg(test)]
mod shard_tests;
mod state;
mod sync;
#[cfg(test)]
mod tests;
mod topics;
mod writes;

pub(crate) use coordinator::{Coordinator, limits};
pub(crate) use join::Join;
pub(crate) use member::Member;
pub(crate) use memory::Memory;
pub(crate) use offsets::CommitOffset;
pub(crate) use records::Committed;
pub(crate) use state::{Group, JoinAnswer, State, SyncAnswer};
pub(crate) use sync::Sync;
