//! One segment: a run of batches in a file that is named after its first offset.
//!
//! `written` bytes may be read by anybody at any time; what lies behind them belongs to the filler alone. A closed segment never
//! changes, so a view of it needs no lock. Files are opened when they are needed and closed when too many are open.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use kennet_protocol::record::BatchHeader;
use kennet_protocol::{Offset, TimestampMs};

use crate::checkpoint::LastSegment;
use crate::fs::{File, FileSystem, Wait};
use crate::index::SparseIndex;
use crate::layout;

mod look_up;

pub(crate) use look_up::{Reader, Times};

/// A segment of a log.
pub(crate) struct Segment {
    pub(crate) base: Offset,
    directory: PathBuf,
    written: AtomicU64,
    /// Of the first batch, as far as it was needed; -1 is unknown.
    first_timestamp: AtomicI64,
    file: Mutex<Option<Held>>,
    /// What a compacted segment is called until those that it replaces are gone; taken with the lock of `file`.
    swap: Mutex<Option<PathBuf>>,
    /// `None` until it is needed, for segments that this process did not begin.
    index: Mutex<Option<SparseIndex>>,
    /// Whether the filler writes to it; then one handle serves it and the readers.
    is_written: bool,
    /// Whether its index files cover all of it; else the index is made from the batches.
    has_index_files: AtomicBool,
    /// Whether its index files are those of an earlier process.
    was_indexed: bool,
}

impl Segment {
    /// A segment that this process begins.
    pub(crate) fn begun(directory: PathBuf, base: Offset) -> Self {
        Self { is_written: true, index: Mutex::new(Some(SparseIndex::new(base))), ..Self::closed(directory, base, 0) }
    }

    /// The last segment of an earlier process, which is written on.
    pub(crate) fn reopened(directory: PathBuf, last: LastSegment) -> Self {
        Self {
            is_written: true,
            has_index_files: AtomicBool::new(last.is_indexed),
            was_indexed: last.is_indexed,
            first_timestamp: AtomicI64::new(last.first_timestamp.unwrap_or(TimestampMs::NONE).0),
            ..Self::closed(directory, last.base, last.length)
        }
    }

    /// A segment that was closed earlier.
    pub(crate) fn closed(directory: PathBuf, base: Offset, length: u64) -> Self {
        Self {
            base,
            directory,
            written: AtomicU64::new(length),
            first_timestamp: AtomicI64::new(TimestampMs::NONE.0),
            file: Mutex::new(None),
            swap: Mutex::new(None),
            index: Mutex::new(None),
            is_written: false,
            has_index_files: AtomicBool::new(true),
            was_indexed: false,
        }
    }

    /// A compacted segment under the name that it has while it takes the place of others.
    pub(crate) fn swapped(directory: PathBuf, swap: PathBuf, base: Offset, length: u64, index: SparseIndex) -> Self {
        Self { swap: Mutex::new(Some(swap)), index: Mutex::new(Some(index)), ..Self::closed(directory, base, length) }
    }

