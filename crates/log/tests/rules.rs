//! Rules that no life by chance needs: for each a scene in which only the rule keeps what it is for. `mutants.rs` plays it without the rule.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kennet_log::fs::sim::{SimulatedDisk, Trouble};
use kennet_log::fs::{FileSystem, Wait, read_file};
use kennet_log::{DataDirectory, DeleteRecordsError, Limits, LogConfig, LogId, OpenError, PartitionLog, Rules};
use kennet_protocol::record::{Batch, BatchBuilder};
use kennet_protocol::{Offset, TimestampMs, Uuid};

use crate::common::hooked::{disk, disk_of, hooked};
use crate::common::{EPOCH, NOW, append, batch_at, changed, log_id, log_of, small_segments, values};

const ROOT: &str = "/data";
/// Blocks of the simulated disk start at multiples of this, and small ones are as long.
const BLOCK: usize = 512;
const SLOTS: u64 = 8;
const SLOT_BYTES: u64 = 4 << 10;

type Life = (DataDirectory, Arc<PartitionLog>);

fn try_open(disk: &SimulatedDisk, rules: Rules) -> Result<Life, OpenError> {
    try_open_on(Arc::new(disk.clone()), rules)
}

fn try_open_on(fs: Arc<dyn FileSystem>, rules: Rules) -> Result<Life, OpenError> {
    // slots of 4 KiB, which have eight small blocks
    let limits = Limits { journal_bytes_max: Some(SLOTS * SLOT_BYTES), ..Limits::default() };
    let directory = DataDirectory::open_manual(fs, Path::new(ROOT), limits, rules)?;
    let log = log_of(&directory, small_segments());
    Ok((directory, log))
}

fn opened(disk: &SimulatedDisk, rules: Rules) -> Life {
    try_open(disk, rules).unwrap()
}

fn cut_power(disk: &SimulatedDisk, life: Life) {
    disk.power_off();
    drop(life);
    disk.restart();
}

/// Appends records, each with a block of its own.
fn append_blocks(life: &Life, values: &[&str]) {
    for value in values {
        append(&life.1, &[value]);
        life.0.flush();
    }
}

fn slot(number: u32) -> PathBuf {
    Path::new(ROOT).join(format!("journal/{number:08}"))
}

fn content(disk: &SimulatedDisk, path: &Path) -> Vec<u8> {
    read_file(disk, path, usize::MAX).unwrap().unwrap()
}

/// Puts a file in the place of what is there, durably.
fn put(disk: &SimulatedDisk, path: &Path, bytes: &[u8]) {
    let file = disk.create(path).unwrap();
    file.set_length(0).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    file.sync().unwrap();
}

/// Two histories go on from one copy of a disk, and a restore puts a slot of the one among those of the other, where its first block has just the
/// sequence that comes next.
pub(crate) fn mixed_copies(rules: Rules) {
    let names = ["checkpoint.0", "checkpoint.1", "journal/00000000", "journal/00000001"];
    let paths = names.map(|name| Path::new(ROOT).join(name));
    let disk = disk();
    let life = opened(&disk, rules);
    append_blocks(&life, &["0", "1", "2"]);
    cut_power(&disk, life);
    let copy = paths.each_ref().map(|path| content(&disk, path));
    let life = opened(&disk, rules);
    append_blocks(&life, &["a", "b", "c", "d", "e", "foreign"]);
    cut_power(&disk, life);
    let foreign = content(&disk, &slot(1));
    assert!(foreign.windows(7).any(|bytes| bytes == b"foreign"), "the ninth block is in the second slot");
    paths.iter().zip(&copy).for_each(|(path, bytes)| put(&disk, path, bytes));
    let life = opened(&disk, rules);
    append_blocks(&life, &["v", "w", "x", "y", "z"]);
    cut_power(&disk, life);
    put(&disk, &slot(1), &foreign);
    let (_directory, log) = opened(&disk, rules);
    assert_eq!(log.unavailable(), None);
    assert_eq!(values(&log, 1_000), ["0", "1", "2", "v", "w", "x", "y", "z"]);
}

