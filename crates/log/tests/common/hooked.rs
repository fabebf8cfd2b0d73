//! A simulated disk on which a test looks at each call first, and may let it fail with any error.
#![allow(dead_code, clippy::unwrap_used, reason = "tests")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kennet_log::fs::sim::SimulatedDisk;
use kennet_log::fs::{Directory, Entry, File, FileSystem, Space};

pub(crate) fn disk() -> SimulatedDisk {
    disk_of(1)
}

pub(crate) fn disk_of(seed: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    disk.create_directory(Path::new("/data")).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    disk
}

pub(crate) type Hook = Box<dyn FnMut(&str, &Path) -> io::Result<()> + Send>;
#[derive(Clone)]
pub(crate) struct Hooked(pub(crate) SimulatedDisk, pub(crate) Arc<Mutex<Option<Hook>>>);
impl Hooked {
    /// Calls this from now on before each call that opens, makes, renames, removes or syncs.
    pub(crate) fn hook(&self, hook: impl FnMut(&str, &Path) -> io::Result<()> + Send + 'static) {
        *self.1.lock().unwrap() = Some(Box::new(hook));
    }

    fn call(&self, what: &str, path: &Path) -> io::Result<()> {
        let taken = self.1.lock().unwrap().take();
        let Some(mut hook) = taken else { return Ok(()) };
        let r = hook(what, path);
        let mut g = self.1.lock().unwrap();
        if g.is_none() {
            *g = Some(hook);
        }
        r
    }
}
impl FileSystem for Hooked {
    fn create_directory(&self, p: &Path) -> io::Result<()> {
        self.0.create_directory(p)
    }
    fn list(&self, p: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(p)
    }
    fn open(&self, p: &Path) -> io::Result<Arc<dyn File>> {
        self.call("open", p)?;
        self.0.open(p)
    }
    fn open_to_write(&self, p: &Path) -> io::Result<Arc<dyn File>> {
        self.call("open", p)?;
        self.0.open_to_write(p)
    }
    fn create(&self, p: &Path) -> io::Result<Arc<dyn File>> {
        self.call("create", p)?;
        self.0.create(p)
    }
    fn open_durable(&self, p: &Path) -> io::Result<Arc<dyn File>> {
        self.0.open_durable(p)
    }
    fn open_directory(&self, p: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(HookedDirectory(self.clone(), p.to_owned(), self.0.open_directory(p)?)))
    }
    fn alignment(&self) -> usize {
        self.0.alignment()
    }
    fn rename(&self, a: &Path, b: &Path) -> io::Result<()> {
        self.call("rename", a)?;
        self.0.rename(a, b)
    }
    fn remove_file(&self, p: &Path) -> io::Result<()> {
        self.call("remove", p)?;
        self.0.remove_file(p)?;
        // so that it is gone, which a power cut leaves to chance otherwise
        self.0.sync_directory(p.parent().unwrap())
    }
    /// One by one, as a real file system does it.
    fn remove_directory(&self, p: &Path) -> io::Result<()> {
        for entry in self.0.list(p)? {
            let below = p.join(&entry.name);
            match entry.is_directory {
                true => self.remove_directory(&below)?,
                false => self.remove_file(&below)?,
            }
        }
        self.0.remove_directory(p)?;
        self.0.sync_directory(p.parent().unwrap())
    }
    fn sync_files(&self, f: &[Arc<dyn File>]) -> io::Result<()> {
        self.call("sync", Path::new(""))?;
        self.0.sync_files(f)
    }
    fn lock(&self, p: &Path) -> io::Result<Box<dyn Send + Sync>> {
        FileSystem::lock(&self.0, p)
    }
    fn oldest_write(&self) -> Duration {
        self.0.oldest_write()
    }
    fn space(&self, p: &Path) -> io::Result<Space> {
        self.0.space(p)
    }
}
struct HookedDirectory(Hooked, PathBuf, Arc<dyn Directory>);
impl Directory for HookedDirectory {
    fn sync(&self) -> io::Result<()> {
        self.0.call("syncdir", &self.1)?;
        self.2.sync()
    }
}
pub(crate) fn hooked() -> Hooked {
    Hooked(disk(), Arc::new(Mutex::new(None)))
}