    /// Gives a compacted segment its own name, for which nobody else is left. Readers find it under one name or the other.
    pub(crate) fn finish_swap(&self, fs: &dyn FileSystem) -> io::Result<()> {
        let _held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut swap = self.swap.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(from) = swap.as_ref() {
            fs.rename(from, &layout::segment(&self.directory, self.base, "log"))?;
            *swap = None;
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> PathBuf {
        if let Some(swap) = self.swap.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            return swap.clone();
        }
        layout::segment(&self.directory, self.base, "log")
    }

    /// Bytes that are whole batches and may be read.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The first batch's timestamp, if it is known and says something.
    pub(crate) fn first_timestamp(&self) -> Option<TimestampMs> {
        Some(TimestampMs(self.first_timestamp.load(Ordering::Relaxed))).filter(|time| *time != TimestampMs::NONE)
    }

    /// Makes the file, empty. Only the filler does, so that a reader never brings a removed segment back.
    pub(crate) fn create(&self, fs: &dyn FileSystem, open: &OpenFiles) -> io::Result<Arc<dyn File>> {
        let file = fs.create(&self.path())?;
        file.set_length(0)?;
        file.read_nothing_ahead();
        let held = Held { file: Arc::clone(&file), _counted: open.count() };
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(file)
    }

    /// The file, opened if need be; `NotFound` when the segment was removed.
    pub(crate) fn file(&self, fs: &dyn FileSystem, open: &OpenFiles) -> io::Result<Arc<dyn File>> {
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_ref() {
            return Ok(Arc::clone(&held.file));
        }
        let path = self.path();
        let file = if self.is_written { fs.open_to_write(&path)? } else { fs.open(&path)? };
        file.read_nothing_ahead();
        *held = Some(Held { file: Arc::clone(&file), _counted: open.count() });
        Ok(file)
    }

    /// The file for who may not wait: only if it is open and nobody opens it just now, since reading a name from the disk takes as long as reading a batch.
    ///
    /// # Errors
    /// `WouldBlock` when it is not.
    pub(crate) fn file_at_once(&self) -> io::Result<Arc<dyn File>> {
        let held = match self.file.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
        };
        held.as_ref().map(|held| Arc::clone(&held.file)).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Closes the file; the next use opens it again.
    pub(crate) fn close_file(&self) {
        drop(self.file.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Publishes batches that are written now.
    pub(crate) fn publish(&self, batches: &[(BatchHeader, u64, u64)], end: u64, interval: u64) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((first, 0, _)) = batches.first() {
            self.first_timestamp.store(first.max_timestamp.0, Ordering::Relaxed);
        }
        self.has_index_files.store(false, Ordering::Release);
        // one that is not in memory is made from the batches later, with these among them
        if let Some(index) = index.as_mut() {
            for (header, position, length) in batches {
                index.note(header, *position, *length, interval);
            }
        }
        self.written.store(end, Ordering::Release);
    }

    /// Whether asking the index costs nothing.
    pub(crate) fn index_is_in_memory(&self) -> bool {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn was_indexed(&self) -> bool {
        self.was_indexed
    }

    /// The bytes of the two index files, for a segment that is being closed.
    pub(crate) fn index_files(
        &self,
        fs: &dyn FileSystem,
        open: &OpenFiles,
        verifies: bool,
    ) -> io::Result<[(PathBuf, Vec<u8>); 2]> {
        let file = self.file(fs, open)?;
        let reader = Reader { file: file.as_ref(), fs, wait: Wait::Allowed, verifies };
        let (offsets, times) = self.with_index(reader, SparseIndex::encode)?;
        Ok([
            (layout::segment(&self.directory, self.base, "index"), offsets),
            (layout::segment(&self.directory, self.base, "timeindex"), times),
        ])
    }

    /// Forgets the index of a closed segment, whose index files are written; it is read again when it is needed.
    pub(crate) fn drop_index(&self) {
        self.has_index_files.store(true, Ordering::Release);
        *self.index.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// All file names that belong to the segment.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        layout::SEGMENT_FILES.map(|kind| layout::segment(&self.directory, self.base, kind)).into()
    }
}

/// How many segment files are open, and how many may be.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    open: Arc<AtomicU64>,
    limit: u64,
}

/// A file that a segment keeps open. It counts until it is dropped: a reader may open the file of a segment that is the log's no more.
struct Held {
    file: Arc<dyn File>,
    _counted: Counted,
}

struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OpenFiles {
    pub(crate) fn new(limit: u64) -> Self {
        Self { open: Arc::default(), limit }
    }

    fn count(&self) -> Counted {
        self.open.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(&self.open))
    }

    /// Whether files that are not in use should be closed.
    pub(crate) fn too_many(&self) -> bool {
        self.open.load(Ordering::Relaxed) > self.limit
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kennet_protocol::Offset;

    use super::{OpenFiles, Segment};
    use crate::fs::FileSystem;
    use crate::fs::sim::SimulatedDisk;

    #[test]
    fn a_file_counts_as_open_until_its_segment_closes_it_or_is_gone() {
        let (disk, open) = (SimulatedDisk::new(1), OpenFiles::new(0));
        let directory = PathBuf::from("/data");
        disk.create_directory(&directory).unwrap();
        let segment = Segment::begun(directory, Offset(0));
        segment.create(&disk, &open).unwrap();
        segment.create(&disk, &open).unwrap();
        assert!(open.too_many());
        segment.close_file();
        assert!(!open.too_many());
        // whoever reads a segment that was taken away keeps it open for as long as it has it
        segment.file(&disk, &open).unwrap();
        assert!(open.too_many());
        drop(segment);
        assert!(!open.too_many());
    }
}
