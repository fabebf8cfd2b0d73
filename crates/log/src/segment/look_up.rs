//! Finding batches in a segment by offset and by time.
//!
//! Invariant: what comes from an index file counts only once the batch that it names says the same. When one does not, the index is made again from
//! the headers of all batches, once, and stays in memory. The files can't vouch for themselves: they are Kafka's, which have no checksum.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError, TryLockError};

use kennet_protocol::record::BatchHeader;
use kennet_protocol::{Offset, TimestampMs};

use crate::fs::{File, FileSystem, Wait, read_file};
use crate::index::{INDEX_BYTES_MAX, Newest, Place, Source, SparseIndex};
use crate::layout;
use crate::scan::{HeaderScan, to_u64};
use crate::segment::Segment;

/// Entries of an index that is made again are so many bytes apart.
const INTERVAL: u64 = 4096;

/// What a segment is read with.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a dyn File,
    pub(crate) fs: &'a dyn FileSystem,
    pub(crate) wait: Wait,
    /// Whether what index files say is compared with the batches.
    pub(crate) verifies: bool,
}

/// What is known of a segment's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// The largest timestamp, -1 when there is none; none when not all batches can be read.
    pub(crate) newest: Option<TimestampMs>,
    /// The offset behind the last batch, if it was seen.
    pub(crate) end: Option<Offset>,
}

