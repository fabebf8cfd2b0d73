//! The seam between the log and the disk.
//!
//! Every access goes through these two traits, so that tests can cut power, tear writes and fail any call. The contract is
//! POSIX's: data is safe after `sync_files`, names after `sync_directory`, and nothing else is.

mod read_more;
mod real;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod unfinished;
mod volume;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use real::RealFileSystem;
use rustix::io::Errno;

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Read from the disk if need be.
    Allowed,
    /// Fail with `WouldBlock` when the bytes are not in the page cache (RWF_NOWAIT).
    Refused,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without the directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// The file's length in bytes.
    pub length: u64,
}

/// An open file.
pub trait File: Send + Sync {
    /// Reads up to `buffer.len()` bytes at `position`; fewer only at the end of the file.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when waiting is refused and would be needed.
    fn read_at(&self, buffer: &mut [u8], position: u64, wait: Wait) -> io::Result<usize>;

    /// The same, appended to `bytes`, which grows by up to `length`.
    ///
    /// # Errors
    /// The same; nothing is appended then.
    fn read_more(&self, bytes: &mut Vec<u8>, length: usize, position: u64, wait: Wait) -> io::Result<usize> {
        let before = bytes.len();
        bytes.resize(before + length, 0);
        let read = self.read_at(&mut bytes[before..], position, wait);
        bytes.truncate(before + read.as_ref().copied().unwrap_or(0));
        read
    }

    /// Writes all of the parts one after the other at `position`.
    ///
    /// # Errors
    /// The system's; any prefix may have been written.
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()>;

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// The system's.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Gives a file this length and all the space for it, so that no later write within it meets a full volume. What it has stays.
    ///
    /// # Errors
    /// The system's.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Writes at `position` within the file and returns when that is durable. Of a file from [`FileSystem::open_durable`] only; address,
    /// length and position are multiples of [`FileSystem::alignment`].
    ///
    /// # Errors
    /// As for [`FileSystem::sync_files`], unless the volume is full.
    fn write_durable(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Whether durable writes go through the page cache, each with a sync behind it, because system or device take no direct ones. Known once there
    /// was one.
    fn is_buffered(&self) -> bool;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;

    /// From now on the system reads what is asked for and nothing ahead of it. Where its readahead is some mebibytes, one cold reader fills the device's queue
    /// with them, and who waits for a block of the journal waits behind all of it.
    fn read_nothing_ahead(&self) {}

    /// Makes the file's data and length durable; callers use [`FileSystem::sync_files`].
    ///
    /// # Errors
    /// As for [`FileSystem::sync_files`].
    fn sync(&self) -> io::Result<()>;
}

/// An open directory.
pub trait Directory: Send + Sync {
    /// Makes its names durable. Whoever opened it before changing names can't fail for lack of a file handle any more.
    ///
    /// # Errors
    /// As for [`FileSystem::sync_files`].
    fn sync(&self) -> io::Result<()>;
}

/// A file system as far as the log needs one.
pub trait FileSystem: Send + Sync {
    /// Creates a directory and those above it.
    ///
    /// # Errors
    /// The system's.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in no order; none when there is no such directory.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// The system's; `NotFound` when there is none.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// The system's; `NotFound` when there is none.
    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading and writing, and creates it if there is none.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file for durable writes, past the page cache where the file system can.
    ///
    /// # Errors
    /// The system's; `NotFound` when there is none.
    fn open_durable(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a directory, to make names durable that will change.
    ///
    /// # Errors
    /// The system's; `NotFound` when there is none.
    fn open_directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>>;

    /// Bytes that durable writes come in multiples of: a power of two.
    fn alignment(&self) -> usize;

    /// Renames a file or directory, over what has the new name.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// The system's.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all in it; one that is not there is no error.
    ///
    /// # Errors
    /// The system's.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes the data of these files durable, all together.
    ///
    /// # Errors
    /// The system's. An error is final: the files' contents are unknown from then on, and a later success says nothing.
    fn sync_files(&self, files: &[Arc<dyn File>]) -> io::Result<()>;

    /// Makes a directory's names durable.
    ///
    /// # Errors
    /// As for `sync_files`, and for [`Self::open_directory`].
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.open_directory(path)?.sync()
    }