fn append_bytes(life: &Life, value: &[u8]) {
    let mut builder = BatchBuilder::new(NOW);
    builder.push(NOW, None, Some(value), &[]);
    life.1.append(&Batch::parse(&builder.build().unwrap()).unwrap(), EPOCH, NOW).unwrap();
    life.0.flush();
}

fn place_of(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|found| found == part).unwrap()
}

/// A client sends what was a block of another directory, so that it lies where a block can start, and the block that has it is torn.
pub(crate) fn block_in_a_record(rules: Rules) {
    let other = disk();
    let life = opened(&other, rules);
    append_blocks(&life, &["0", "1", "2", "3", "4", "5", "6"]);
    cut_power(&other, life);
    // of the seventh block, which is later than all of ours
    let foreign = content(&other, &slot(0))[6 * BLOCK..][..64].to_vec();
    assert!(foreign.starts_with(b"kennetJ1"));
    let disk = disk();
    let life = opened(&disk, rules);
    append_blocks(&life, &["ours"]);
    append_bytes(&life, &foreign);
    let lies_at = place_of(&content(&disk, &slot(0)), &foreign);
    let before = vec![0; BLOCK - lies_at % BLOCK];
    append_bytes(&life, &[before, foreign.clone()].concat());
    cut_power(&disk, life);
    let third = &content(&disk, &slot(0))[2 * BLOCK..];
    assert!(third.starts_with(b"kennetJ1") && place_of(third, &foreign).is_multiple_of(BLOCK));
    disk.flip(&slot(0), 2 * BLOCK + 40);
    let (directory, log) = opened(&disk, rules);
    assert_eq!(directory.failed(), None);
    assert_eq!(log.log_end(), Offset(2), "the torn block is the end");
}

/// The power fails in the middle of an entry, and what the next life writes behind its start has to be told from its rest.
pub(crate) fn unfinished_entry(rules: Rules) {
    let disk = disk();
    cut_power(&disk, opened(&disk, rules));
    let life = opened(&disk, rules);
    append_blocks(&life, &["0", "1"]);
    // longer than what is left of the slot, and so than a block
    life.1.append(&batch_at(&["x".repeat(3_200).as_str()], NOW), EPOCH, NOW).unwrap();
    life.0.step();
    assert_eq!(life.1.durable_end(), Offset(2));
    cut_power(&disk, life);
    let life = opened(&disk, rules);
    append_blocks(&life, &["2", "3", "4"]);
    cut_power(&disk, life);
    let life = opened(&disk, rules);
    // all of the journal is needless now, as far as the numbers of its entries say
    life.0.fill();
    cut_power(&disk, life);
    let (directory, log) = opened(&disk, rules);
    assert_eq!((directory.failed(), log.unavailable()), (None, None));
    assert_eq!(values(&log, 1_000), ["0", "1", "2", "3", "4"]);
}

/// A second process is started in the directory, and writes if it may, before the first one goes on.
pub(crate) fn second_process(rules: Rules) {
    let disk = disk();
    let first = opened(&disk, rules);
    append_blocks(&first, &["0", "1"]);
    let second = try_open(&disk, rules);
    let mut acknowledged = vec!["0", "1", "2", "3"];
    match &second {
        Ok(second) => {
            append_blocks(second, &["second"]);
            acknowledged.push("second");
        }
        Err(error) => assert!(matches!(error, OpenError::Locked { .. }), "{error}"),
    }
    append_blocks(&first, &["2", "3"]);
    disk.power_off();
    drop((first, second));
    disk.restart();
    // the first one's lock went with it
    let (directory, log) = opened(&disk, rules);
    assert_eq!((directory.failed(), log.unavailable()), (None, None));
    assert_eq!(values(&log, 1_000), acknowledged);
}

