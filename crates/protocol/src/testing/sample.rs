//! Values of every message, from a seed.
//!
//! The same seed gives the same value. Small and special numbers are as likely as any others, and a field that a version
//! lacks has its default, so that a value survives encoding.

use bytes::Bytes;

use crate::{
    BrokerId, ErrorCode, Form, GenerationId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Records,
    TimestampMs, Uuid,
};

/// Numbers from a seed (splitmix64).
#[derive(Debug)]
pub struct Source {
    state: u64,
    /// How deep inside of arrays the next value is.
    depth: usize,
    /// The arrays' lengths by depth, where everything else is to be as small as it can be.
    hollow: Option<[usize; 3]>,
}

impl Source {
    /// The numbers of one seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed, depth: 0, hollow: None }
    }

    /// Values that take the fewest bytes on the wire, in arrays of these lengths by depth.
    #[must_use]
    pub fn hollow(lengths: [usize; 3]) -> Self {
        Self { state: 0, depth: 0, hollow: Some(lengths) }
    }

    fn array_length(&mut self) -> usize {
        match self.hollow {
            Some(lengths) => lengths.get(self.depth).copied().unwrap_or_default(),
            None => self.below(4),
        }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 from a hollow source.
    pub fn below(&mut self, bound: usize) -> usize {
        if self.hollow.is_some() {
            return 0;
        }
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next_u64() % bound).unwrap_or_default()
    }

    /// True once in `times`; never from a hollow source.
    pub fn chance(&mut self, times: usize) -> bool {
        self.hollow.is_none() && self.below(times) == 0
    }

    /// Bytes, fewer than `length`.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let length = self.below(length);
        (0..length).map(|_| self.next_u64().to_le_bytes()[0]).collect()
    }
}

/// A value for a field of a message.
pub trait Sample {
    /// The next value that `form` can carry.
    fn sample(source: &mut Source, form: Form) -> Self;
}

macro_rules! integer {
    ($($type:ident),*) => {$(
        impl Sample for $type {
            fn sample(source: &mut Source, _: Form) -> Self {
                let mut bytes = [0; size_of::<$type>()];
                bytes.copy_from_slice(&source.next_u64().to_le_bytes()[..size_of::<$type>()]);
                let any = $type::from_le_bytes(bytes);
                match source.below(6) {
                    0 => 0,
                    1 => $type::MIN,
                    2 => $type::MAX,
                    3 => !0,
                    4 => any & 15,
                    _ => any,
                }
            }
        }
    )*};
}

integer!(i8, i16, u16, i32, u32, i64);

macro_rules! newtype {
    ($($type:ident($inner:ident)),*) => {$(
        impl Sample for $type {
            fn sample(source: &mut Source, form: Form) -> Self {
                $inner::sample(source, form).into()
            }
        }
    )*};
}

newtype!(BrokerId(i32), PartitionIndex(i32), Offset(i64), LeaderEpoch(i32), ProducerId(i64), ProducerEpoch(i16));
newtype!(TimestampMs(i64), GenerationId(i32), ErrorCode(i16));

impl Sample for bool {
    fn sample(source: &mut Source, _: Form) -> Self {
        source.chance(2)
    }
}

impl Sample for Uuid {
    fn sample(source: &mut Source, _: Form) -> Self {
        if source.chance(4) { Self::nil() } else { Self::from_u64_pair(source.next_u64(), source.next_u64()) }
    }
}

impl Sample for String {
    fn sample(source: &mut Source, _: Form) -> Self {
        const CHARACTERS: [char; 8] = ['a', 'Z', '0', '-', '.', '_', '\u{e9}', '\u{1f980}'];
        let length = if source.chance(20) { 200 } else { source.below(9) };
        (0..length).map(|_| CHARACTERS[source.below(CHARACTERS.len())]).collect()
    }
}

impl Sample for Bytes {
    fn sample(source: &mut Source, _: Form) -> Self {
        let length = if source.chance(10) { 3000 } else { 20 };
        source.bytes(length).into()
    }
}

impl Sample for Records {
    fn sample(source: &mut Source, form: Form) -> Self {
        Vec::sample(source, form).into()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(source: &mut Source, form: Form) -> Self {
        let length = source.array_length();
        source.depth += 1;
        let elements = (0..length).map(|_| T::sample(source, form)).collect();
        source.depth -= 1;
        elements
    }
}
