//! The operating system's files.
//!
//! Few dirty files are synced one by one, many by one `syncfs`, which costs a twentieth of 200 `fdatasync` calls and reports
//! write-back errors since Linux 5.8.

use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock, syncfs};
use rustix::io::{Errno, ReadWriteFlags};

use crate::fs::{Entry, File, FileSystem, Space, Wait};

/// From this many files on, one `syncfs` is cheaper than an `fdatasync` for each.
const SYNCFS_FROM: usize = 8;
/// Parts that one `pwritev` takes (IOV_MAX on Linux).
const PARTS_MAX: usize = 1024;
/// Data belongs to the broker alone.
const FILE_MODE: u32 = 0o640;

/// Files below one directory of the operating system.
#[derive(Debug, Clone)]
pub struct RealFileSystem {
    root: PathBuf,
}

impl RealFileSystem {
    /// All paths given later lie on the volume of `root`, which `sync_files` may sync as a whole.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

struct RealFile(fs::File);

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

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut position = position;
        for parts in parts.chunks(PARTS_MAX) {
            position += write_parts(&self.0, parts, position)?;
        }
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
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
        Ok(Arc::new(RealFile(fs::File::open(path)?)))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        Ok(Arc::new(RealFile(file)))
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
        if files.len() >= SYNCFS_FROM {
            let root = fs::File::open(&self.root)?;
            return syncfs(&root).map_err(io::Error::from);
        }
        files.iter().try_for_each(|file| file.sync())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from)?;
        Ok(Box::new(file))
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
