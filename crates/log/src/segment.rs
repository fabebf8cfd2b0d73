//! One segment: a run of batches in a file that is named after its first offset.
//!
//! `durable` bytes may be read by anybody at any time; what lies behind them belongs to the flusher alone. A closed segment never
//! changes, so a view of it needs no lock. Files are opened when they are needed and closed when too many are open.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kennet_protocol::record::BatchHeader;
use kennet_protocol::{Offset, TimestampMs};

use crate::fs::{File, FileSystem, Wait, read_file};
use crate::index::{INDEX_BYTES_MAX, SparseIndex};
use crate::layout;
use crate::scan::{BatchScan, HeaderScan};

/// A segment of a log.
pub(crate) struct Segment {
    pub(crate) base: Offset,
    directory: PathBuf,
    durable: AtomicU64,
    file: Mutex<Option<Arc<dyn File>>>,
    /// `None` until it is needed, for segments that were closed when the log was opened.
    index: Mutex<Option<SparseIndex>>,
    /// Whether the flusher writes to it; then one handle serves it and the readers.
    is_written: bool,
}

impl Segment {
    /// A segment that is being written, with what its first `durable` bytes imply.
    pub(crate) fn open(directory: PathBuf, index: SparseIndex, base: Offset, durable: u64) -> Self {
        Self::of(directory, base, durable, Some(index))
    }

    /// A segment that was closed earlier; its index is read when it is needed.
    pub(crate) fn closed(directory: PathBuf, base: Offset, length: u64) -> Self {
        Self::of(directory, base, length, None)
    }

    fn of(directory: PathBuf, base: Offset, durable: u64, index: Option<SparseIndex>) -> Self {
        let is_written = index.is_some();
        Self {
            base,
            directory,
            durable: AtomicU64::new(durable),
            file: Mutex::new(None),
            index: Mutex::new(index),
            is_written,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        layout::segment(&self.directory, self.base, "log")
    }

    /// Bytes that are durable and whole batches.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Makes the file, empty. Only the flusher does, so that a reader never brings a removed segment back.
    pub(crate) fn create(&self, fs: &dyn FileSystem, open: &OpenFiles) -> io::Result<Arc<dyn File>> {
        let file = fs.create(&self.path())?;
        file.set_length(0)?;
        let before = self.file.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::clone(&file));
        if before.is_none() {
            open.count();
        }
        Ok(file)
    }

    /// The file, opened if need be; `NotFound` when the segment was removed.
    pub(crate) fn file(&self, fs: &dyn FileSystem, open: &OpenFiles) -> io::Result<Arc<dyn File>> {
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = held.as_ref() {
            return Ok(Arc::clone(file));
        }
        let path = self.path();
        let file = if self.is_written { fs.open_to_write(&path)? } else { fs.open(&path)? };
        *held = Some(Arc::clone(&file));
        drop(held);
        open.count();
        Ok(file)
    }

    /// Closes the file; the next use opens it again.
    pub(crate) fn close_file(&self, open: &OpenFiles) {
        if self.file.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            open.uncount();
        }
    }

    /// Publishes batches that are durable now.
    pub(crate) fn publish(&self, batches: &[(BatchHeader, u64, u64)], end: u64, interval: u64) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = index.as_mut() {
            for (header, position, length) in batches {
                index.note(header, *position, *length, interval);
            }
        }
        drop(index);
        self.durable.store(end, Ordering::Release);
    }

    /// Asks the index, which is read or made again first if need be.
    pub(crate) fn with_index<T>(
        &self,
        file: &dyn File,
        fs: &dyn FileSystem,
        ask: impl FnOnce(&SparseIndex) -> T,
    ) -> io::Result<T> {
        let mut held = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = held.as_ref() {
            return Ok(ask(index));
        }
        let index = match self.read_index(fs)? {
            Some(index) => index,
            None => self.rebuild_index(file)?,
        };
        Ok(ask(held.insert(index)))
    }

    fn read_index(&self, fs: &dyn FileSystem) -> io::Result<Option<SparseIndex>> {
        let offsets = read_file(fs, &layout::segment(&self.directory, self.base, "index"), INDEX_BYTES_MAX);
        let times = read_file(fs, &layout::segment(&self.directory, self.base, "timeindex"), INDEX_BYTES_MAX);
        match (absurd_is_absent(offsets)?, absurd_is_absent(times)?) {
            (Some(offsets), Some(times)) => {
                let index = SparseIndex::decode(self.base, self.durable(), &offsets, &times);
                // an index without its last timestamp was not finished
                Ok(index.filter(|index| self.durable() == 0 || index.max_timestamp() != TimestampMs::NONE))
            }
            _ => Ok(None),
        }
    }

    fn rebuild_index(&self, file: &dyn File) -> io::Result<SparseIndex> {
        const INTERVAL: u64 = 4096;
        let mut index = SparseIndex::new(self.base);
        let mut scan = BatchScan::new(file, 0, self.durable());
        while let Some((position, batch)) = scan.next()? {
            let length = scan.position() - position;
            index.note(batch.header(), position, length, INTERVAL);
        }
        Ok(index)
    }

    /// The bytes of the two index files, for a segment that is being closed.
    pub(crate) fn index_files(&self) -> Option<[(PathBuf, Vec<u8>); 2]> {
        let held = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let (offsets, times) = held.as_ref()?.encode();
        Some([
            (layout::segment(&self.directory, self.base, "index"), offsets),
            (layout::segment(&self.directory, self.base, "timeindex"), times),
        ])
    }

    /// Forgets the index of a closed segment; it is read again when it is needed.
    pub(crate) fn drop_index(&self) {
        *self.index.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// All file names that belong to the segment.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        ["log", "index", "timeindex"].map(|kind| layout::segment(&self.directory, self.base, kind)).into()
    }

    /// The first batch whose last offset is at or behind `offset`, and its position.
    pub(crate) fn find(
        &self,
        file: &dyn File,
        fs: &dyn FileSystem,
        offset: Offset,
        wait: Wait,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        let end = self.durable();
        let hint = self.with_index(file, fs, |index| index.position_before(offset))?;
        let mut scan = HeaderScan::new(file, end, wait);
        let start = if self.is_batch_at(&mut scan, hint, offset)? { hint } else { 0 };
        let mut position = start;
        while let Some(header) = scan.at(position)? {
            if header.last_offset() >= offset {
                return Ok(Some((position, header)));
            }
            let Some(length) = header.total_length() else { break };
            position += u64::try_from(length).unwrap_or(u64::MAX);
        }
        Ok(None)
    }

    /// Whether the index told the truth: a batch of this segment that does not start behind `offset`.
    fn is_batch_at(&self, scan: &mut HeaderScan<'_>, position: u64, offset: Offset) -> io::Result<bool> {
        let header = scan.at(position)?;
        Ok(header
            .is_some_and(|header| header.magic == 2 && header.base_offset >= self.base && header.base_offset <= offset))
    }
}

fn absurd_is_absent(read: io::Result<Option<Vec<u8>>>) -> io::Result<Option<Vec<u8>>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        other => other,
    }
}

/// How many segment files are open, and how many may be.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    open: AtomicU64,
    limit: u64,
}

impl OpenFiles {
    pub(crate) fn new(limit: u64) -> Self {
        Self { open: AtomicU64::new(0), limit }
    }

    fn count(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    fn uncount(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether files that are not in use should be closed.
    pub(crate) fn too_many(&self) -> bool {
        self.open.load(Ordering::Relaxed) > self.limit
    }
}
