//! Rules that no life by chance needs: for each a scene in which only the rule keeps what it is for. `mutants.rs` plays it without the rule.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kennet_log::fs::sim::SimulatedDisk;
use kennet_log::fs::{FileSystem, read_file};
use kennet_log::{DataDirectory, Limits, OpenError, PartitionLog, Rules};

use crate::common::hooked::disk;
use crate::common::{append, log_of, small_segments, values};

const ROOT: &str = "/data";

type Life = (DataDirectory, Arc<PartitionLog>);

fn try_open(disk: &SimulatedDisk, rules: Rules) -> Result<Life, OpenError> {
    // slots of 4 KiB, which have eight small blocks
    let limits = Limits { journal_bytes_max: Some(32 << 10), ..Limits::default() };
    let directory = DataDirectory::open_manual(Arc::new(disk.clone()), Path::new(ROOT), limits, rules)?;
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

#[test]
fn blocks_are_chained() {
    mixed_copies(Rules::default());
}
