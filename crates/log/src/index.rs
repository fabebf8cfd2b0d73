//! Sparse indexes of a segment, in Kafka's formats: offset -> byte, and timestamp -> offset.
//!
//! In memory while a segment grows, in files once it is closed. What comes from files is a hint: each entry names a batch, which has to say the same
//! before the entry counts (`segment::look_up`), and a file that is missing or wrong is made again from the batches.

use kennet_protocol::record::BatchHeader;
use kennet_protocol::{Offset, TimestampMs};

/// Bytes of an entry of the `.index` file: relative offset and position, four bytes each.
const OFFSET_ENTRY: usize = 8;
/// Bytes of an entry of the `.timeindex` file: timestamp and relative offset.
const TIME_ENTRY: usize = 12;
/// An index file with more is not one of ours: Kafka's largest `segment.index.bytes` is 2 GiB, entries for a 4 GiB segment need less.
pub(crate) const INDEX_BYTES_MAX: usize = 64 << 20;

/// The indexes of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparseIndex {
    base: Offset,
    /// (last offset of a batch relative to the base, the batch's position); both rise.
    offsets: Vec<(u32, u32)>,
    /// (largest timestamp so far, relative offset of the batch that has it); both rise.
    times: Vec<(TimestampMs, u32)>,
    bytes_since_entry: u64,
    max_timestamp: TimestampMs,
    offset_of_max: u32,
    /// Behind the last batch; none while only the files were read.
    end: Option<Offset>,
    pub(crate) source: Source,
}

/// What an index was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The headers of all batches.
    Batches,
    /// The headers of those before one that can't be read.
    SomeBatches,
    /// Its files: it is a hint.
    Files,
}

/// What an index says of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) last_offset: Offset,
    pub(crate) position: u64,
}

/// No batch up to this offset, which is the last one of a batch that has it, has a larger timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) last_offset: Offset,
    pub(crate) timestamp: TimestampMs,
}

impl SparseIndex {
    pub(crate) fn new(base: Offset) -> Self {
        Self {
            base,
            offsets: Vec::new(),
            times: Vec::new(),
            bytes_since_entry: 0,
            max_timestamp: TimestampMs::NONE,
            offset_of_max: 0,
            end: Some(base),
            source: Source::Batches,
        }
    }

    /// Notes a batch that was written at `position`; every `interval` bytes it becomes an entry.
    pub(crate) fn note(&mut self, header: &BatchHeader, position: u64, length: u64, interval: u64) {
        self.end = Some(header.next_offset());
        let relative = u32::try_from(header.last_offset() - self.base).ok();
        let position = u32::try_from(position).ok();
        // a segment is rolled long before either could overflow; without entries a look-up only scans longer
        let (Some(relative), Some(position)) = (relative, position) else { return };
        if header.max_timestamp > self.max_timestamp {
            self.max_timestamp = header.max_timestamp;
            self.offset_of_max = relative;
        }
        if self.bytes_since_entry > interval {
            self.offsets.push((relative, position));
            self.note_time();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += length;
    }

    fn note_time(&mut self) {
        let rises =
            self.times.last().is_none_or(|(time, offset)| *time < self.max_timestamp && *offset < self.offset_of_max);
        if rises && self.max_timestamp.0 >= 0 {
            self.times.push((self.max_timestamp, self.offset_of_max));
        }
    }

    /// Where to start to scan for `offset`: an indexed batch that ends at or before it. None is the start of the segment.
    pub(crate) fn place_before(&self, offset: Offset) -> Option<Place> {
        let relative = u32::try_from(offset - self.base).unwrap_or(0);
        let after = self.offsets.partition_point(|(entry, _)| *entry <= relative);
        after.checked_sub(1).map(|at| self.place(self.offsets[at]))
    }

    /// The last indexed batch.
    pub(crate) fn last_place(&self) -> Option<Place> {
        self.offsets.last().map(|entry| self.place(*entry))
    }

    fn place(&self, (relative, position): (u32, u32)) -> Place {
        Place { last_offset: self.base + i64::from(relative), position: u64::from(position) }
    }

    /// What of the time index lies before the first batch that may have a timestamp of at least `time`. None is the start of the segment.
    pub(crate) fn newest_before(&self, time: TimestampMs) -> Option<Newest> {
        let after = self.times.partition_point(|(entry, _)| *entry < time);
        let (timestamp, relative) = *self.times.get(after.checked_sub(1)?)?;
        Some(Newest { last_offset: self.base + i64::from(relative), timestamp })
    }

    /// The batch with the largest timestamp; the time is -1 when there is none.
    pub(crate) fn newest(&self) -> Newest {
        Newest { last_offset: self.base + i64::from(self.offset_of_max), timestamp: self.max_timestamp }
    }

    /// The offset behind the last batch, if it was seen.
    pub(crate) fn end(&self) -> Option<Offset> {
        self.end
    }

    /// The last batch ends there.
    pub(crate) fn note_end(&mut self, end: Offset) {
        self.end = Some(end);
    }

    /// The two files' bytes. The time index ends with the segment's largest timestamp, as Kafka's does.
    pub(crate) fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let mut closed = self.clone();
        closed.note_time();
        let mut offsets = Vec::with_capacity(closed.offsets.len() * OFFSET_ENTRY);
        for (relative, position) in &closed.offsets {
            offsets.extend_from_slice(&relative.to_be_bytes());
            offsets.extend_from_slice(&position.to_be_bytes());
        }
        let mut times = Vec::with_capacity(closed.times.len() * TIME_ENTRY);
        for (time, relative) in &closed.times {
            times.extend_from_slice(&time.0.to_be_bytes());
            times.extend_from_slice(&relative.to_be_bytes());
        }
        (offsets, times)
    }

