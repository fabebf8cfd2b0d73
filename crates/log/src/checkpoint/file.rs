//! The checkpoint on disk: two files that take turns, each a base and deltas behind it.
//!
//! ```text
//! record: length 4 | checksum 4 | generation 8 | index 4 | journal id 16 (in the base only) | items
//! ```
//!
//! Invariant: the file in use is never overwritten. A new base goes to the other file, with a higher generation, once the deltas outgrow the old
//! one; a delta goes behind the last record. A record counts only with its file's generation and the next index, so what an older generation left
//! behind does not. A delta that was torn is as if it had not been written: the journal still has what it says.
//!
//! All writes go into space that was allocated before, so that a full volume can still be emptied.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::codec::{crc, put_item, take_item};
use crate::checkpoint::{Checkpoint, Item};
use crate::fs::{File, FileSystem, Wait, final_error, is_full, is_transient, read_bytes};
use crate::journal::entry::LogNumber;
use crate::scan::to_u64;
use kennet_protocol::ProducerId;

/// The two files' names.
pub(crate) const FILES: [&str; 2] = ["checkpoint.0", "checkpoint.1"];
const HEAD_BYTES: usize = 20;
/// Space that a file has from the beginning: enough for some hundred logs and as many deltas.
const ALLOCATED_MIN: u64 = 64 << 10;

/// What was found.
pub(crate) enum Loaded {
    /// There is none: the directory is new.
    None,
    /// Neither file has a base that is intact.
    Damaged,
    Found(Box<(Checkpoint, CheckpointFile)>),
}

/// The file in use.
pub(crate) struct CheckpointFile {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
    which: usize,
    file: Arc<dyn File>,
    generation: u64,
    /// Index of the next record.
    index: u32,
    /// Where the next record goes.
    end: u64,
    base_bytes: u64,
    allocated: u64,
    /// Whether a new base goes to the other file; it does, outside of tests.
    takes_turns: bool,
}

/// Reads the newest checkpoint.
///
/// # Errors
/// The system's.
pub(crate) fn load(fs: &Arc<dyn FileSystem>, root: &Path) -> io::Result<Loaded> {
    let mut newest: Option<(Checkpoint, CheckpointFile)> = None;
    let mut any = false;
    for (which, name) in FILES.iter().enumerate() {
        let file = match fs.open_to_write(&root.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        any = true;
        let Some((checkpoint, found)) = read(fs, root, which, &file)? else { continue };
        if newest.as_ref().is_none_or(|(_, other)| other.generation < found.generation) {
            newest = Some((checkpoint, found));
        }
    }
    Ok(match newest {
        Some(found) => Loaded::Found(Box::new(found)),
        None if any => Loaded::Damaged,
        None => Loaded::None,
    })
}

impl CheckpointFile {
    /// Writes the first checkpoint of a data directory.
    pub(crate) fn create(fs: Arc<dyn FileSystem>, root: &Path, checkpoint: &Checkpoint) -> io::Result<Self> {
        let base = record(1, 0, Some(checkpoint.journal_id), checkpoint.items());
        // the other file has its space before anything can fill the volume
        fs.create(&root.join(FILES[1]))?.allocate(ALLOCATED_MIN)?;
        Self::write_base(fs, root, 0, 1, &base)
    }

    /// With or without the rule that the two files take turns.
    pub(crate) fn set_takes_turns(&mut self, takes_turns: bool) {
        self.takes_turns = takes_turns;
    }

    /// Makes items durable. `is_remembered` says which producers a new base keeps.
    pub(crate) fn append(
        &mut self,
        items: &[Item],
        is_remembered: impl Fn(LogNumber, ProducerId) -> bool,
    ) -> io::Result<()> {
        let delta = record(self.generation, self.index, None, items.iter().cloned());
        let end = self.end + to_u64(delta.len());
        let fits = end <= self.allocated;
        if !fits || end - self.base_bytes > self.base_bytes.max(ALLOCATED_MIN / 2) {
            match self.rebase(items, is_remembered) {
                // a new base can wait for room or a file handle as long as there is place for deltas
                Err(error) if (is_full(&error) || is_transient(&error)) && fits => {}
                other => return other,
            }
        }
        self.file.write_at(&[IoSlice::new(&delta)], self.end)?;
        self.fs.sync_files(&[Arc::clone(&self.file)]).map_err(|error| final_error(&error))?;
        self.end = end;
        self.index += 1;
        Ok(())
    }

    fn rebase(&mut self, items: &[Item], is_remembered: impl Fn(LogNumber, ProducerId) -> bool) -> io::Result<()> {
        let missing = || io::Error::other(format!("{} can't be read back", FILES[self.which]));
        let (mut checkpoint, found) = read(&self.fs, &self.root, self.which, &self.file)?.ok_or_else(missing)?;
        if found.index != self.index {
            return Err(missing());
        }
        items.iter().cloned().for_each(|item| checkpoint.apply(item));
        checkpoint.retain_producers(is_remembered);
        let generation = self.generation + 1;
        let base = record(generation, 0, Some(checkpoint.journal_id), checkpoint.items());
        let (which, takes_turns) = (if self.takes_turns { 1 - self.which } else { self.which }, self.takes_turns);
        let written = Self::write_base(Arc::clone(&self.fs), &self.root, which, generation, &base)?;
        *self = Self { takes_turns, ..written };
        Ok(())
    }

    fn write_base(
        fs: Arc<dyn FileSystem>,
        root: &Path,
        which: usize,
        generation: u64,
        base: &[u8],
    ) -> io::Result<Self> {
        let base_bytes = to_u64(base.len());
        // all is open before anything is written: a base that is there and does not count would hide the deltas that go to the other file
        let names = fs.open_directory(root)?;
        let file = fs.create(&root.join(FILES[which]))?;
        let allocated = file.length()?.max(ALLOCATED_MIN).max(4 * base_bytes);
        file.allocate(allocated)?;
        file.write_at(&[IoSlice::new(base)], 0)?;
        fs.sync_files(&[Arc::clone(&file)]).map_err(|error| final_error(&error))?;
        names.sync().map_err(|error| final_error(&error))?;
        let root = root.to_owned();
        let (end, takes_turns) = (base_bytes, true);
        Ok(Self { fs, root, which, file, generation, index: 1, end, base_bytes, allocated, takes_turns })
    }
}

/// A file's records; `None` when its base is not intact.
fn read(
    fs: &Arc<dyn FileSystem>,
    root: &Path,
    which: usize,
    file: &Arc<dyn File>,
) -> io::Result<Option<(Checkpoint, CheckpointFile)>> {
    let allocated = file.length()?;
    let length = usize::try_from(allocated).map_err(io::Error::other)?;
    let bytes = read_bytes(file.as_ref(), length, 0, Wait::Allowed)?;
    let Some((generation, body, base_length)) = take_record(&bytes, None, 0) else { return Ok(None) };
    let Some((journal_id, mut rest)) = body.split_first_chunk::<16>() else { return Ok(None) };
    let mut checkpoint = Checkpoint::new(u128::from_be_bytes(*journal_id));
    let Some(items) = take_items(&mut rest) else { return Ok(None) };
    items.into_iter().for_each(|item| checkpoint.apply(item));
    let (mut end, mut index) = (base_length, 1);
    while let Some((_, mut body, length)) = take_record(&bytes[end..], Some(generation), index) {
        let Some(items) = take_items(&mut body) else { break };
        items.into_iter().for_each(|item| checkpoint.apply(item));
        end += length;
        index += 1;
    }
    let found = CheckpointFile {
        fs: Arc::clone(fs),
        root: root.to_owned(),
        which,
        file: Arc::clone(file),
        generation,
        index,
        end: to_u64(end),
        base_bytes: to_u64(base_length),
        allocated,
        takes_turns: true,
    };
    Ok(Some((checkpoint, found)))
}

fn take_items(rest: &mut &[u8]) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    while !rest.is_empty() {
        items.push(take_item(rest)?);
    }
    Some(items)
}