    /// Takes the lock file at `path`; it is free again when the answer is dropped.
    ///
    /// # Errors
    /// `WouldBlock` when somebody else has it, else the system's.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;

    /// How long the oldest write or sync takes that has not come back; nothing when there is none.
    fn oldest_write(&self) -> Duration;

    /// Bytes that can still be written, and bytes in all, where `path` is.
    ///
    /// # Errors
    /// The system's.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// Room on a volume, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What an ordinary user can still write.
    pub available: u64,
    /// The volume's size.
    pub total: u64,
}

/// No space is left, or a quota is used up: the one error after which a write may be tried again.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The process or the system has no file handle left (EMFILE, ENFILE). Only what opens a file says so, before anything is changed: it says nothing
/// of the disk, and may be tried again.
#[must_use]
pub fn is_transient(error: &io::Error) -> bool {
    let refused = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| refused.contains(&code))
}

/// The disk can't give back what was written there (EIO).
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

/// What a sync reported, or a write that did not lack room.
#[derive(Debug, thiserror::Error)]
#[error("a sync or write failed: {0}")]
struct Final(String);

/// An error of a sync as one that is never taken for a full volume: the file's contents are unknown, whatever the reason.
pub(crate) fn final_error(error: &io::Error) -> io::Error {
    io::Error::other(Final(error.to_string()))
}

/// Whether it is from [`final_error`]: the directory has to fail, wherever it was met.
#[must_use]
pub(crate) fn is_final(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Final>())
}

/// Makes a directory's names durable. An error is final, unless the directory could not even be opened for lack of a file handle.
pub(crate) fn sync_names(fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
    fs.sync_directory(path).map_err(|error| if is_transient(&error) { error } else { final_error(&error) })
}

/// Reads a whole small file, or `None` when there is none.
///
/// # Errors
/// The system's; `InvalidData` when the file is longer than `length_max`.
pub fn read_file(fs: &dyn FileSystem, path: &Path, length_max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match fs.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
    if length > length_max {
        let message = format!("{} has {length} bytes, more than the {length_max} that it can have", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Some(read_bytes(file.as_ref(), length, 0, Wait::Allowed)?))
}

/// Replaces a small file durably: written beside, synced, renamed, directory synced.
///
/// # Errors
/// The system's; the file is then as it was, or whole as it should be. One of a sync is never [`is_full`].
pub fn replace_file(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("a file without a directory"))?;
    let beside = path.with_extension("new");
    let names = fs.open_directory(folder)?;
    let file = fs.create(&beside)?;
    file.set_length(0)?;
    file.write_at(&[IoSlice::new(bytes)], 0)?;
    fs.sync_files(&[file]).map_err(|error| final_error(&error))?;
    fs.rename(&beside, path)?;
    names.sync().map_err(|error| final_error(&error))
}

/// Read at a time: a device does nearly as much with it as with more, and lets a write of the journal in between.
const READ_STEP: usize = 256 << 10;

/// Reads until the buffer is full or the file ends; returns the bytes read.
pub(crate) fn read_exact(file: &dyn File, buffer: &mut [u8], position: u64, wait: Wait) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        let at = position + u64::try_from(done).map_err(io::Error::other)?;
        let step = READ_STEP.min(buffer.len() - done);
        match file.read_at(&mut buffer[done..done + step], at, wait)? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}

/// Reads `length` bytes, or those up to the file's end.
pub(crate) fn read_bytes(file: &dyn File, length: usize, position: u64, wait: Wait) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = position + u64::try_from(bytes.len()).map_err(io::Error::other)?;
        let step = READ_STEP.min(length - bytes.len());
        if file.read_more(&mut bytes, step, at, wait)? == 0 {
            break;
        }
    }
    Ok(bytes)
}
