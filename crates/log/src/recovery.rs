//! How a data directory opens: the checkpoint, then the journal behind it.
//!
//! Invariant: nothing is written before the open count is raised and durable, but the slots of a new directory, and nothing at all when the journal or the
//! checkpoint is damaged; the remains of deleted topics, which nothing speaks of any more, go before, and stay in a damaged directory too.
//! No segment is read. What the journal has of logs that were deleted in it is forgotten.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hashbrown::{HashMap, HashSet};
use kennet_protocol::{Offset, Uuid};

use crate::checkpoint::{Checkpoint, CheckpointFile, Compaction, FILES, Item, Loaded, LogCheckpoint, load};
use crate::epochs::LeaderEpochs;
use crate::fs::{FileSystem, is_full, sync_names};
use crate::journal::entry::{Entry, LogNumber};
use crate::journal::ledger::Ledger;
use crate::journal::replay::{Replayed, has_blocks, replay};
use crate::journal::writer::{Writer, make_slot};
use crate::journal::{JournalLimits, slot_number, slot_path, slots_directory};
use crate::layout;
use crate::partition::{LogId, RecoveredLog};
use crate::producers::Producers;
use crate::rules::Rules;
use crate::shared::{Drive, Limits, Parts, Shared, Unsynced};

/// A journal takes this part of its volume.
const JOURNAL_PART: u64 = 20;
/// At least: a batch of Kafka's default maximum has to fit several times.
const JOURNAL_BYTES_MIN: u64 = 8 << 20;
/// At most: more only makes restarts longer.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;
/// So many slots make a journal: with few, much is emptied at once, and a start waits for the first one to be made.
const SLOTS: u64 = 32;
/// Above this, what a write costs no longer depends on its size.
const BLOCK_BYTES_MAX: usize = 2 << 20;

/// Opens what is below `root`; the second part says what is damaged.
pub(crate) fn open(
    fs: Arc<dyn FileSystem>,
    root: &Path,
    limits: Limits,
    rules: Rules,
    drive: Drive,
) -> io::Result<(Arc<Shared>, Option<String>)> {
    let journal = journal_limits(fs.as_ref(), root, limits, rules)?;
    let (checkpoint, mut file, mut damage) = match load(&fs, root)? {
        Loaded::Found(found) => {
            let forgotten = forgotten_opening(fs.as_ref(), root, &found.0)?;
            (found.0, Some(found.1), forgotten)
        }
        Loaded::None | Loaded::Damaged if is_new(fs.as_ref(), root)? => created(&fs, root)?,
        Loaded::None | Loaded::Damaged => (Checkpoint::new(0), None, Some(damaged_checkpoint(root))),
    };
    let open_count = checkpoint.open_count + 1;
    if let Some(file) = &mut file {
        file.set_takes_turns(rules.checkpoints_take_turns);
        if checkpoint.open_count == 0 && damage.is_none() {
            make_first_slots(fs.as_ref(), root, journal)?;
        }
    }
    let (journal_id, anchor) = (checkpoint.journal_id, checkpoint.anchor);
    let (recovery, replayed) = match &damage {
        None => Recovery::read(fs.as_ref(), root, journal.alignment, checkpoint, rules)?,
        Some(_) => (Recovery::new(HashMap::new(), 1, rules), Replayed::nothing(anchor)),
    };
    let (unsynced, next_number) = (recovery.unsynced(), recovery.next_number);
    let deleted_topics = recovery.topics_without_logs();
    damage = damage.or_else(|| replayed.damage.clone().filter(|_| rules.later_blocks_are_damage)).or(recovery.unknown);
    let Replayed { end, used, mut free, .. } = replayed;
    if damage.is_none() {
        // first, since they may be what fills the volume
        remove_remains(fs.as_ref(), root)?;
        if let Some(file) = file.as_mut().filter(|_| rules.opens_are_counted || open_count == 1) {
            file.append(&[Item::Opened(open_count)], |_, _| true)?;
        }
        free.extend(finish_slots(fs.as_ref(), root, journal, rules)?);
        for topic_id in deleted_topics {
            remove_topic(fs.as_ref(), root, topic_id, rules)?;
        }
    }
    let ledger = Arc::new(Mutex::new(Ledger::new(journal.slot_bytes, used, free, end)));
    let writer = Writer::new(Arc::clone(&fs), root, journal_id, open_count, journal, Arc::clone(&ledger));
    let shared = Shared::new(Parts {
        fs,
        root: root.to_owned(),
        limits,
        journal,
        rules,
        drive,
        checkpoint: file,
        anchor,
        writer,
        ledger,
        next_entry: end.first_entry,
        next_number,
        found: recovery.logs.into_values().map(|log| (log.checkpoint.id.clone(), log)).collect(),
        unsynced,
    });
    Ok((Arc::new(shared), damage))
}