fn record(generation: u64, index: u32, journal_id: Option<u128>, items: impl Iterator<Item = Item>) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes.extend_from_slice(&generation.to_be_bytes());
    bytes.extend_from_slice(&index.to_be_bytes());
    if let Some(journal_id) = journal_id {
        bytes.extend_from_slice(&journal_id.to_be_bytes());
    }
    items.for_each(|item| put_item(&mut bytes, &item));
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    let checksum = crc(&bytes[8..]);
    bytes[4..8].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The record at the front: its generation, what follows its head, and its length.
fn take_record(bytes: &[u8], generation: Option<u64>, index: u32) -> Option<(u64, &[u8], usize)> {
    let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let length = usize::try_from(word(0)).ok()?;
    let whole = bytes.get(..length).filter(|whole| whole.len() >= HEAD_BYTES)?;
    let found = u64::from(word(8)) << 32 | u64::from(word(12));
    let fits = generation.is_none_or(|expected| expected == found) && word(16) == index;
    (fits && crc(&whole[8..]) == word(4)).then_some((found, &whole[HEAD_BYTES..], length))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::{CheckpointFile, FILES, Loaded, load};
    use crate::checkpoint::{Checkpoint, Item};
    use crate::fs::FileSystem;
    use crate::fs::sim::{SimulatedDisk, Trouble};
    use crate::journal::entry::LogNumber;

    const ROOT: &str = "/data";

    fn disk() -> SimulatedDisk {
        let disk = SimulatedDisk::new(5);
        disk.create_directory(Path::new(ROOT)).unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        disk
    }

    fn open(disk: &SimulatedDisk) -> (Checkpoint, CheckpointFile) {
        let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
        match load(&fs, Path::new(ROOT)).unwrap() {
            Loaded::Found(found) => *found,
            Loaded::None => {
                let checkpoint = Checkpoint::new(7);
                let file = CheckpointFile::create(fs, Path::new(ROOT), &checkpoint).unwrap();
                (checkpoint, file)
            }
            Loaded::Damaged => panic!("damaged"),
        }
    }

    /// Each delta counts, over bases and power cuts at every call.
    #[test]
    fn a_delta_is_there_or_was_never_durable() {
        let filler = |count: u64| (0..300).map(move |_| Item::Removed(LogNumber(count)));
        let mut cut = 1;
        loop {
            let disk = disk();
            drop(open(&disk));
            let first = disk.calls();
            disk.plan(first + cut, Trouble::PowerOff);
            let (_, mut file) = open(&disk);
            let mut durable = 0;
            for count in 1..60 {
                let items: Vec<_> = filler(count).chain([Item::Opened(count)]).collect();
                if file.append(&items, |_, _| true).is_err() {
                    break;
                }
                durable = count;
            }
            let was_cut = disk.is_off();
            disk.restart();
            let (found, _) = open(&disk);
            assert!((durable..=durable + 1).contains(&found.open_count), "cut {cut}: {durable}, {}", found.open_count);
            if !was_cut {
                assert!(file.generation > 2, "there were new bases");
                break;
            }
            cut += 1;
        }
    }

    #[test]
    fn a_damaged_base_is_told() {
        let disk = disk();
        drop(open(&disk));
        disk.flip(&Path::new(ROOT).join(FILES[0]), 9);
        let fs: Arc<dyn FileSystem> = Arc::new(disk);
        assert!(matches!(load(&fs, Path::new(ROOT)).unwrap(), Loaded::Damaged));
    }
}