    /// Reads the two files of a segment of `length` bytes; `None` when they make no sense for it.
    pub(crate) fn decode(base: Offset, length: u64, offsets: &[u8], times: &[u8]) -> Option<Self> {
        let (offset_entries, rest) = offsets.as_chunks::<OFFSET_ENTRY>();
        let (time_entries, time_rest) = times.as_chunks::<TIME_ENTRY>();
        if !rest.is_empty() || !time_rest.is_empty() {
            return None;
        }
        let mut index = Self { source: Source::Files, end: None, ..Self::new(base) };
        for entry in offset_entries {
            index.offsets.push((word(entry, 0), word(entry, 4)));
        }
        for entry in time_entries {
            let mut time = [0; 8];
            time.copy_from_slice(&entry[..8]);
            index.times.push((TimestampMs(i64::from_be_bytes(time)), word(entry, 8)));
        }
        let rising = index.offsets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        let times_rising = index.times.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let inside = index.offsets.last().is_none_or(|(_, position)| u64::from(*position) < length);
        // a segment with batches always has a largest timestamp, unless its producers sent none
        if let Some((time, relative)) = index.times.last() {
            index.max_timestamp = *time;
            index.offset_of_max = *relative;
        }
        (rising && times_rising && inside).then_some(index)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(value)
}

#[cfg(test)]
mod tests {
    use kennet_protocol::record::{Batch, BatchBuilder, BatchHeader};
    use kennet_protocol::{Offset, TimestampMs};
    use proptest::prelude::*;

    use super::SparseIndex;

    fn header(offset: i64, time: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new(TimestampMs(time));
        builder.push(TimestampMs(time), None, None, &[]);
        let mut header = *Batch::parse(&builder.build().unwrap()).unwrap().header();
        header.base_offset = Offset(offset);
        header
    }

    fn index(batches: i64) -> SparseIndex {
        let mut index = SparseIndex::new(Offset(100));
        for at in 0..batches {
            let position = u64::try_from(at).unwrap() * 50;
            index.note(&header(100 + at, 1_000 + at), position, 50, 120);
        }
        index
    }

    #[test]
    fn a_look_up_never_lands_behind_what_it_looks_for() {
        let index = index(100);
        for offset in 100..200 {
            let position = index.place_before(Offset(offset)).map_or(0, |place| place.position);
            assert!(position <= u64::try_from(offset - 100).unwrap() * 50, "offset {offset}: {position}");
            let newest = index.newest_before(TimestampMs(900 + offset));
            assert!(newest.is_none_or(|newest| newest.last_offset <= Offset(offset)), "offset {offset}");
        }
    }

    #[test]
    fn the_files_give_the_index_back() {
        let index = index(100);
        let (offsets, times) = index.encode();
        let read = SparseIndex::decode(Offset(100), 5_000, &offsets, &times).unwrap();
        assert_eq!(read.newest(), index.newest());
        assert_eq!(read.place_before(Offset(150)), index.place_before(Offset(150)));
        assert_eq!(read.newest_before(TimestampMs(1_050)), index.newest_before(TimestampMs(1_050)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_point_outside(
            offsets in prop::collection::vec(any::<u8>(), 0..64), times in prop::collection::vec(any::<u8>(), 0..64),
            offset in any::<i64>(),
        ) {
            if let Some(index) = SparseIndex::decode(Offset(0), 1_000, &offsets, &times) {
                let place = index.place_before(Offset(offset.max(0)));
                prop_assert!(place.is_none_or(|place| place.position < 1_000));
            }
        }
    }
}
