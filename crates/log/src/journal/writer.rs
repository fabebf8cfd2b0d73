//! Writes entries into the journal, block after block; the journal's thread owns it.
//!
//! Invariant: a block is written in one call that returns when it is durable, and the next one is made only after that. Nothing of a block
//! counts before. A block that could not be written because there is no slot, no space or no file handle is made again later; any other error is final.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::fs::{File, FileSystem, final_error, is_full, is_transient};
use crate::journal::block::{BlockHeader, FRAGMENT_BYTES, HEADER_BYTES, put_fragment_head};
use crate::journal::entry::Encoded;
use crate::journal::ledger::Ledger;
use crate::journal::{JournalLimits, slot_path};
use crate::scan::to_u64;

/// Zeros that are written in one call, and synced before the next one: what is journaled meanwhile waits behind so much at most, not behind a whole slot.
const ZEROS: usize = 1 << 20;

/// An entry that waits to be written.
pub(crate) struct Queued<T> {
    /// Its number: they follow one another without a gap.
    pub(crate) number: u64,
    pub(crate) encoded: Encoded,
    /// What the caller wants back when the entry is durable.
    pub(crate) tag: T,
}

/// Why no block was written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// All slots are in use: something has to be filled first.
    NoSlot,
    /// The volume is full; it may be tried again.
    Full,
    /// The slot could not be opened for lack of a file handle; it may be tried again.
    NoHandle(io::Error),
    /// What is on the disk is unknown now.
    Failed(io::Error),
}

/// The end of the journal.
pub(crate) struct Writer<T> {
    fs: Arc<dyn FileSystem>,
    directory: PathBuf,
    journal_id: u128,
    open_count: u64,
    limits: JournalLimits,
    ledger: Arc<Mutex<Ledger>>,
    files: HashMap<u32, Arc<dyn File>>,
    buffer: AlignedBuffer,
    queue: VecDeque<Queued<T>>,
    /// Bytes of the first entry in the queue that are durable.
    written_of_first: usize,
    /// Whether a block was written through the page cache.
    is_buffered: bool,
}

impl<T> Writer<T> {
    pub(crate) fn new(
        fs: Arc<dyn FileSystem>,
        root: &Path,
        journal_id: u128,
        open_count: u64,
        limits: JournalLimits,
        ledger: Arc<Mutex<Ledger>>,
    ) -> Self {
        Self {
            fs,
            directory: root.to_owned(),
            journal_id,
            open_count,
            limits,
            ledger,
            files: HashMap::new(),
            buffer: AlignedBuffer::new(limits.alignment),
            queue: VecDeque::new(),
            written_of_first: 0,
            is_buffered: false,
        }
    }