/// A journal with as many appends as it takes, on a volume that has no room for segments.
struct FullJournal {
    disk: SimulatedDisk,
    directory: DataDirectory,
    /// Its first entry lies in the first slot, which is not free before that is in a segment.
    oldest: Arc<PartitionLog>,
    others: Vec<Arc<PartitionLog>>,
}

impl FullJournal {
    fn new(rules: Rules) -> Self {
        let disk = disk();
        let (directory, oldest) = opened(&disk, rules);
        let ids = (1..=5).map(|at| LogId { topic_id: Uuid::from_u128(100 + at), ..log_id() });
        let others: Vec<_> = ids.map(|id| directory.open_log(&id, "others", small_segments(), NOW)).collect();
        append(&oldest, &["0"]);
        let is_taken = |log| PartitionLog::append(log, &batch_at(&["x"], NOW), EPOCH, NOW).is_ok();
        while others.iter().all(is_taken) {
            directory.step_without_filling(true);
        }
        directory.step_without_filling(true);
        disk.set_capacity(Some(disk.used()));
        // whoever waits for room that nobody can make waits until then
        disk.plan(disk.calls() + 1_000, Trouble::PowerOff);
        Self { disk, directory, oldest, others }
    }

    /// Deletes so many topics, which has to succeed and to last.
    fn delete_topics(self, count: usize, rules: Rules) {
        let Self { disk, directory, oldest, others } = self;
        for log in &others[..count] {
            directory.delete_topic(log.id().topic_id).unwrap();
        }
        assert_eq!(directory.failed(), None);
        disk.set_capacity(None);
        cut_power(&disk, (directory, oldest));
        let (directory, oldest) = opened(&disk, rules);
        assert_eq!(values(&oldest, 1_000), ["0"]);
        let found = directory.topics_found().unwrap();
        let back = others[..count].iter().filter(|log| found.contains(&log.id().topic_id)).count();
        assert_eq!((back, found.len()), (0, others.len() - count));
    }
}

/// Topics are deleted all the same.
pub(crate) fn deletions_on_a_full_volume(rules: Rules) {
    FullJournal::new(rules).delete_topics(5, rules);
}

/// As many log starts are moved as the journal takes, and topics are deleted all the same.
pub(crate) fn log_starts_on_a_full_volume(rules: Rules) {
    let full = FullJournal::new(rules);
    let log = &full.others[4];
    let mut moved = 0;
    while log.delete_records(Offset(moved + 1), log.durable_end(), NOW).is_ok() {
        moved += 1;
    }
    assert!(moved > 0 && log.log_start() == Offset(moved) && moved < log.durable_end().0);
    full.delete_topics(2, rules);
}

/// The power fails when a checkpoint knows already that the topic was deleted, and half of its files are gone.
pub(crate) fn topic_removed_half_way(rules: Rules) {
    let hooked = hooked();
    let life = try_open_on(Arc::new(hooked.clone()), rules).unwrap();
    append_blocks(&life, &["0", "1"]);
    life.0.fill();
    let files = |disk: &SimulatedDisk| {
        let topic = Path::new(ROOT).join(format!("topics/{}", log_id().topic_id));
        disk.list(&topic).unwrap().len() + disk.list(&topic.join("0000")).unwrap().len()
    };
    let (disk, whole) = (hooked.0.clone(), files(&hooked.0));
    assert!(whole > 1);
    let directory = Arc::new(life.0);
    let (others, power, mut removed) = (Arc::downgrade(&directory), disk.clone(), 0);
    hooked.hook(move |what, _| {
        removed += usize::from(what == "remove");
        match (what, removed) {
            ("remove", 1) => others.upgrade().unwrap().fill(),
            ("remove", 2) => power.power_off(),
            _ => {}
        }
        Ok(())
    });
    assert!(directory.delete_topic(log_id().topic_id).is_err(), "the power is off");
    drop((directory, life.1));
    disk.restart();
    let (directory, _) = opened(&disk, rules);
    assert_eq!(directory.failed(), None);
    // what nobody speaks of is found, to be deleted once more, and is whole then
    let left = files(&disk);
    assert!(left == 0 || left == whole, "{left} of {whole} files");
}

