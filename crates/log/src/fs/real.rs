//! The operating system's files.
//!
//! Few dirty files are synced one by one, many by one `syncfs` where it can be trusted, which costs a twentieth of 200 `fdatasync` calls.

use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::{Advice, FallocateFlags, FlockOperation, OFlags, fadvise, flock, syncfs};
use rustix::io::{Errno, ReadWriteFlags};

use crate::fs::read_more::read_more;
use crate::fs::unfinished::Unfinished;
use crate::fs::volume::syncs_as_a_whole;
use crate::fs::{Directory, Entry, File, FileSystem, Space, Wait, final_error};

/// From this many files on, one `syncfs` is cheaper than an `fdatasync` for each.
const SYNCFS_FROM: usize = 8;
/// Parts that one `pwritev` takes (IOV_MAX on Linux).
const PARTS_MAX: usize = 1024;
/// Of direct writes: the largest physical sector that is sold, and not the logical block of mostly 512 bytes that `statx` tells. A write of less than a
/// physical sector makes the device read, change and write the whole sector, and a power cut in the middle of that may take blocks along that were
/// durable already; how large those sectors are is told neither by `statx` nor for every device. One that asks for more than this gets
/// buffered writes with a sync each.
const ALIGNMENT: usize = 4096;
/// Data belongs to the broker alone.
const FILE_MODE: u32 = 0o640;

/// Files below one directory of the operating system.
#[derive(Debug, Clone)]
pub struct RealFileSystem {
    root: PathBuf,
    /// Open from the first use on: a handle sees write-back errors since it was opened, and each only once.
    volume: Arc<OnceLock<fs::File>>,
    /// Whether one sync may stand for those of many files.
    syncs_as_a_whole: Arc<OnceLock<bool>>,
    unfinished: Arc<Unfinished>,
    /// Whether direct writes are not even tried.
    is_buffered: bool,
}

impl RealFileSystem {
    /// All paths given later lie on the volume of `root`, which `sync_files` may sync as a whole.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            volume: Arc::default(),
            syncs_as_a_whole: Arc::default(),
            unfinished: Arc::default(),
            is_buffered: false,
        }
    }

    /// As on a file system that refuses O_DIRECT and whose `syncfs` is not to be trusted.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub fn buffered(root: impl Into<PathBuf>) -> Self {
        Self { is_buffered: true, syncs_as_a_whole: Arc::new(false.into()), ..Self::new(root) }
    }
}

impl RealFileSystem {
    fn volume(&self) -> io::Result<&fs::File> {
        if let Some(volume) = self.volume.get() {
            return Ok(volume);
        }
        let opened = fs::File::open(&self.root)?;
        Ok(self.volume.get_or_init(|| opened))
    }

    fn syncs_as_a_whole(&self) -> io::Result<bool> {
        if let Some(known) = self.syncs_as_a_whole.get() {
            return Ok(*known);
        }
        let kind = rustix::fs::fstatfs(self.volume()?).map_err(io::Error::from)?.f_type;
        // where that is not told, each file is synced
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(*self.syncs_as_a_whole.get_or_init(|| syncs_as_a_whole(&release, kind)))
    }

    fn file(&self, file: fs::File) -> RealFile {
        RealFile(file, Arc::clone(&self.unfinished))
    }
}

struct RealFile(fs::File, Arc<Unfinished>);

struct RealDirectory(fs::File, Arc<Unfinished>);

/// A file whose writes are durable when they return.
struct DurableFile {
    file: RealFile,
    path: PathBuf,
    /// Set when the system does not do that itself (O_DIRECT with O_DSYNC): each write is followed by a sync then.
    buffered: OnceLock<RealFile>,
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64, wait: Wait) -> io::Result<usize> {
        if wait == Wait::Allowed {
            return FileExt::read_at(&self.0, buffer, position);
        }
        let parts = &mut [io::IoSliceMut::new(buffer)];
        match rustix::io::preadv2(&self.0, parts, position, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read),
            // a file system that can't tell is asked the ordinary way by somebody who may wait
            Err(Errno::OPNOTSUPP | Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn read_more(&self, bytes: &mut Vec<u8>, length: usize, position: u64, wait: Wait) -> io::Result<usize> {
        match read_more(&self.0, bytes, length, position, wait) {
            // as above
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) && wait == Wait::Refused => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            other => other,
        }
    }

    fn read_nothing_ahead(&self) {
        // advice: a system that does not take it reads as it likes
        let _ = fadvise(&self.0, 0, None, Advice::Random);
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let _taking = self.1.begin();
        let mut position = position;
        for parts in parts.chunks(PARTS_MAX) {
            position += write_parts(&self.0, parts, position)?;
        }
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let _taking = self.1.begin();
        self.0.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let _taking = self.1.begin();
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            // a file system that can't reserve gets the length only; a full volume shows later then
            Err(Errno::OPNOTSUPP) => self.0.set_len(length.max(self.length()?)),
            other => other.map_err(io::Error::from),
        }
    }

    fn write_durable(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let _taking = self.1.begin();
        self.0.write_all_at(bytes, position)?;
        // a volume that turns out to be full only now has dropped what was written
        self.0.sync_data().map_err(|error| final_error(&error))
    }

    fn is_buffered(&self) -> bool {
        true
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        let _taking = self.1.begin();
        self.0.sync_data()
    }
}

