//! Who may use how much of the memory: the one table of shares. `ARCHITECTURE.md` has it with what is not a budget.
//!
//! Invariant: all shares together are at most three quarters. The last quarter is for the program itself, the journal's buffer, metadata, logs,
//! connections, and what an allocator loses.

/// The largest request that is decoded into many small parts: what they take is not known before.
const DECODED_MIN: u64 = 1 << 20;
/// A partition of a fetch session, with its name, twice.
const SESSION_PARTITION_BYTES: u64 = 512;
/// No cluster has more.
const SESSION_PARTITIONS_MAX: u64 = 100_000;

/// A connection, with the system's buffers for one that is silent.
const CONNECTION_BYTES: u64 = 10 << 10;

/// More for batches that are not in segments brings no more throughput (`bench/`); what it still brings on large machines is fewer writes for logs with few records.
const TAIL_ENOUGH: u64 = 48 << 20;

/// Bytes for each user of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Requests that are read or handled. No single request may be larger.
    pub(crate) requests: u64,
    /// Records that were read for consumers and are not sent.
    pub(crate) fetches: u64,
    /// Answers that are long for another reason: lists of topics and partitions.
    pub(crate) lists: u64,
    /// Batches that are not in segments yet; the journal's queue shares them.
    pub(crate) tail: u64,
    /// Members and offsets of groups.
    pub(crate) groups: u64,
    /// What fetch sessions remember.
    pub(crate) sessions: u64,
    /// What one request may become by being decoded; part of what is left.
    pub(crate) decoded: u64,
    /// The newest offsets of keys while a log is compacted; part of what is left.
    pub(crate) compaction: u64,
    /// Connections, without their requests and answers; part of what is left.
    pub(crate) connections: u64,
}

impl Shares {
    /// The shares of a broker that may use so many bytes.
    pub(crate) fn of(memory: u64) -> Self {
        Self {
            requests: memory / 8,
            fetches: memory / 8,
            lists: memory / 16,
            tail: (memory / 4).min(TAIL_ENOUGH).max(memory / 16),
            groups: memory / 8,
            sessions: (memory / 16).min(SESSION_PARTITIONS_MAX * SESSION_PARTITION_BYTES),
            decoded: (memory / 32).max(DECODED_MIN),
            compaction: memory / 64,
            connections: memory / 16,
        }
    }

    /// Connections that there may be.
    pub(crate) fn connections_max(&self) -> usize {
        usize::try_from(self.connections / CONNECTION_BYTES).unwrap_or(usize::MAX)
    }

    /// Partitions that fetch sessions may remember.
    pub(crate) fn session_partitions(&self) -> usize {
        usize::try_from(self.sessions / SESSION_PARTITION_BYTES).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{CONNECTION_BYTES, Shares};

    const MIB: u64 = 1 << 20;
    /// The program, its threads and their stacks, before it has partitions.
    const PROGRAM: u64 = 16 * MIB;
    /// The journal's buffer.
    const JOURNAL: u64 = 2 * MIB;
    /// A partition in metadata, in the log and in the coordinator.
    const PARTITION: u64 = 4 << 10;

    fn needed(memory: u64, partitions: u64, connections: u64) -> u64 {
        let Shares { requests, fetches, lists, tail, groups, sessions, compaction, .. } = Shares::of(memory);
        let budgets = requests + fetches + lists + tail + groups + sessions;
        assert!(budgets <= memory / 4 * 3, "{budgets} of {memory}");
        budgets + compaction + PROGRAM + JOURNAL + partitions * PARTITION + connections * CONNECTION_BYTES
    }

    #[test]
    fn everything_that_is_promised_fits_when_all_budgets_are_used_up() {
        let connections = u64::try_from(Shares::of(128 * MIB).connections_max()).unwrap();
        assert_eq!(connections, 819);
        assert!(
            needed(128 * MIB, 200, connections) <= 128 * MIB,
            "the quickstart, with all connections that there may be"
        );
        assert!(needed(256 * MIB, 10_000, 100) <= 256 * MIB, "many partitions, few clients");
        assert!(needed(1024 * MIB, 10_000, 10_000) <= 1024 * MIB);
    }
}