/// A process was killed when it had made slots and their names were not durable yet; the next one uses them.
pub(crate) fn slots_of_a_killed_process(rules: Rules) {
    for seed in 0..8 {
        let disk = disk_of(seed);
        cut_power(&disk, opened(&disk, rules));
        for number in 0..u32::try_from(SLOTS).unwrap() {
            if disk.open(&slot(number)).is_err() {
                let file = disk.create(&slot(number)).unwrap();
                file.allocate(SLOT_BYTES).unwrap();
                file.sync().unwrap();
            }
        }
        let life = opened(&disk, rules);
        let sent: Vec<_> = (0..40).map(|number| number.to_string()).collect();
        append_blocks(&life, &sent.iter().map(String::as_str).collect::<Vec<_>>());
        cut_power(&disk, life);
        let (directory, log) = opened(&disk, rules);
        assert_eq!((directory.failed(), log.unavailable()), (None, None));
        assert_eq!(values(&log, 10_000), sent);
    }
}

/// The power fails in the middle of a write, and takes the rest of the drive's sector with it.
pub(crate) fn torn_sector(rules: Rules) {
    let disk = disk();
    disk.set_physical_sector(2 * BLOCK);
    let life = opened(&disk, rules);
    append_blocks(&life, &["0", "1", "2"]);
    append(&life.1, &["3"]);
    disk.plan(disk.calls() + 1, Trouble::PowerOff);
    life.0.flush();
    assert_eq!(life.1.durable_end(), Offset(3));
    drop(life);
    disk.restart();
    let (directory, log) = opened(&disk, rules);
    assert_eq!((directory.failed(), log.unavailable()), (None, None));
    // the torn block may be there as a whole
    assert_eq!(values(&log, 1_000)[..3], ["0", "1", "2"]);
}

/// The disk refuses a block, and takes what comes next: parts of the block may be there.
pub(crate) fn refused_block(rules: Rules) {
    for seed in 0..8 {
        let disk = disk_of(seed);
        let life = opened(&disk, rules);
        append_blocks(&life, &["0", "1"]);
        append(&life.1, &["2"]);
        disk.plan(disk.calls() + 1, Trouble::InputOutput);
        life.0.flush();
        assert_eq!(life.1.durable_end(), Offset(2), "what the disk refused is not acknowledged");
        assert!(life.0.failed().is_some());
        let before = crate::common::content(&disk, Path::new(ROOT));
        assert!(life.1.append(&batch_at(&["3"], NOW), EPOCH, NOW).is_err());
        life.0.flush();
        life.0.close();
        assert_eq!(changed(&disk, Path::new(ROOT), &before), Vec::<PathBuf>::new());
        cut_power(&disk, life);
        let (directory, log) = opened(&disk, rules);
        assert_eq!((directory.failed(), log.unavailable()), (None, None));
        // the block may be there as a whole
        assert_eq!(values(&log, 1_000)[..2], ["0", "1"]);
    }
}

/// Somebody reads the log before each call of the pass that moves it to segments.
pub(crate) fn readers_in_a_pass(rules: Rules) {
    let disk = disk();
    let life = opened(&disk, rules);
    let sent: Vec<_> = (0..30).map(|number| number.to_string()).collect();
    append_blocks(&life, &sent.iter().map(String::as_str).collect::<Vec<_>>());
    let reads = Arc::new(Mutex::new(Vec::new()));
    let (log, noted) = (Arc::clone(&life.1), Arc::clone(&reads));
    disk.set_meanwhile(Box::new(move || {
        let ends =
            (0..30).map(|at| log.read(Offset(at), Offset(30), 1, true, Wait::Allowed).map(|read| read.next_offset.0));
        noted.lock().unwrap().push(ends.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string()));
    }));
    life.0.fill();
    disk.end_meanwhile();
    let reads = reads.lock().unwrap();
    assert!(reads.len() > 5, "{} rounds", reads.len());
    reads.iter().for_each(|read| assert_eq!(*read, Ok((1..=30).collect())));
    assert_eq!(values(&life.1, 1_000), sent);
}