impl File for DurableFile {
    fn read_at(&self, buffer: &mut [u8], position: u64, wait: Wait) -> io::Result<usize> {
        self.file.read_at(buffer, position, wait)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.file.write_at(parts, position)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn write_durable(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if let Some(buffered) = self.buffered.get() {
            return buffered.write_durable(bytes, position);
        }
        let taking = self.file.1.begin();
        let written = self.file.0.write_all_at(bytes, position);
        drop(taking);
        match written {
            // a device with larger blocks than ours, or a file system that takes the flag and not the writes
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                let opened = OpenOptions::new().read(true).write(true).open(&self.path)?;
                let buffered = self.buffered.get_or_init(|| RealFile(opened, Arc::clone(&self.file.1)));
                buffered.write_durable(bytes, position)
            }
            other => other,
        }
    }

    fn is_buffered(&self) -> bool {
        self.buffered.get().is_some()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Directory for RealDirectory {
    fn sync(&self) -> io::Result<()> {
        let _taking = self.1.begin();
        self.0.sync_all()
    }
}

/// Writes the parts with as few calls as possible; a short write is continued part by part.
fn write_parts(file: &fs::File, parts: &[IoSlice<'_>], position: u64) -> io::Result<u64> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut skip = loop {
        match rustix::io::pwritev(file, parts, position) {
            Ok(written) => break written,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let mut at = position + u64::try_from(skip).map_err(io::Error::other)?;
    if skip < total {
        for part in parts {
            let rest = &part[skip.min(part.len())..];
            skip = skip.saturating_sub(part.len());
            file.write_all_at(rest, at)?;
            at += u64::try_from(rest.len()).map_err(io::Error::other)?;
        }
    }
    Ok(at - position)
}

impl FileSystem for RealFileSystem {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            // a name that is not UTF-8 is not ours
            let Ok(name) = entry.file_name().into_string() else { continue };
            let data = entry.metadata()?;
            found.push(Entry { name, is_directory: data.is_dir(), length: data.len() });
        }
        Ok(found)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.file(fs::File::open(path)?)))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.file(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        Ok(Arc::new(self.file(file)))
    }

    fn open_durable(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let flags = OFlags::DIRECT | OFlags::DSYNC;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let opened = if self.is_buffered {
            Err(io::ErrorKind::InvalidInput.into())
        } else {
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
        };
        match opened {
            Ok(file) => {
                let file = self.file(file);
                Ok(Arc::new(DurableFile { file, path: path.to_owned(), buffered: OnceLock::new() }))
            }
            // tmpfs before Linux 6.6 and some network file systems
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                let open = || OpenOptions::new().read(true).write(true).open(path).map(|file| self.file(file));
                Ok(Arc::new(DurableFile { file: open()?, path: path.to_owned(), buffered: OnceLock::from(open()?) }))
            }
            Err(error) => Err(error),
        }
    }

    fn open_directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(RealDirectory(fs::File::open(path)?, Arc::clone(&self.unfinished))))
    }

    fn alignment(&self) -> usize {
        ALIGNMENT
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        absent_is_fine(fs::remove_file(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        absent_is_fine(fs::remove_dir_all(path))
    }

    fn sync_files(&self, files: &[Arc<dyn File>]) -> io::Result<()> {
        if files.len() >= SYNCFS_FROM && self.syncs_as_a_whole()? {
            let _taking = self.unfinished.begin();
            return syncfs(self.volume()?).map_err(io::Error::from);
        }
        files.iter().try_for_each(|file| file.sync())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from)?;
        self.volume()?;
        Ok(Box::new(file))
    }

    fn oldest_write(&self) -> Duration {
        self.unfinished.oldest()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let volume = rustix::fs::statvfs(path).map_err(io::Error::from)?;
        Ok(Space { available: volume.f_bavail * volume.f_frsize, total: volume.f_blocks * volume.f_frsize })
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};

    use rustix::fs::OFlags;

    use super::RealFileSystem;
    use crate::fs::{FileSystem, Wait};

    /// As a device with larger blocks than ours refuses them. A file system that takes any direct write has nothing to refuse, and then it is not buffered.
    #[test]
    fn a_durable_write_that_is_refused_as_a_direct_one_goes_through_the_page_cache() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let fs = RealFileSystem::new(folder.path());
        fs.create(&path).unwrap().allocate(8_192).unwrap();
        let file = fs.open_durable(&path).unwrap();
        let is_direct = !file.is_buffered();
        let takes_any = is_direct && {
            let direct = i32::try_from(OFlags::DIRECT.bits()).unwrap();
            let direct = OpenOptions::new().write(true).custom_flags(direct).open(&path).unwrap();
            direct.write_at(b"not a whole sector", 3).is_ok()
        };
        file.write_durable(b"not a whole sector", 3).unwrap();
        assert_eq!(file.is_buffered(), !takes_any);
        file.write_durable(&[7; 4_096], 4_096).unwrap();
        let mut bytes = [0; 21];
        let read = fs.open(&path).unwrap().read_at(&mut bytes, 0, Wait::Allowed).unwrap();
        assert_eq!((read, &bytes[3..]), (21, &b"not a whole sector"[..]));
        assert_eq!(fs.open(&path).unwrap().length().unwrap(), 8_192);
        assert!(is_direct || file.is_buffered());
    }
}
