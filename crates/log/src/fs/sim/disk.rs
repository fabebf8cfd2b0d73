//! The simulated disk's content: what programs see, what is safe, and the changes in between.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use crate::fs::sim::Trouble;

pub(super) const SECTOR: usize = 512;
/// EIO on Linux.
pub(super) const EIO: i32 = 5;
/// EMFILE on Linux.
const EMFILE: i32 = 24;
/// ENOSPC on Linux.
const ENOSPC: i32 = 28;
/// EDQUOT on Linux.
const EDQUOT: i32 = 122;

pub(super) struct Disk {
    /// The root directory is the first.
    pub(super) nodes: Vec<Node>,
    pub(super) calls: u64,
    pub(super) planned: Option<(u64, Trouble)>,
    pub(super) opens: u64,
    pub(super) refused_opens: Range<u64>,
    pub(super) is_off: bool,
    pub(super) is_held: bool,
    pub(super) is_buffered: bool,
    pub(super) waiting: u32,
    pub(super) capacity: Option<u64>,
    /// Whether the capacity is a quota.
    pub(super) is_quota: bool,
    /// Whether nothing is in the page cache.
    pub(super) is_cold: bool,
    /// What the drive writes at once.
    pub(super) physical_sector: usize,
    pub(super) locked: HashSet<PathBuf>,
    pub(super) largest_buffer: usize,
    /// Raised by each restart.
    pub(super) life: u64,
    random: fastrand::Rng,
}

pub(super) enum Node {
    File(FileNode),
    Directory(DirectoryNode),
}

/// A file: `now` is what programs see.
#[derive(Default)]
pub(super) struct FileNode {
    now: Vec<u8>,
    safe: Vec<u8>,
    changes: Vec<Change>,
    pub(super) is_unreadable: bool,
}

enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Length(usize),
}

/// A directory: `now` is what programs see.
#[derive(Default)]
pub(super) struct DirectoryNode {
    now: BTreeMap<String, usize>,
    safe: BTreeMap<String, usize>,
    changes: Vec<NameChange>,
}

