//! Numbers that could be swapped, as types that can't be.
//!
//! Each wraps the integer of the wire without checking it: -1 stands for "none" in several of Kafka's fields, and the
//! code that reads a field decides what is legal there.

use std::fmt;
use std::ops::{Add, Sub};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

id!(
    /// A broker's id; -1 is "no broker" (for example a partition without a leader).
    BrokerId(i32)
);
id!(
    /// A partition's index inside its topic, from 0.
    PartitionIndex(i32)
);
id!(
    /// A record's position in its partition, from 0; negative values are special positions (KIP-79) or "none".
    Offset(i64)
);
id!(
    /// The epoch of a partition's leader; -1 skips the check (KIP-320).
    LeaderEpoch(i32)
);
id!(
    /// Identifies an idempotent or transactional producer; -1 is none (KIP-98).
    ProducerId(i64)
);
id!(
    /// The epoch of a producer id; -1 is none (KIP-98).
    ProducerEpoch(i16)
);
id!(
    /// Milliseconds since 1970-01-01T00:00:00Z; -1 is none.
    TimestampMs(i64)
);
id!(
    /// A classic consumer group's generation; -1 is none.
    GenerationId(i32)
);

impl BrokerId {
    /// No broker.
    pub const NONE: Self = Self(-1);
}

impl LeaderEpoch {
    /// The sender does not know the epoch, so it is not checked.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// Not an idempotent producer.
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// Not an idempotent producer.
    pub const NONE: Self = Self(-1);
}

impl TimestampMs {
    /// No timestamp.
    pub const NONE: Self = Self(-1);
}

impl Add<i64> for Offset {
    type Output = Self;

    fn add(self, records: i64) -> Self {
        Self(self.0 + records)
    }
}

impl Sub for Offset {
    type Output = i64;

    fn sub(self, other: Self) -> i64 {
        self.0 - other.0
    }
}
