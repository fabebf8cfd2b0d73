//! Entries of a log whose segments could not be opened: they can't stay in the journal, which others need, and can't go to segments.
//!
//! ```text
//! again and again: length 4 | checksum 4 | journal entry 8 | the entry's bytes
//! ```
//!
//! Invariant: once the checkpoint says that the log is parked, the file has all its entries up to `through`, durably, and a later start applies
//! them before those of the journal. Nothing of the log's segments is changed. The file goes once a durable checkpoint says that they are in segments.

use std::io;
use std::path::Path;

use bytes::Bytes;

use crate::checkpoint::{LogCheckpoint, crc};
use crate::fs::{FileSystem, read_file, replace_file};
use crate::journal::entry::Entry;
use crate::layout;
use crate::partition::fill::{Filled, OpenDirectories, open_directory};
use crate::partition::{PartitionLog, RecoveredLog};
use crate::rules::Rules;

const HEAD_BYTES: usize = 8;

impl PartitionLog {
    /// Writes all entries of a log that could not be opened beside its segments. The writer's lock is held.
    pub(super) fn park(&self, parked: &RecoveredLog, durable: u64) -> io::Result<Option<Filled>> {
        let fs = self.shared.fs();
        let (root, topic_id) = (self.shared.root(), self.id.topic_id);
        fs.create_directory(&self.directory)?;
        let mut directories = OpenDirectories::new();
        for path in [self.directory.clone(), layout::topic(root, topic_id), layout::topics(root)] {
            open_directory(fs, path, &mut directories)?;
        }
        // as a whole: an older checkpoint may speak of the one that is there
        let (path, bytes) = (layout::parked(&self.directory), encode(&parked.entries));
        match self.shared.rules().parked_entries_are_synced {
            true => replace_file(fs, &path, &bytes)?,
            false => fs.create(&path)?.write_at(&[io::IoSlice::new(&bytes)], 0)?,
        }
        let through = parked.entries.last().map_or(parked.checkpoint.through, |(entry, _)| (*entry).min(durable));
        let item = LogCheckpoint { through, is_parked: true, ..parked.checkpoint.clone() };
        Ok(Some(Filled { item, files: Vec::new(), indexes: Vec::new(), directories }))
    }

    /// Removes the file, which no durable checkpoint speaks of any more. When it stays, or comes back after a power cut, the next start removes it.
    pub(super) fn remove_parked(&self) {
        let path = layout::parked(&self.directory);
        if let Err(error) = self.shared.fs().remove_file(&path) {
            self.shared.complain(&path, &error);
        }
    }
}

/// Puts a log's parked entries in front of those of the journal; the log stays as it was when they can't be read.
pub(crate) fn add_entries(fs: &dyn FileSystem, root: &Path, found: &mut RecoveredLog, rules: Rules) -> io::Result<()> {
    if !found.checkpoint.is_parked {
        return Ok(());
    }
    let id = &found.checkpoint.id;
    let path = layout::parked(&layout::partition(root, id.topic_id, id.partition));
    let missing = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{} {what}", path.display()));
    let bytes = read_file(fs, &path, usize::MAX)?.ok_or_else(|| missing("is missing"))?;
    let mut entries = decode(&bytes.into()).ok_or_else(|| missing("is damaged"))?;
    // it ends with the entry that the checkpoint names, or with a newer one
    if entries.last().is_none_or(|(entry, _)| *entry < found.checkpoint.through) {
        return Err(missing("is cut off"));
    }
    // the file may be newer than the checkpoint, and then the journal still has what it added
    entries.retain(|(entry, _)| *entry <= found.checkpoint.through || !rules.parked_entries_come_once);
    entries.append(&mut found.entries);
    found.entries = entries;
    Ok(())
}

fn encode(entries: &[(u64, Entry)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, entry) in entries {
        let encoded = entry.encode();
        let mut body = number.to_be_bytes().to_vec();
        body.resize(8 + encoded.length(), 0);
        encoded.copy(0, &mut body[8..]);
        out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&crc(&body).to_be_bytes());
        out.extend_from_slice(&body);
    }
    out
}

fn decode(bytes: &Bytes) -> Option<Vec<(u64, Entry)>> {
    let mut rest = bytes.clone();
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let head: [u8; HEAD_BYTES] = *rest.first_chunk()?;
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = usize::try_from(word(0)).ok()?;
        if length < 8 || length > rest.len() - HEAD_BYTES {
            return None;
        }
        let body = rest.slice(HEAD_BYTES..HEAD_BYTES + length);
        if crc(&body) != word(4) {
            return None;
        }
        let number = u64::from_be_bytes(*body.first_chunk()?);
        entries.push((number, Entry::decode(&body.slice(8..))?));
        rest = rest.slice(HEAD_BYTES + length..);
    }
    Some(entries)
}