enum NameChange {
    Put { name: String, node: usize },
    Remove { name: String },
    Move { from: String, to: String, node: usize },
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { position, bytes } => put(content, *position, bytes),
            Self::Length(length) => content.resize(*length, 0),
        }
    }

    /// What may be left of an unsynced change: all, nothing, or some sectors.
    fn apply_some(&self, content: &mut Vec<u8>, random: &mut fastrand::Rng) {
        match (random.u8(..3), self) {
            (0, _) => {}
            (1, Self::Write { position, bytes }) => {
                let mut at = 0;
                while at < bytes.len() {
                    let sector_end = (position + at) / SECTOR * SECTOR + SECTOR - position;
                    let end = sector_end.min(bytes.len());
                    if random.bool() {
                        put(content, position + at, &bytes[at..end]);
                    }
                    at = end;
                }
            }
            _ => self.apply(content),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Put { name, node } => {
                names.insert(name.clone(), *node);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
            Self::Move { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl FileNode {
    pub(super) fn content(&self) -> &[u8] {
        &self.now
    }

    pub(super) fn set_length(&mut self, length: u64) {
        self.note(Change::Length(to_usize(length)));
    }

    fn note(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.changes.push(change);
    }

    /// A drive that loses power while it writes a physical sector has nothing of that sector, so what was safe beside the write in it is gone.
    fn lose_neighbours(&mut self, position: usize, length: usize, sector: usize) {
        let (start, end) = (position / sector * sector, (position + length).next_multiple_of(sector));
        let safe = self.safe.len();
        for gone in [start..position, position + length..end] {
            self.safe[gone.start.min(safe)..gone.end.min(safe)].fill(0);
        }
    }
}

impl DirectoryNode {
    pub(super) fn names(&self) -> &BTreeMap<String, usize> {
        &self.now
    }

    fn note(&mut self, change: NameChange) {
        change.apply(&mut self.now);
        self.changes.push(change);
    }
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            nodes: vec![Node::Directory(DirectoryNode::default())],
            calls: 0,
            planned: None,
            opens: 0,
            refused_opens: 0..0,
            is_off: false,
            is_held: false,
            is_buffered: false,
            waiting: 0,
            capacity: None,
            is_quota: false,
            is_cold: false,
            physical_sector: SECTOR,
            locked: HashSet::new(),
            largest_buffer: 0,
            life: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    pub(super) fn restart(&mut self) {
        for node in &mut self.nodes {
            match node {
                Node::File(file) => {
                    for change in std::mem::take(&mut file.changes) {
                        change.apply_some(&mut file.safe, &mut self.random);
                    }
                    file.now.clone_from(&file.safe);
                }
                Node::Directory(directory) => {
                    for change in std::mem::take(&mut directory.changes) {
                        if self.random.bool() {
                            change.apply(&mut directory.safe);
                        }
                    }
                    directory.now.clone_from(&directory.safe);
                }
            }
        }
        self.planned = None;
        self.refused_opens = 0..0;
        self.is_off = false;
        self.is_held = false;
        self.locked.clear();
        self.life += 1;
    }

    /// Bytes of all files that have a name.
    pub(super) fn used(&self) -> u64 {
        self.used_below(0)
    }

    fn used_below(&self, node: usize) -> u64 {
        match &self.nodes[node] {
            Node::File(file) => to_u64(file.now.len()),
            Node::Directory(directory) => directory.now.values().map(|below| self.used_below(*below)).sum(),
        }
    }

    fn no_room(&self) -> io::Error {
        io::Error::from_raw_os_error(if self.is_quota { EDQUOT } else { ENOSPC })
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.is_off { Err(power_is_off()) } else { Ok(()) }
    }

    /// Something is opened, unless there is no handle for it.
    pub(super) fn note_open(&mut self) -> io::Result<()> {
        self.check_power()?;
        self.opens += 1;
        if self.refused_opens.contains(&self.opens) { Err(io::Error::from_raw_os_error(EMFILE)) } else { Ok(()) }
    }

    /// Makes a change, unless trouble is planned for it. When the power goes off, the change may still be among what survives.
    pub(super) fn change<T>(&mut self, make: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        self.check_power()?;
        self.calls += 1;
        match self.trouble() {
            None => make(self),
            Some(Trouble::PowerOff) => {
                // also where the call would have failed by itself, for lack of room
                drop(make(self));
                self.is_off = true;
                Err(power_is_off())
            }
            Some(Trouble::InputOutput) => Err(io::Error::from_raw_os_error(EIO)),
        }
    }

    fn trouble(&mut self) -> Option<Trouble> {
        let (_, trouble) = self.planned.take_if(|(call, _)| *call == self.calls)?;
        Some(trouble)
    }

    pub(super) fn write(&mut self, node: usize, position: u64, mut bytes: Vec<u8>) -> io::Result<()> {
        let position = to_usize(position);
        let grows = to_u64((position + bytes.len()).saturating_sub(self.file(node)?.now.len()));
        let room = self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()));
        let is_full = grows > room;
        if is_full {
            bytes.truncate(bytes.len().saturating_sub(to_usize(grows - room)));
        }
        self.change(|disk| {
            disk.file_mut(node)?.note(Change::Write { position, bytes });
            if is_full { Err(disk.no_room()) } else { Ok(()) }
        })
    }

    pub(super) fn allocate(&mut self, node: usize, length: u64) -> io::Result<()> {
        let now = to_u64(self.file(node)?.now.len());
        let room = self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()));
        let is_full = length.saturating_sub(now) > room;
        self.change(|disk| {
            if is_full {
                return Err(disk.no_room());
            }
            disk.file_mut(node)?.set_length(length.max(now));
            Ok(())
        })
    }

    /// A write that is safe when it returns; of one that fails, any sectors may be there.
    pub(super) fn write_durable(&mut self, node: usize, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.check_power()?;
        self.calls += 1;
        let change = Change::Write { position: to_usize(position), bytes: bytes.to_vec() };
        let trouble = self.trouble();
        let Self { nodes, random, physical_sector, .. } = self;
        let Node::File(file) = &mut nodes[node] else { return Err(io::ErrorKind::IsADirectory.into()) };
        match trouble {
            None => {
                change.apply(&mut file.safe);
                change.apply(&mut file.now);
                Ok(())
            }
            Some(Trouble::PowerOff) => {
                file.lose_neighbours(to_usize(position), bytes.len(), *physical_sector);
                file.note(change);
                self.is_off = true;
                Err(power_is_off())
            }
            Some(Trouble::InputOutput) => {
                change.apply_some(&mut file.safe, random);
                file.now.clone_from(&file.safe);
                Err(io::Error::from_raw_os_error(EIO))
            }
        }
    }

    /// Makes a file's content or a directory's names safe.
    pub(super) fn sync(&mut self, node: usize) -> io::Result<()> {
        self.check_power()?;
        self.calls += 1;
        let trouble = self.trouble();
        if trouble == Some(Trouble::PowerOff) {
            self.is_off = true;
            return Err(power_is_off());
        }
        // after a failed sync the system counts the changes as written, though they are not: no later sync makes them safe
        let is_made = trouble.is_none();
        match &mut self.nodes[node] {
            Node::File(file) => {
                let changes = std::mem::take(&mut file.changes);
                changes.iter().filter(|_| is_made).for_each(|change| change.apply(&mut file.safe));
            }
            Node::Directory(directory) => {
                let changes = std::mem::take(&mut directory.changes);
                changes.iter().filter(|_| is_made).for_each(|change| change.apply(&mut directory.safe));
            }
        }
        trouble.map_or(Ok(()), |_| Err(io::Error::from_raw_os_error(EIO)))
    }

    pub(super) fn find(&self, path: &Path) -> Option<usize> {
        let mut node = 0;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let Node::Directory(directory) = &self.nodes[node] else { return None };
            node = *directory.now.get(name.to_str()?)?;
        }
        Some(node)
    }

    pub(super) fn create_directory(&mut self, path: &Path) -> io::Result<()> {
        let missing: Vec<_> = path.ancestors().take_while(|above| self.find(above).is_none()).collect();
        for directory in missing.into_iter().rev() {
            self.change(|disk| disk.add(directory, Node::Directory(DirectoryNode::default())))?;
        }
        Ok(())
    }

    /// Changes a byte where programs see it and where it is safe.
    pub(super) fn flip(&mut self, node: usize, at: usize) {
        if let Node::File(file) = &mut self.nodes[node] {
            file.now[at] ^= 1;
            if let Some(safe) = file.safe.get_mut(at) {
                *safe ^= 1;
            }
        }
    }

    pub(super) fn make_unreadable(&mut self, node: usize) {
        if let Node::File(file) = &mut self.nodes[node] {
            file.is_unreadable = true;
        }
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<usize> {
        self.change(|disk| disk.add(path, Node::File(FileNode::default())))
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let (above, name) = self.place(path)?;
        let id = self.nodes.len();
        self.nodes.push(node);
        self.directory_mut(above)?.note(NameChange::Put { name, node: id });
        Ok(id)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ((above, from_name), (above_to, to_name)) = (self.place(from)?, self.place(to)?);
        if above != above_to {
            return Err(io::Error::other("the simulated disk renames within one directory only"));
        }
        let node = self.find(from).ok_or(io::ErrorKind::NotFound)?;
        self.change(|disk| {
            disk.directory_mut(above)?.note(NameChange::Move { from: from_name, to: to_name, node });
            Ok(())
        })
    }

    /// Removes a name; what had it stays for who has it open, and its bytes are free.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.check_power()?;
        if self.find(path).is_none() {
            return Ok(());
        }
        let (above, name) = self.place(path)?;
        self.change(|disk| {
            disk.directory_mut(above)?.note(NameChange::Remove { name });
            Ok(())
        })
    }

    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let above = path.parent().and_then(|above| self.find(above)).ok_or(io::ErrorKind::NotFound)?;
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok((above, name.to_owned()))
    }

    pub(super) fn file(&self, node: usize) -> io::Result<&FileNode> {
        match &self.nodes[node] {
            Node::File(file) => Ok(file),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn file_mut(&mut self, node: usize) -> io::Result<&mut FileNode> {
        match &mut self.nodes[node] {
            Node::File(file) => Ok(file),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn directory(&self, node: usize) -> io::Result<&DirectoryNode> {
        match &self.nodes[node] {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn directory_mut(&mut self, node: usize) -> io::Result<&mut DirectoryNode> {
        match &mut self.nodes[node] {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }
}

pub(super) fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

fn put(content: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    let end = position + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[position..end].copy_from_slice(bytes);
}

pub(super) fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