fn journal_limits(fs: &dyn FileSystem, root: &Path, limits: Limits, rules: Rules) -> io::Result<JournalLimits> {
    let alignment = if rules.blocks_have_sectors_of_their_own { fs.alignment() } else { fs.alignment() / 2 };
    let unit = u64::try_from(alignment).map_err(io::Error::other)?;
    let wanted = match limits.journal_bytes_max {
        Some(bytes) => bytes,
        None => (fs.space(root)?.total / JOURNAL_PART).clamp(JOURNAL_BYTES_MIN, JOURNAL_BYTES_MAX),
    };
    // slots that are there keep their size, whatever became of the volume; one that was never finished is shorter
    let slots = fs.list(&slots_directory(root))?;
    let present = slots.iter().filter(|entry| slot_number(&entry.name).is_some()).map(|entry| entry.length).max();
    let present = present.filter(|bytes| *bytes >= 8 * unit).map(|bytes| bytes / unit * unit);
    let slot_bytes = present.unwrap_or((wanted / SLOTS / unit * unit).max(8 * unit));
    let slot = usize::try_from(slot_bytes).map_err(io::Error::other)?;
    Ok(JournalLimits {
        slot_bytes,
        slots_max: usize::try_from(wanted / slot_bytes).map_err(io::Error::other)?.max(2),
        block_bytes_max: BLOCK_BYTES_MAX.min(slot),
        alignment,
    })
}

/// What checkpoint and journal say of all logs, for who only looks; the second part says what is damaged.
pub(crate) fn look(fs: &Arc<dyn FileSystem>, root: &Path) -> io::Result<(Vec<RecoveredLog>, Option<String>)> {
    let checkpoint = match load(fs, root)? {
        Loaded::Found(found) => found.0,
        Loaded::None | Loaded::Damaged if is_new(fs.as_ref(), root)? => return Ok((Vec::new(), None)),
        Loaded::None | Loaded::Damaged => return Ok((Vec::new(), Some(damaged_checkpoint(root)))),
    };
    if checkpoint.open_count == 0 {
        return Ok((Vec::new(), forgotten_opening(fs.as_ref(), root, &checkpoint)?));
    }
    let (recovery, replayed) = Recovery::read(fs.as_ref(), root, fs.alignment(), checkpoint, Rules::default())?;
    Ok((recovery.logs.into_values().collect(), replayed.damage.or(recovery.unknown)))
}

fn damaged_checkpoint(root: &Path) -> String {
    format!("{} is missing or damaged, and so is {}", root.join(FILES[0]).display(), FILES[1])
}

/// What is damaged when the checkpoint knows of no opening, but the journal has blocks: the checkpoint's records behind its base can't be read, and the slots
/// must not be made again.
fn forgotten_opening(fs: &dyn FileSystem, root: &Path, checkpoint: &Checkpoint) -> io::Result<Option<String>> {
    let is_forgotten = checkpoint.open_count == 0 && has_blocks(fs, root, checkpoint.journal_id, fs.alignment())?;
    let problem = || format!("{} is damaged: it is older than the journal", root.join(FILES[0]).display());
    Ok(is_forgotten.then(problem))
}

/// Whether there is no journal yet and no topic: nothing was ever acknowledged.
fn is_new(fs: &dyn FileSystem, root: &Path) -> io::Result<bool> {
    let slots = fs.list(&slots_directory(root))?;
    let topics = fs.list(&layout::topics(root))?;
    let has_slot = slots.iter().any(|entry| slot_number(&entry.name).is_some());
    Ok(!has_slot && !topics.iter().any(|entry| Uuid::parse_str(&entry.name).is_ok()))
}