    pub(crate) fn push(&mut self, entries: impl IntoIterator<Item = Queued<T>>) {
        self.queue.extend(entries);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the last block was written through the page cache.
    pub(crate) fn is_buffered(&self) -> bool {
        self.is_buffered
    }

    /// Writes the next block; returns the entries that end in it, which are durable now.
    pub(crate) fn write_block(&mut self) -> Result<Vec<Queued<T>>, WriteError> {
        let Some(first) = self.queue.front() else { return Ok(Vec::new()) };
        let first_number = first.number;
        let first_entry = first_number + u64::from(self.written_of_first > 0);
        let file = self.slot_with_room().map_err(sort)?.ok_or(WriteError::NoSlot)?;
        let place = self.ledger().end();
        let room = usize::try_from(self.ledger().slot_bytes() - place.position).unwrap_or(usize::MAX);
        let (length, ended, written_of_next) = self.fill_buffer(room.min(self.limits.block_bytes_max));
        let header = BlockHeader {
            journal_id: self.journal_id,
            open_count: self.open_count,
            sequence: place.sequence,
            first_entry,
            content_length: u32::try_from(length - HEADER_BYTES).unwrap_or(u32::MAX),
            previous: place.previous,
        };
        let block = self.buffer.padded(length);
        let checksum = header.seal(block);
        file.write_durable(block, place.position).map_err(sort)?;
        self.is_buffered = file.is_buffered();
        let padded = to_u64(block.len());
        let next_entry = first_number + to_u64(ended) + u64::from(written_of_next > 0);
        self.ledger().note_block(padded, checksum, next_entry);
        self.written_of_first = written_of_next;
        Ok(self.queue.drain(..ended).collect())
    }

    /// Puts as much of the queue behind the header as fits; returns the block's length, the entries that end in it, and the bytes that are
    /// then written of the entry behind them.
    fn fill_buffer(&mut self, room: usize) -> (usize, usize, usize) {
        let place = self.buffer.grown(room);
        let mut at = HEADER_BYTES;
        let (mut ended, mut from) = (0, self.written_of_first);
        while let Some(entry) = self.queue.get(ended) {
            // a fragment without a byte would say nothing
            if room - at <= FRAGMENT_BYTES {
                break;
            }
            let left = entry.encoded.length() - from;
            let length = left.min(room - at - FRAGMENT_BYTES);
            put_fragment_head(&mut place[at..], from == 0, length == left, length);
            entry.encoded.copy(from, &mut place[at + FRAGMENT_BYTES..at + FRAGMENT_BYTES + length]);
            at += FRAGMENT_BYTES + length;
            if length < left {
                return (at, ended, from + length);
            }
            (ended, from) = (ended + 1, 0);
        }
        (at, ended, 0)
    }

    /// The file of the slot that takes the next block; none when all are in use.
    fn slot_with_room(&mut self) -> io::Result<Option<Arc<dyn File>>> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let end = ledger.end();
        let mut slot = end.slot;
        if end.position + to_u64(self.limits.alignment.max(HEADER_BYTES + FRAGMENT_BYTES + 1)) > ledger.slot_bytes() {
            match ledger.take_free() {
                Some(free) => slot = free,
                None => return Ok(None),
            }
        }
        drop(ledger);
        if let Some(file) = self.files.get(&slot) {
            return Ok(Some(Arc::clone(file)));
        }
        let file = self.fs.open_durable(&slot_path(&self.directory, slot))?;
        self.files.insert(slot, Arc::clone(&file));
        Ok(Some(file))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a slot with all its space, so that no block meets a full volume later, and writes it once: where a file has only space, each durable
/// write changes the file system's own records as well, which costs ten times as much. Without `syncs`, which is a rule, it may be gone again.
pub(crate) fn make_slot(fs: &dyn FileSystem, root: &Path, slot: u32, bytes: u64, syncs: bool) -> io::Result<()> {
    let path = slot_path(root, slot);
    let names = path.parent().map(|folder| fs.open_directory(folder)).transpose()?;
    let file = [fs.create(&path)?];
    file[0].allocate(bytes)?;
    let zeros = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(ZEROS)];
    let mut position = 0;
    while position < bytes {
        let length = usize::try_from(bytes - position).unwrap_or(usize::MAX).min(zeros.len());
        file[0].write_at(&[IoSlice::new(&zeros[..length])], position).map_err(full_or_final)?;
        if syncs {
            fs.sync_files(&file).map_err(|error| final_error(&error))?;
        }
        position += to_u64(length);
    }
    names.filter(|_| syncs).map_or(Ok(()), |names| names.sync().map_err(|error| final_error(&error)))
}

fn full_or_final(error: io::Error) -> io::Error {
    if is_full(&error) { error } else { final_error(&error) }
}

fn sort(error: io::Error) -> WriteError {
    match error {
        error if is_full(&error) => WriteError::Full,
        error if is_transient(&error) => WriteError::NoHandle(error),
        error => WriteError::Failed(error),
    }
}

/// Memory at an address that direct I/O takes.
struct AlignedBuffer {
    memory: Vec<u8>,
    alignment: usize,
}

impl AlignedBuffer {
    fn new(alignment: usize) -> Self {
        Self { memory: Vec::new(), alignment }
    }

    /// At least `length` bytes, rounded up to whole units.
    fn grown(&mut self, length: usize) -> &mut [u8] {
        let length = length.next_multiple_of(self.alignment);
        if self.memory.len() < length + self.alignment {
            self.memory = vec![0; length + self.alignment];
        }
        let start = self.start();
        &mut self.memory[start..start + length]
    }

    /// The first `length` bytes and zeros up to a whole unit: what an older block left there is nobody's business.
    fn padded(&mut self, length: usize) -> &mut [u8] {
        let whole = length.next_multiple_of(self.alignment);
        let start = self.start();
        let block = &mut self.memory[start..start + whole];
        block[length..].fill(0);
        block
    }

    fn start(&self) -> usize {
        let offset = self.memory.as_ptr().align_offset(self.alignment);
        if offset < self.alignment { offset } else { 0 }
    }
}
