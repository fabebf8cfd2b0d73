//! A segment that compaction writes beside those that it is to replace, and reads back before it does.
//!
//! Invariant: it counts for nothing until it is renamed; until then its files may be torn, and a restart removes them.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kennet_protocol::Offset;
use kennet_protocol::record::Batch;

use crate::fs::{File, FileSystem, final_error};
use crate::index::SparseIndex;
use crate::layout;
use crate::rules::Rules;
use crate::scan::{BatchScan, to_u64};

/// Bytes that are gathered for one write.
const WRITE_BYTES: usize = 1 << 20;

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Writing or syncing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What was read back is not what was written, or could not be read.
    #[error("{0}")]
    Wrong(String),
}

/// A segment that is being written.
pub(crate) struct Output {
    directory: PathBuf,
    pub(crate) base: Offset,
    file: Arc<dyn File>,
    gathered: Vec<u8>,
    pub(crate) length: u64,
    digest: crc_fast::Digest,
    index: SparseIndex,
    interval: u64,
    next_offset: Offset,
}

/// A segment that was written, synced and read back.
pub(crate) struct Finished {
    pub(crate) base: Offset,
    pub(crate) length: u64,
    pub(crate) index: SparseIndex,
}

impl Output {
    /// Begins a segment; what an earlier attempt left is overwritten.
    pub(crate) fn begin(fs: &dyn FileSystem, directory: &Path, base: Offset, interval: u64) -> io::Result<Self> {
        let file = fs.create(&layout::cleaned(directory, base, "log"))?;
        file.set_length(0)?;
        Ok(Self {
            directory: directory.to_owned(),
            base,
            file,
            gathered: Vec::new(),
            length: 0,
            digest: digest(),
            index: SparseIndex::new(base),
            interval,
            next_offset: base,
        })
    }

    /// Adds a batch.
    pub(crate) fn push(&mut self, batch: &Batch) -> io::Result<()> {
        let bytes: &Bytes = batch.bytes();
        self.index.note(batch.header(), self.length, to_u64(bytes.len()), self.interval);
        self.digest.update(bytes);
        self.gathered.extend_from_slice(bytes);
        self.length += to_u64(bytes.len());
        self.next_offset = batch.header().next_offset();
        if self.gathered.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        let position = self.length - to_u64(self.gathered.len());
        self.file.write_at(&[IoSlice::new(&self.gathered)], position)?;
        self.gathered.clear();
        Ok(())
    }

    /// Writes what is left and the index files, makes all durable, and reads the batches back.
    pub(crate) fn finish(mut self, fs: &dyn FileSystem, rules: Rules) -> Result<Finished, OutputError> {
        if !self.gathered.is_empty() {
            self.write()?;
        }
        let names = fs.open_directory(&self.directory)?;
        let mut files = vec![Arc::clone(&self.file)];
        let (offsets, times) = self.index.encode();
        for (kind, bytes) in [("index", offsets), ("timeindex", times)] {
            let file = fs.create(&layout::cleaned(&self.directory, self.base, kind))?;
            file.set_length(0)?;
            file.write_at(&[IoSlice::new(&bytes)], 0)?;
            files.push(file);
        }
        if rules.swaps_are_synced {
            fs.sync_files(&files).map_err(|error| final_error(&error))?;
        }
        if rules.swap_names_are_synced {
            // the names, too: a swap whose index files a power cut took would be read with those of the segment that it replaces
            names.sync().map_err(|error| final_error(&error))?;
        }
        // nothing counts yet, and what is replaced is whole: that this can't be read says nothing of the rest
        let read_back = if rules.compacted_segments_are_read_back { self.check() } else { Ok(()) };
        read_back.map_err(|error| match error {
            OutputError::Io(error) => OutputError::Wrong(format!("it can't be read back: {error}")),
            wrong @ OutputError::Wrong(_) => wrong,
        })?;
        Ok(Finished { base: self.base, length: self.length, index: self.index })
    }

    fn check(&self) -> Result<(), OutputError> {
        let wrong = |what: String| Err(OutputError::Wrong(what));
        let length = self.file.length()?;
        if length != self.length {
            return wrong(format!("{length} bytes were written instead of {}", self.length));
        }
        let mut scan = BatchScan::new(self.file.as_ref(), 0, self.length);
        let mut found = digest();
        let mut next = self.base;
        while let Some((position, batch)) = scan.next()? {
            if batch.header().base_offset < next {
                return wrong(format!("the batch at byte {position} goes back to {}", batch.header().base_offset));
            }
            next = batch.header().next_offset();
            found.update(batch.bytes());
        }
        if scan.position() != self.length || next != self.next_offset {
            return wrong(format!("its batches end at byte {} and offset {next}", scan.position()));
        }
        if found.finalize() != self.digest.finalize() {
            return wrong("its bytes are not those that were written".to_owned());
        }
        Ok(())
    }

    /// Removes what was written. What stays is removed at the next start.
    pub(crate) fn discard(fs: &dyn FileSystem, directory: &Path, base: Offset) -> io::Result<()> {
        for kind in layout::SEGMENT_FILES {
            fs.remove_file(&layout::cleaned(directory, base, kind))?;
        }
        Ok(())
    }
}

fn digest() -> crc_fast::Digest {
    crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme)
}