type Opened = (Checkpoint, Option<CheckpointFile>, Option<String>);

fn created(fs: &Arc<dyn FileSystem>, root: &Path) -> io::Result<Opened> {
    let checkpoint = Checkpoint::new(Uuid::new_v4().as_u128());
    let file = CheckpointFile::create(Arc::clone(fs), root, &checkpoint)?;
    Ok((checkpoint, Some(file), None))
}

/// One is being written, one is for what frees room; the others are made in the background. The second one is only space, so that a start does not
/// wait for it. They are there before the open count is raised for the first time.
fn make_first_slots(fs: &dyn FileSystem, root: &Path, journal: JournalLimits) -> io::Result<()> {
    fs.create_directory(&slots_directory(root))?;
    fs.sync_directory(root)?;
    allocate_slot(fs, root, 1, journal.slot_bytes)?;
    make_slot(fs, root, 0, journal.slot_bytes, true)
}

/// Removes a topic's files: renamed away first, so that a crash leaves either all of them or remains that the next start removes.
pub(crate) fn remove_topic(fs: &dyn FileSystem, root: &Path, topic_id: Uuid, rules: Rules) -> io::Result<()> {
    let (from, to) = (layout::topic(root, topic_id), layout::deleted_topic(root, topic_id));
    if !rules.topics_are_renamed_before_removal {
        return fs.remove_directory(&from);
    }
    match fs.rename(&from, &to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    sync_names(fs, &layout::topics(root))?;
    fs.remove_directory(&to)
}

/// Removes what is left of deleted topics.
fn remove_remains(fs: &dyn FileSystem, root: &Path) -> io::Result<()> {
    let topics = layout::topics(root);
    for topic in fs.list(&topics)? {
        if layout::is_deleted_topic(&topic.name) {
            fs.remove_directory(&topics.join(&topic.name))?;
        }
    }
    Ok(())
}

fn allocate_slot(fs: &dyn FileSystem, root: &Path, slot: u32, bytes: u64) -> io::Result<()> {
    let file = fs.create(&slot_path(root, slot))?;
    file.allocate(bytes)?;
    fs.sync_files(&[file])
}

/// Slots whose making was interrupted get their space now; returns those that have it.
fn finish_slots(fs: &dyn FileSystem, root: &Path, journal: JournalLimits, rules: Rules) -> io::Result<Vec<u32>> {
    let mut finished = Vec::new();
    for entry in fs.list(&slots_directory(root))? {
        if let Some(slot) = slot_number(&entry.name).filter(|_| entry.length < journal.slot_bytes) {
            // what it has stays; without room for it, it is not used
            match allocate_slot(fs, root, slot, journal.slot_bytes) {
                Err(error) if is_full(&error) => {}
                other => {
                    other?;
                    finished.push(slot);
                }
            }
        }
    }
    // a slot is used as soon as it is whole, and its name may have been made just before a kill
    if rules.found_slots_are_durable_before_use {
        sync_names(fs, &slots_directory(root))?;
    }
    Ok(finished)
}

/// Logs while the journal is being read.
struct Recovery {
    logs: HashMap<LogNumber, RecoveredLog>,
    /// Logs with smaller numbers that the checkpoint does not have were deleted.
    known_below: u64,
    /// Never given to a log.
    next_number: u64,
    /// Deletions that no checkpoint has.
    removed: BTreeMap<u64, LogNumber>,
    /// Their topics: a crash may have left the files.
    deleted_topics: HashSet<Uuid>,
    /// An entry whose log nobody knows.
    unknown: Option<String>,
    rules: Rules,
}

impl Recovery {
    fn new(logs: HashMap<LogNumber, LogCheckpoint>, next_number: u64, rules: Rules) -> Self {
        let next_number = match rules.numbers_are_given_once {
            true => next_number,
            false => logs.keys().map(|number| number.0 + 1).max().unwrap_or(1),
        };
        let logs =
            logs.into_iter().map(|(number, checkpoint)| (number, RecoveredLog { checkpoint, entries: Vec::new() }));
        Self {
            logs: logs.collect(),
            known_below: next_number,
            next_number,
            removed: BTreeMap::new(),
            deleted_topics: HashSet::new(),
            unknown: None,
            rules,
        }
    }

    /// Reads the journal behind a checkpoint. Changes nothing.
    fn read(
        fs: &dyn FileSystem,
        root: &Path,
        alignment: usize,
        checkpoint: Checkpoint,
        rules: Rules,
    ) -> io::Result<(Self, Replayed)> {
        let Checkpoint { journal_id, anchor, next_number, logs, .. } = checkpoint;
        let mut recovery = Self::new(logs, next_number, rules);
        let take = |number, entry| recovery.take(number, entry);
        let replayed = replay(fs, root, journal_id, alignment, anchor, rules, take)?;
        Ok((recovery, replayed))
    }

    fn take(&mut self, entry_number: u64, entry: Entry) {
        let number = entry.number();
        self.next_number = self.next_number.max(number.0 + 1);
        if let Entry::Create { id, topic, .. } = &entry {
            let empty = || RecoveredLog { checkpoint: empty(number, id.clone(), topic.clone()), entries: Vec::new() };
            self.logs.entry(number).or_insert_with(empty);
        }
        if let Entry::Delete { .. } = entry {
            self.deleted_topics.extend(self.logs.remove(&number).map(|log| log.checkpoint.id.topic_id));
            self.removed.insert(entry_number, number);
            return;
        }
        match self.logs.get_mut(&number) {
            // what the checkpoint has is in segments; everything later is applied, in order
            Some(log) if entry_number > log.checkpoint.through || !self.rules.applied_entries_are_skipped => {
                log.entries.push((entry_number, entry));
            }
            Some(_) => {}
            None if number.0 < self.known_below || !self.rules.entries_of_no_log_are_damage => {}
            None if self.removed.values().any(|removed| *removed == number) => {}
            None => {
                let unknown =
                    format!("the journal has entry {entry_number} of log {}, which was never created", number.0);
                self.unknown.get_or_insert(unknown);
            }
        }
    }

    /// Topics that were deleted in the journal and have no log any more.
    fn topics_without_logs(&self) -> Vec<Uuid> {
        let has_log = |topic: &&Uuid| self.logs.values().any(|log| log.checkpoint.id.topic_id == **topic);
        self.deleted_topics.iter().filter(|topic| !has_log(topic)).copied().collect()
    }

    fn unsynced(&self) -> BTreeMap<u64, Unsynced> {
        let logs = self.logs.values().filter_map(|log| {
            let (entry, _) = log.entries.first()?;
            Some((*entry, Unsynced::Found(log.checkpoint.id.clone())))
        });
        let removed = self.removed.iter().map(|(entry, number)| (*entry, Unsynced::Removed(*number)));
        logs.chain(removed).collect()
    }
}

fn empty(number: LogNumber, id: LogId, topic: Box<str>) -> LogCheckpoint {
    LogCheckpoint {
        number,
        id,
        topic,
        through: 0,
        log_start: Offset(0),
        next_offset: Offset(0),
        last: None,
        epochs: LeaderEpochs::default(),
        producers: Producers::default(),
        compaction: Compaction::default(),
        is_parked: false,
    }
}

#[cfg(test)]
mod tests {
    use hashbrown::HashMap;
    use kennet_protocol::Offset;

    use super::Recovery;
    use crate::journal::entry::{Entry, LogNumber};
    use crate::rules::Rules;

    /// What the journal then says is wrong, if a checkpoint knew of the numbers below 3 only.
    fn entry_of(number: u64, rules: Rules) -> Option<String> {
        let mut recovery = Recovery::new(HashMap::new(), 3, rules);
        recovery.take(7, Entry::LogStart { number: LogNumber(number), offset: Offset(5) });
        recovery.unknown
    }

    #[test]
    fn entries_of_no_log_are_damage() {
        assert!(entry_of(3, Rules::default()).unwrap().contains("entry 7 of log 3"));
        assert_eq!(entry_of(2, Rules::default()), None, "it was deleted");
    }

    /// No directory can show it: the chain of blocks and the checksums of the checkpoint find what would lose the start of a log before. The rule is there
    /// for a mistake of ours.
    #[test]
    fn without_the_rule_an_entry_of_no_log_is_passed_over() {
        let rules = Rules { entries_of_no_log_are_damage: false, ..Rules::default() };
        assert_eq!(entry_of(3, rules), None);
    }
}