impl Segment {
    /// Asks the index, which is read or made again first if need be, and if that may wait for the disk.
    pub(crate) fn with_index<T>(&self, reader: Reader<'_>, ask: impl FnOnce(&SparseIndex) -> T) -> io::Result<T> {
        let mut held = self.lock_index(reader.wait)?;
        if let Some(index) = held.as_ref() {
            return Ok(ask(index));
        }
        if reader.wait == Wait::Refused {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let index = match self.read_index(reader)? {
            Some(index) => index,
            None => self.make_index(reader)?,
        };
        Ok(ask(held.insert(index)))
    }

    /// Asks an index that was made from the batches, because the one of the files says what they do not.
    fn with_made_index<T>(&self, reader: Reader<'_>, ask: impl FnOnce(&SparseIndex) -> T) -> io::Result<T> {
        let mut held = self.lock_index(reader.wait)?;
        match held.as_ref() {
            Some(index) if index.source != Source::Files => return Ok(ask(index)),
            _ if reader.wait == Wait::Refused => return Err(io::ErrorKind::WouldBlock.into()),
            _ => {}
        }
        let made = self.make_index(reader)?;
        Ok(ask(held.insert(made)))
    }

    /// Who has it may be reading a whole segment to make the index again.
    fn lock_index(&self, wait: Wait) -> io::Result<MutexGuard<'_, Option<SparseIndex>>> {
        match (wait, self.index.try_lock()) {
            (_, Ok(held)) => Ok(held),
            (_, Err(TryLockError::Poisoned(held))) => Ok(held.into_inner()),
            (Wait::Refused, Err(TryLockError::WouldBlock)) => Err(io::ErrorKind::WouldBlock.into()),
            (Wait::Allowed, Err(TryLockError::WouldBlock)) => {
                Ok(self.index.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    fn read_index(&self, reader: Reader<'_>) -> io::Result<Option<SparseIndex>> {
        // files that are older than the last batches would hide their timestamps
        if !self.has_index_files.load(Ordering::Acquire) {
            return Ok(None);
        }
        let read = |kind| read_file(reader.fs, &layout::segment(&self.directory, self.base, kind), INDEX_BYTES_MAX);
        let files = (absurd_is_absent(read("index"))?, absurd_is_absent(read("timeindex"))?);
        let (Some(offsets), Some(times)) = files else { return Ok(None) };
        // an index without its last timestamp was not finished; one of no batches says nothing
        let index = SparseIndex::decode(self.base, self.written(), &offsets, &times)
            .filter(|index| self.written() > 0 && index.newest().timestamp != TimestampMs::NONE);
        match index {
            Some(mut index) if reader.verifies => Ok(self.ends_as_said(&mut index, reader)?.then_some(index)),
            index => Ok(index),
        }
    }

    /// Whether the ends of an index that was read are those of the batches: the last entries name batches, and none behind them is newer than the
    /// newest. That reads at most what lies between two entries, twice. The segment's end is known then.
    fn ends_as_said(&self, index: &mut SparseIndex, reader: Reader<'_>) -> io::Result<bool> {
        let newest = index.newest();
        let mut scan = HeaderScan::new(reader.file, self.written(), reader.wait);
        let places = [index.place_before(newest.last_offset), index.last_place()];
        for place in places.into_iter().flatten() {
            if !self.is_place(place, &mut scan)? {
                return Ok(false);
            }
        }
        let [before_newest, last] = places.map(|place| place.map_or(0, |place| place.position));
        let found = find_from(before_newest, newest.last_offset, &mut scan)?;
        if !found.is_some_and(|(_, header)| is_newest(&header, newest)) {
            return Ok(false);
        }
        let Some((end, time)) = self.walk(last, &mut scan)? else { return Ok(false) };
        index.note_end(end);
        Ok(time <= newest.timestamp)
    }

    /// The offset behind the last batch, and the largest timestamp from `position` on; none when the batches do not reach the end.
    fn walk(&self, mut position: u64, scan: &mut HeaderScan<'_>) -> io::Result<Option<(Offset, TimestampMs)>> {
        let (mut end, mut newest) = (self.base, TimestampMs::NONE);
        while let Some(header) = scan.at(position)? {
            let Some(length) = header.total_length().map(to_u64) else { break };
            newest = newest.max(header.max_timestamp);
            end = header.next_offset();
            position += length;
        }
        Ok((position == scan.end()).then_some((end, newest)))
    }

    fn make_index(&self, reader: Reader<'_>) -> io::Result<SparseIndex> {
        let mut index = SparseIndex::new(self.base);
        let mut scan = HeaderScan::new(reader.file, self.written(), Wait::Allowed);
        let mut position = 0;
        while let Some(header) = scan.at(position)? {
            let Some(length) = header.total_length().map(to_u64) else { break };
            index.note(&header, position, length, INTERVAL);
            position += length;
        }
        if position < scan.end() {
            index.source = Source::SomeBatches;
        }
        Ok(index)
    }

    /// The first batch whose last offset is at or behind `offset`, and its position.
    pub(crate) fn find(&self, offset: Offset, reader: Reader<'_>) -> io::Result<Option<(u64, BatchHeader)>> {
        let mut place = self.with_index(reader, |index| index.place_before(offset))?;
        let mut scan = HeaderScan::new(reader.file, self.written(), reader.wait);
        if reader.verifies && !self.is_place_or_start(place, &mut scan)? {
            place = self.with_made_index(reader, |index| index.place_before(offset))?;
            // a file that took this one's place meanwhile has other batches
            if !self.is_place_or_start(place, &mut scan)? {
                place = None;
            }
        }
        find_from(place.map_or(0, |place| place.position), offset, &mut scan)
    }

    fn is_place_or_start(&self, place: Option<Place>, scan: &mut HeaderScan<'_>) -> io::Result<bool> {
        place.map_or(Ok(true), |place| self.is_place(place, scan))
    }

    /// Whether the index told the truth: a batch is there, and ends where the index says.
    fn is_place(&self, place: Place, scan: &mut HeaderScan<'_>) -> io::Result<bool> {
        let header = scan.at(place.position)?;
        Ok(header.is_some_and(|header| {
            header.magic == 2 && header.base_offset >= self.base && header.last_offset() == place.last_offset
        }))
    }

    /// An offset at or before the first batch that may have a timestamp of at least `time`.
    pub(crate) fn offset_before(&self, time: TimestampMs, reader: Reader<'_>) -> io::Result<Offset> {
        let Some(mut said) = self.with_index(reader, |index| index.newest_before(time))? else { return Ok(self.base) };
        if reader.verifies {
            let found = self.find(said.last_offset, reader)?;
            if !found.is_some_and(|(_, header)| is_newest(&header, said)) {
                let made = self.with_made_index(reader, |index| index.newest_before(time))?;
                let Some(made) = made else { return Ok(self.base) };
                said = made;
            }
        }
        Ok(said.last_offset)
    }

    /// What the index says of the batches' times.
    pub(crate) fn times(&self, reader: Reader<'_>) -> io::Result<Times> {
        self.with_index(reader, times_in)
    }

    /// The same after all batches behind the newest one were looked at: index files that lost their last entries do not have the largest timestamp.
    /// Mostly the newest batch is the last, and this costs nothing.
    pub(crate) fn confirmed_times(&self, reader: Reader<'_>) -> io::Result<Times> {
        let (newest, source) = self.with_index(reader, |index| (index.newest(), index.source))?;
        if source != Source::Files || !reader.verifies {
            return self.times(reader);
        }
        let found = self.find(newest.last_offset, reader)?;
        let mut scan = HeaderScan::new(reader.file, self.written(), reader.wait);
        let behind = match found {
            Some((position, _)) => self.walk(position, &mut scan)?,
            None => None,
        };
        match behind {
            Some((_, time)) if time == newest.timestamp => self.times(reader),
            _ => self.with_made_index(reader, times_in),
        }
    }
}

fn times_in(index: &SparseIndex) -> Times {
    let newest = (index.source != Source::SomeBatches).then(|| index.newest().timestamp);
    Times { newest, end: index.end() }
}

fn is_newest(header: &BatchHeader, said: Newest) -> bool {
    header.last_offset() == said.last_offset && header.max_timestamp == said.timestamp
}

/// The first batch from `position` on whose last offset is at or behind `offset`.
fn find_from(mut position: u64, offset: Offset, scan: &mut HeaderScan<'_>) -> io::Result<Option<(u64, BatchHeader)>> {
    while let Some(header) = scan.at(position)? {
        if header.last_offset() >= offset {
            return Ok(Some((position, header)));
        }
        let Some(length) = header.total_length().map(to_u64) else { break };
        position += length;
    }
    Ok(None)
}

fn absurd_is_absent(read: io::Result<Option<Vec<u8>>>) -> io::Result<Option<Vec<u8>>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        other => other,
    }
}
