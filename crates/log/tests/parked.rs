//! Logs whose segments can't be opened at a start: what the journal has of them is put aside, and comes back once.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kennet_log::fs::sim::{SimulatedDisk, Trouble};
use kennet_log::fs::{FileSystem, read_file};
use kennet_log::{DataDirectory, Limits, LogId, OpenError, PartitionLog, Rules};
use kennet_protocol::{LeaderEpoch, Uuid};

use crate::common::hooked::{disk, disk_of};
use crate::common::{NOW, append_numbers, log_id, log_of, numbers, produced, settle, small_segments, values};

type Life = (DataDirectory, Arc<PartitionLog>);

fn try_opened(disk: &SimulatedDisk, rules: Rules) -> Result<Life, OpenError> {
    let limits = Limits { journal_bytes_max: Some(64 << 10), ..Limits::default() };
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    let directory = DataDirectory::open_manual(fs, Path::new("/data"), limits, rules)?;
    let log = log_of(&directory, small_segments());
    Ok((directory, log))
}

fn opened(disk: &SimulatedDisk, rules: Rules) -> Life {
    try_opened(disk, rules).unwrap()
}

fn cut_power(disk: &SimulatedDisk, (directory, log): Life) {
    disk.power_off();
    drop((directory, log));
    disk.restart();
}

fn partition() -> PathBuf {
    Path::new("/data/topics").join(log_id().topic_id.to_string()).join("0000")
}

/// Moves the first segment out of the way, or back.
fn hide(disk: &SimulatedDisk, is_hidden: bool) {
    let (there, aside) = (partition().join(format!("{:020}.log", 0)), partition().join("aside"));
    let (from, to) = if is_hidden { (there, aside) } else { (aside, there) };
    disk.rename(&from, &to).unwrap();
    disk.sync_directory(&partition()).unwrap();
}

/// A life that leaves five records in segments and two in the journal alone.
fn seven_records(disk: &SimulatedDisk, rules: Rules) {
    let life = opened(disk, rules);
    append_numbers(&life.1, 0..5);
    settle(&life.0);
    append_numbers(&life.1, 5..7);
    life.0.flush();
    cut_power(disk, life);
}

/// A log that is put aside, opens, goes on, and is put aside again, which the power cuts off anywhere.
pub(crate) fn put_aside_twice(rules: Rules) {
    let mut cuts = 0;
    for cut in 1..40 {
        let disk = disk();
        seven_records(&disk, rules);
        hide(&disk, true);
        let life = opened(&disk, rules);
        assert!(life.1.unavailable().is_some());
        life.0.fill();
        cut_power(&disk, life);
        hide(&disk, false);
        let life = opened(&disk, rules);
        append_numbers(&life.1, 7..9);
        life.0.flush();
        cut_power(&disk, life);
        hide(&disk, true);
        let life = opened(&disk, rules);
        disk.plan(disk.calls() + cut, Trouble::PowerOff);
        life.0.fill();
        cuts += u32::from(disk.is_off());
        cut_power(&disk, life);
        hide(&disk, false);
        let (directory, log) = opened(&disk, rules);
        assert_eq!(log.unavailable(), None, "cut at call {cut}");
        assert_eq!(values(&log, 300), numbers(0..9), "cut at call {cut}");
        settle(&directory);
        assert_eq!(values(&log, 300), numbers(0..9), "cut at call {cut}, in segments");
    }
    assert!(cuts > 5, "the power was cut in {cuts} passes only");
}

#[test]
fn parked_entries_come_once() {
    put_aside_twice(Rules::default());
}

/// A log that is put aside, a checkpoint that says so, and a power cut, which takes what was not synced, or parts of it, by seed.
pub(crate) fn put_aside_before_a_power_cut(rules: Rules) {
    for seed in 0..10 {
        let disk = disk_of(seed);
        seven_records(&disk, rules);
        hide(&disk, true);
        let life = opened(&disk, rules);
        life.0.fill();
        cut_power(&disk, life);
        hide(&disk, false);
        let (directory, log) = opened(&disk, rules);
        assert_eq!((directory.failed(), log.unavailable()), (None, None), "seed {seed}");
        assert_eq!(values(&log, 300), numbers(0..7), "seed {seed}");
    }
}

#[test]
fn parked_entries_are_synced() {
    put_aside_before_a_power_cut(Rules::default());
}

fn has_parked_file(disk: &SimulatedDisk) -> bool {
    disk.list(&partition()).unwrap().iter().any(|entry| entry.name == "parked")
}

/// A life that may end at any call: the log opens, takes two more records and is filled. What it acknowledged and what it had before has to be there.
fn cut_life(disk: &SimulatedDisk, rules: Rules, cut: u64, acknowledged: usize, context: &str) -> usize {
    disk.plan(disk.calls() + cut, Trouble::PowerOff);
    let mut durable = acknowledged;
    match try_opened(disk, rules) {
        Ok(life) if !disk.is_off() => {
            assert_eq!(life.1.unavailable(), None, "{context}");
            let found = values(&life.1, 300);
            assert!(found.len() >= acknowledged && found == numbers(0..found.len()), "{context}: {found:?}");
            append_numbers(&life.1, found.len()..found.len() + 2);
            settle(&life.0);
            durable = usize::try_from(life.1.durable_end().0).unwrap();
            assert!(disk.is_off() || !has_parked_file(disk), "{context}: the file stays");
            cut_power(disk, life);
        }
        cut_off => {
            assert!(disk.is_off(), "{context}");
            drop(cut_off);
            disk.restart();
        }
    }
    durable
}

