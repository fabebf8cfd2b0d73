//! A disk in memory that loses all that a real one may lose.
//!
//! After a power cut a file has what was synced and, of everything later, any subset: whole calls, or single sectors of 512 bytes of
//! a write. A directory has its synced names and any subset of later changes. A call that fails as planned may have done part of its
//! work, and a failed sync forgets what it should have saved, as Linux does. Everything follows from the seed and the order of calls.

mod disk;

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use disk::{Disk, Node};

use crate::fs::{Directory, Entry, File, FileSystem, Space, Wait};

/// What happens at a planned call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The power fails: this call and all later ones fail, and what is unsynced is in danger.
    PowerOff,
    /// This one call fails with EIO.
    InputOutput,
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Inner>);

struct Inner {
    disk: Mutex<Disk>,
    gate: Condvar,
    meanwhile: Mutex<Option<Meanwhile>>,
}

/// What other threads would do between the calls of one that is under way.
type Meanwhile = Box<dyn FnMut() + Send>;

impl SimulatedDisk {
    /// An empty disk; `seed` decides what survives power cuts.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Inner { disk: Mutex::new(Disk::new(seed)), gate: Condvar::new(), meanwhile: Mutex::default() }))
    }

    /// Calls so far that change something or sync it.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Plans trouble for the changing call with this number; the first call of a disk is 1.
    pub fn plan(&self, call: u64, trouble: Trouble) {
        self.lock().planned = Some((call, trouble));
    }

    /// Opens so far, of files and of directories.
    #[must_use]
    pub fn opens(&self) -> u64 {
        self.lock().opens
    }

    /// Lets the opens with these numbers fail with EMFILE; the first open of a disk is 1.
    pub fn refuse_opens(&self, opens: Range<u64>) {
        self.lock().refused_opens = opens;
    }

    /// Cuts the power now: all calls fail until `restart`.
    pub fn power_off(&self) {
        self.lock().is_off = true;
    }

    /// Cuts the power now, if the plan has not, and turns it on again: only what a real disk guarantees is left, and perhaps more.
    pub fn restart(&self) {
        self.lock().restart();
        self.0.gate.notify_all();
    }

    /// Gives the disk this many bytes for file contents, or any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        let mut disk = self.lock();
        (disk.capacity, disk.is_quota) = (bytes, false);
    }

    /// As [`Self::set_capacity`], as a user's quota: what is too much fails with EDQUOT, and the volume says that it has room.
    pub fn set_quota(&self, bytes: Option<u64>) {
        let mut disk = self.lock();
        (disk.capacity, disk.is_quota) = (bytes, true);
    }

    /// Lets reads that may not wait fail from now on, as if nothing were in the page cache, or answers them again.
    pub fn set_cold(&self, is_cold: bool) {
        self.lock().is_cold = is_cold;
    }

    /// The drive writes so many bytes at once from now on, a multiple of 512: a power cut in the middle of a durable write takes what else is in them.
    pub fn set_physical_sector(&self, bytes: usize) {
        self.lock().physical_sector = bytes;
    }

    /// Lets durable writes be buffered ones from now on.
    pub fn refuse_direct_writes(&self) {
        self.lock().is_buffered = true;
    }

    /// Bytes that files have.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Changes a byte of a file behind everybody's back, as a bad disk does.
    ///
    /// # Panics
    /// When there is no such byte.
    pub fn flip(&self, path: &Path, at: usize) {
        let mut disk = self.lock();
        let node = disk.find(path).unwrap_or_else(|| panic!("no file {}", path.display()));
        disk.flip(node, at);
    }

    /// Lets each read of a file fail with EIO from now on.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn make_unreadable(&self, path: &Path) {
        let mut disk = self.lock();
        let node = disk.find(path).unwrap_or_else(|| panic!("no file {}", path.display()));
        disk.make_unreadable(node);
    }

    /// The largest buffer that was given to a read, in bytes.
    #[must_use]
    pub fn largest_buffer(&self) -> usize {
        self.lock().largest_buffer
    }

    /// Whether the power went off as planned.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// Lets changing calls wait until `release`.
    pub fn hold(&self) {
        self.lock().is_held = true;
    }

    /// Waits until a changing call is held.
    pub fn wait_until_somebody_waits(&self) {
        let mut disk = self.lock();
        while disk.waiting == 0 {
            disk = self.0.gate.wait(disk).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets all go on.
    pub fn release(&self) {
        self.lock().is_held = false;
        self.0.gate.notify_all();
    }

    /// Calls this from now on before each call that changes, syncs or opens something, but not for calls that it makes itself. So a test without threads
    /// does what other threads would do meanwhile, and a seed stays a run.
    pub fn set_meanwhile(&self, meanwhile: Box<dyn FnMut() + Send>) {
        *self.meanwhile() = Some(meanwhile);
    }

    /// Calls it no more.
    pub fn end_meanwhile(&self) {
        *self.meanwhile() = None;
    }

    fn meanwhile(&self) -> MutexGuard<'_, Option<Meanwhile>> {
        self.0.meanwhile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under no lock, since what is called uses the disk.
    fn run_meanwhile(&self) {
        let taken = self.meanwhile().take();
        if let Some(mut run) = taken {
            run();
            *self.meanwhile() = Some(run);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_to_open(&self) -> MutexGuard<'_, Disk> {
        self.run_meanwhile();
        self.lock()
    }

    /// The disk for a changing call, once nobody holds it.
    fn lock_to_change(&self) -> MutexGuard<'_, Disk> {
        self.run_meanwhile();
        let mut disk = self.lock();
        disk.waiting += 1;
        while disk.is_held {
            self.0.gate.notify_all();
            disk = self.0.gate.wait(disk).unwrap_or_else(PoisonError::into_inner);
        }
        disk.waiting -= 1;
        disk
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    node: usize,
    /// A handle from before a restart is a dead process's.
    life: u64,
}

impl SimulatedFile {
    fn check(&self, disk: &Disk) -> io::Result<()> {
        if disk.life == self.life { disk.check_power() } else { Err(disk::power_is_off()) }
    }
}

impl File for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64, wait: Wait) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        self.check(&disk)?;
        if disk.is_cold && wait == Wait::Refused {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        disk.largest_buffer = disk.largest_buffer.max(buffer.len());
        let file = disk.file(self.node)?;
        if file.is_unreadable {
            return Err(io::Error::from_raw_os_error(disk::EIO));
        }
        let content = file.content();
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(content.len());
        let read = buffer.len().min(content.len() - start);
        buffer[..read].copy_from_slice(&content[start..start + read]);
        Ok(read)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut disk = self.disk.lock_to_change();
        self.check(&disk)?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        disk.write(self.node, position, bytes)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk.lock_to_change();
        self.check(&disk)?;
        disk.change(|disk| {
            disk.file_mut(self.node)?.set_length(length);
            Ok(())
        })
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk.lock_to_change();
        self.check(&disk)?;
        disk.allocate(self.node, length)
    }

    fn write_durable(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut disk = self.disk.lock_to_change();
        self.check(&disk)?;
        disk.write_durable(self.node, position, bytes)
    }

    fn is_buffered(&self) -> bool {
        self.disk.lock().is_buffered
    }

    fn length(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        self.check(&disk)?;
        Ok(disk::to_u64(disk.file(self.node)?.content().len()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock_to_change();
        self.check(&disk)?;
        disk.sync(self.node)
    }
}

/// Its names, which `sync` makes safe as it does a file's content.
struct SimulatedDirectory(SimulatedFile);

impl Directory for SimulatedDirectory {
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

impl SimulatedDisk {
    fn file_of(&self, disk: &Disk, node: usize) -> Arc<dyn File> {
        Arc::new(SimulatedFile { disk: self.clone(), node, life: disk.life })
    }
}

impl FileSystem for SimulatedDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock_to_change();
        disk.create_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut disk = self.lock_to_open();
        disk.note_open()?;
        let Some(node) = disk.find(path) else { return Ok(Vec::new()) };
        let entry = |(name, node): (&String, &usize)| match &disk.nodes[*node] {
            Node::File(file) => {
                Entry { name: name.clone(), is_directory: false, length: disk::to_u64(file.content().len()) }
            }
            Node::Directory(_) => Entry { name: name.clone(), is_directory: true, length: 0 },
        };
        Ok(disk.directory(node)?.names().iter().map(entry).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.lock_to_open();
        disk.note_open()?;
        let node = disk.find(path).ok_or(io::ErrorKind::NotFound)?;
        disk.file(node)?;
        Ok(self.file_of(&disk, node))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.lock_to_change();
        disk.note_open()?;
        let node = match disk.find(path) {
            Some(node) => node,
            None => disk.create_file(path)?,
        };
        disk.file(node)?;
        Ok(self.file_of(&disk, node))
    }

    fn open_durable(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path)
    }

    fn open_directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        let mut disk = self.lock_to_open();
        disk.note_open()?;
        let node = disk.find(path).ok_or(io::ErrorKind::NotFound)?;
        disk.directory(node)?;
        Ok(Arc::new(SimulatedDirectory(SimulatedFile { disk: self.clone(), node, life: disk.life })))
    }

    fn alignment(&self) -> usize {
        Self::lock(self).physical_sector
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lock_to_change().rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.lock_to_change().remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.lock_to_change().remove(path)
    }

    fn sync_files(&self, files: &[Arc<dyn File>]) -> io::Result<()> {
        files.iter().try_for_each(|file| file.sync())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut disk = Self::lock(self);
        disk.check_power()?;
        if !disk.locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Locked { disk: self.clone(), path: path.to_owned(), life: disk.life }))
    }

    fn oldest_write(&self) -> Duration {
        // it has no clock
        Duration::ZERO
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let disk = Self::lock(self);
        disk.check_power()?;
        let total = disk.capacity.filter(|_| !disk.is_quota).unwrap_or(1 << 40);
        Ok(Space { available: total.saturating_sub(disk.used()), total })
    }
}

struct Locked {
    disk: SimulatedDisk,
    path: PathBuf,
    life: u64,
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        if disk.life == self.life {
            disk.locked.remove(&self.path);
        }
    }
}