/// All of the log has expired, and the other replicas have only its first records.
pub(crate) fn expired_above_the_high_watermark(rules: Rules) {
    let disk = disk();
    let life = opened(&disk, rules);
    append_blocks(&life, &["0", "1", "2", "3"]);
    life.0.fill();
    life.1.set_config(LogConfig { retention_age: Some(Duration::from_secs(60)), ..small_segments() });
    life.1.apply_retention(Offset(2), TimestampMs(NOW.0 + 60_001)).unwrap();
    assert_eq!(values(&life.1, 1_000).last().map(String::as_str), Some("3"));
    assert_eq!(life.1.log_start(), Offset(2));
}

/// Somebody asks for what the other replicas do not have to be deleted.
pub(crate) fn deletion_above_the_high_watermark(rules: Rules) {
    let disk = disk();
    let life = opened(&disk, rules);
    append_blocks(&life, &["0", "1", "2", "3"]);
    let refused = life.1.delete_records(Offset(3), Offset(2), NOW);
    assert!(matches!(refused, Err(DeleteRecordsError::OutOfRange { .. })), "{refused:?}");
    assert_eq!(values(&life.1, 1_000), ["0", "1", "2", "3"]);
    assert_eq!(life.1.delete_records(Offset(2), Offset(2), NOW).unwrap(), Offset(2));
}

/// The others have more than this log, all of which is to be deleted; then it gets on by itself.
pub(crate) fn deletion_beyond_the_end(rules: Rules) {
    let disk = disk();
    let life = opened(&disk, rules);
    append_blocks(&life, &["0", "1", "2"]);
    let refused = life.1.delete_records(Offset(5), Offset(9), NOW);
    append_blocks(&life, &["3", "4", "5"]);
    cut_power(&disk, life);
    let (directory, log) = opened(&disk, rules);
    assert_eq!((directory.failed(), log.unavailable()), (None, None));
    assert_eq!(values(&log, 1_000), ["0", "1", "2", "3", "4", "5"]);
    assert!(matches!(refused, Err(DeleteRecordsError::OutOfRange { .. })), "{refused:?}");
}

#[test]
fn delete_records_stays_below_the_high_watermark() {
    deletion_above_the_high_watermark(Rules::default());
}

#[test]
fn delete_records_stays_below_the_durable_end() {
    deletion_beyond_the_end(Rules::default());
}

#[test]
fn segments_are_seen_before_the_tail_goes() {
    readers_in_a_pass(Rules::default());
}

#[test]
fn failed_blocks_are_final() {
    refused_block(Rules::default());
}

#[test]
fn retention_stays_below_the_high_watermark() {
    expired_above_the_high_watermark(Rules::default());
}

#[test]
fn blocks_are_chained() {
    mixed_copies(Rules::default());
}

#[test]
fn blocks_carry_the_journals_id() {
    block_in_a_record(Rules::default());
}

#[test]
fn opens_are_counted() {
    unfinished_entry(Rules::default());
}

#[test]
fn one_process_has_the_directory() {
    second_process(Rules::default());
}

#[test]
fn a_slot_is_kept_for_what_frees() {
    deletions_on_a_full_volume(Rules::default());
}

#[test]
fn last_blocks_are_for_deletions() {
    log_starts_on_a_full_volume(Rules::default());
}

#[test]
fn topics_are_renamed_before_removal() {
    topic_removed_half_way(Rules::default());
}

#[test]
fn found_slots_are_durable_before_use() {
    slots_of_a_killed_process(Rules::default());
}

#[test]
fn blocks_have_sectors_of_their_own() {
    torn_sector(Rules::default());
}
