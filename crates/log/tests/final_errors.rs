//! A sync that fails is final for the directory, wherever it was met and whatever its reason: what it should have saved may be gone, and the next one
//! would report success.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::common::hooked::{Hooked, hooked};
use crate::common::{LogConfig, NOW, append_numbers, log_id, log_of, numbers, settle, small_segments, values};
use kennet_log::fs::FileSystem;
use kennet_log::{DataDirectory, Limits, Rules, Unavailable};

const NO_SPACE: i32 = 28;
const INPUT_OUTPUT: i32 = 5;

fn open(disk: &Hooked) -> DataDirectory {
    let limits = Limits { journal_bytes_max: Some(64 << 10), ..Limits::default() };
    DataDirectory::open_manual(Arc::new(disk.clone()), Path::new("/data"), limits, Rules::default()).unwrap()
}

/// Lets the first sync of a file fail behind a call about a path that `is_it`.
fn fail_sync_behind(disk: &Hooked, error: i32, is_it: fn(&str) -> bool) {
    let mut is_next = false;
    disk.hook(move |what, path| {
        is_next |= is_it(&path.to_string_lossy());
        if what == "sync" && std::mem::take(&mut is_next) { Err(io::Error::from_raw_os_error(error)) } else { Ok(()) }
    });
}

fn assert_failed(directory: &DataDirectory) {
    let failed = directory.failed();
    assert!(matches!(failed, Some(Unavailable::DirectoryFailed { .. })), "{failed:?}");
}

/// What was acknowledged is there when the disk is sound again.
fn assert_whole_after_a_restart(disk: &Hooked, directory: DataDirectory, count: usize) {
    *disk.1.lock().unwrap() = None;
    disk.0.power_off();
    drop(directory);
    disk.0.restart();
    let directory = open(disk);
    assert_eq!(values(&log_of(&directory, small_segments()), 300), numbers(0..count));
}

#[test]
fn a_failed_sync_of_a_new_slot_is_final() {
    let disk = hooked();
    let directory = open(&disk);
    let log = log_of(&directory, small_segments());
    fail_sync_behind(&disk, INPUT_OUTPUT, |path| path.contains("/journal/"));
    let mut sent = 0;
    while directory.failed().is_none() && sent < 100 {
        append_numbers(&log, sent..sent + 1);
        directory.flush();
        sent += 1;
    }
    assert_failed(&directory);
    let durable = usize::try_from(log.durable_end().0).unwrap();
    assert!(durable > 0);
    assert_whole_after_a_restart(&disk, directory, durable);
}

#[test]
fn a_failed_sync_of_an_index_is_final_even_for_lack_of_room() {
    let disk = hooked();
    let directory = open(&disk);
    append_numbers(&log_of(&directory, small_segments()), 0..3);
    directory.close();
    drop(directory);
    let directory = open(&disk);
    let log = log_of(&directory, small_segments());
    append_numbers(&log, 3..40);
    directory.flush();
    fail_sync_behind(&disk, NO_SPACE, |path| path.ends_with(".new"));
    directory.fill();
    assert_failed(&directory);
    assert_whole_after_a_restart(&disk, directory, 40);
}

#[test]
fn a_failed_sync_while_a_log_is_opened_is_final() {
    let disk = hooked();
    let directory = open(&disk);
    append_numbers(&log_of(&directory, small_segments()), 0..3);
    settle(&directory);
    disk.0.power_off();
    drop(directory);
    disk.0.restart();
    let segment = format!("/data/topics/{}/0000/{:020}.log", log_id().topic_id, 0);
    let file = disk.0.open_to_write(Path::new(&segment)).unwrap();
    file.write_at(&[io::IoSlice::new(b"never counted")], file.length().unwrap()).unwrap();
    let directory = open(&disk);
    fail_sync_behind(&disk, INPUT_OUTPUT, |path| path.ends_with(".log"));
    drop(log_of(&directory, small_segments()));
    assert_failed(&directory);
    assert_whole_after_a_restart(&disk, directory, 3);
}

#[test]
fn a_failed_sync_of_what_compaction_wrote_is_final_even_for_lack_of_room() {
    let disk = hooked();
    let directory = open(&disk);
    let config = LogConfig { compaction_enabled: true, dirty_ratio_min: 0.0, ..small_segments() };
    let log = log_of(&directory, config);
    append_numbers(&log, 0..40);
    settle(&directory);
    fail_sync_behind(&disk, NO_SPACE, |path| path.ends_with(".cleaned"));
    log.compact(log.durable_end(), NOW, 10_000, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_failed(&directory);
    // records without a key would have gone; the round came to nothing
    assert_whole_after_a_restart(&disk, directory, 40);
}

#[test]
fn a_failed_sync_of_a_deletion_is_final() {
    let disk = hooked();
    let directory = open(&disk);
    append_numbers(&log_of(&directory, small_segments()), 0..3);
    settle(&directory);
    disk.hook(|what, path| {
        let is_it = what == "syncdir" && path.ends_with("topics");
        if is_it { Err(io::Error::from_raw_os_error(INPUT_OUTPUT)) } else { Ok(()) }
    });
    directory.delete_topic(log_id().topic_id).unwrap_err();
    assert_failed(&directory);
}