/// A log that was put aside opens again, and the power fails at any call of that and of what follows, twice.
pub(crate) fn taken_over(rules: Rules) {
    for (seed, cut) in (0..4).flat_map(|seed| (1..18).map(move |cut| (seed, cut))) {
        let context = format!("seed {seed}, cut at call {cut}");
        let disk = disk_of(seed);
        seven_records(&disk, rules);
        hide(&disk, true);
        let life = opened(&disk, rules);
        life.0.fill();
        assert!(has_parked_file(&disk));
        cut_power(&disk, life);
        hide(&disk, false);
        let acknowledged = cut_life(&disk, rules, cut, 7, &context);
        let acknowledged = cut_life(&disk, rules, 18 - cut, acknowledged, &context);
        cut_life(&disk, rules, u64::MAX / 2, acknowledged, &context);
        // its removal may not have been durable
        let _life = opened(&disk, rules);
        assert!(!has_parked_file(&disk), "{context}: the file stays");
    }
}

#[test]
fn parked_entries_wait_for_the_checkpoint() {
    taken_over(Rules::default());
}

/// A file that lost its end where an entry ends is whole as far as its checksums say.
#[test]
fn a_file_of_parked_entries_without_its_end_is_damage() {
    let (disk, rules) = (disk(), Rules::default());
    seven_records(&disk, rules);
    hide(&disk, true);
    let life = opened(&disk, rules);
    life.0.fill();
    cut_power(&disk, life);
    hide(&disk, false);
    let path = partition().join("parked");
    let whole = read_file(&disk, &path, usize::MAX).unwrap().unwrap();
    let first_entry = u64::from(u32::from_be_bytes(*whole.first_chunk().unwrap())) + 8;
    for length in [first_entry, 0] {
        let file = disk.open_to_write(&path).unwrap();
        file.set_length(length).unwrap();
        file.sync().unwrap();
        let life = opened(&disk, rules);
        let unavailable = life.1.unavailable().map(|reason| reason.to_string()).unwrap_or_default();
        assert!(unavailable.contains("parked"), "{length} of {} bytes: {unavailable:?}", whole.len());
        cut_power(&disk, life);
    }
}

/// Nobody appends to it, and it does not stay in memory for ever.
#[test]
fn what_was_put_aside_is_filled_when_the_log_opens_again() {
    let (disk, rules) = (disk(), Rules::default());
    seven_records(&disk, rules);
    hide(&disk, true);
    let life = opened(&disk, rules);
    life.0.fill();
    cut_power(&disk, life);
    hide(&disk, false);
    let (directory, log) = opened(&disk, rules);
    assert!(directory.pending_bytes() > 0);
    directory.fill();
    assert_eq!(directory.pending_bytes(), 0);
    assert_eq!(values(&log, 300), numbers(0..7));
}

/// The file of the checkpoint that is in use; a new base goes to the other one.
fn newest_checkpoint(disk: &SimulatedDisk) -> Vec<Vec<u8>> {
    // a base begins with its generation
    let files =
        ["checkpoint.0", "checkpoint.1"].map(|name| read_file(disk, &Path::new("/data").join(name), usize::MAX));
    files.into_iter().map(|file| file.unwrap().unwrap_or_default().into_iter().take(32).collect()).collect()
}

/// A new base of the checkpoint leaves producers out that no log remembers.
#[test]
fn producers_of_a_log_that_is_put_aside_are_kept() {
    let (disk, rules) = (disk(), Rules::default());
    let life = opened(&disk, rules);
    let batch = produced(7, 0, 0, &["once"]);
    life.1.append(&batch, LeaderEpoch(1), NOW).unwrap();
    settle(&life.0);
    cut_power(&disk, life);
    hide(&disk, true);
    let life = opened(&disk, rules);
    assert!(life.1.unavailable().is_some());
    let other = LogId { topic_id: Uuid::from_u128(99), ..log_id() };
    let other = life.0.open_log(&other, "other", small_segments(), NOW);
    let before = newest_checkpoint(&disk);
    let mut fills = 0;
    while newest_checkpoint(&disk) == before {
        append_numbers(&other, 0..3);
        life.0.flush();
        life.0.fill();
        fills += 1;
        assert!(fills < 1_000, "no new base");
    }
    cut_power(&disk, life);
    hide(&disk, false);
    let (_directory, log) = opened(&disk, rules);
    assert_eq!(log.unavailable(), None);
    assert!(log.append(&batch, LeaderEpoch(1), NOW).unwrap().duplicate, "it was appended before");
}
