//! Crossings of the journal, the filler, deletions and a full volume: each was found by reading the code, and failed before it was mended.
#![allow(clippy::unwrap_used, clippy::cast_possible_wrap, clippy::redundant_clone, reason = "tests")]

use crate::common::hooked::{disk, hooked};
use crate::common::{
    EPOCH, NOW, append_numbers, batch_at, log_id, log_of, numbers, settle, small_segments, values, wait_a_little,
};
use kennet_log::fs::sim::{SimulatedDisk, Trouble};
use kennet_log::fs::{FileSystem, Wait};
use kennet_log::{
    AppendError, DataDirectory, Limits, LogConfig, LogId, OpenError, PartitionLog, Rules, Unavailable, verify,
};
use kennet_protocol::{Offset, PartitionIndex, TimestampMs, Uuid};
use std::io;
use std::path::Path;
use std::sync::Arc;

fn manual(fs: Arc<dyn FileSystem>, journal: u64, limits: Limits) -> Result<DataDirectory, OpenError> {
    let limits = Limits { journal_bytes_max: Some(journal), ..limits };
    DataDirectory::open_manual(fs, Path::new("/data"), limits, Rules::default())
}
fn other(n: i32) -> LogId {
    LogId { topic_id: Uuid::from_u128(100), partition: PartitionIndex(n) }
}
fn try_n(log: &Arc<PartitionLog>, n: usize) -> Result<(), AppendError> {
    let later = TimestampMs(NOW.0 + 10_000 + n as i64 * 2000);
    log.append(&batch_at(&[&n.to_string()], NOW), EPOCH, later).map(drop)
}
/// appends to a log with the directory stepping; returns how many it took until refused with no progress
fn goes_on(dir: &DataDirectory, log: &Arc<PartitionLog>, n: usize) -> Result<(), String> {
    for i in 0..n {
        let mut tries = 0;
        while let Err(e) = try_n(log, i) {
            dir.flush();
            dir.fill_as_needed();
            tries += 1;
            if tries > 50 {
                return Err(format!("append {i} refused for good: {e}; failed={:?}", dir.failed()));
            }
        }
        dir.flush();
    }
    Ok(())
}

#[test]
fn a_pass_that_meets_a_full_volume_behind_a_roll_writes_nothing_twice() {
    let mut bad = vec![];
    for room in (0..6000).step_by(50) {
        let d = disk();
        let dir = manual(Arc::new(d.clone()), 64 << 10, Limits::default()).unwrap();
        let log = log_of(&dir, small_segments());
        append_numbers(&log, 0..5);
        settle(&dir);
        append_numbers(&log, 5..45);
        dir.flush();
        d.set_capacity(Some(d.used() + room));
        dir.fill();
        d.set_capacity(None);
        dir.fill();
        let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| values(&log, 300)));
        if r.ok() != Some(numbers(0..45)) {
            bad.push((room, format!("{:?}", log.unavailable())));
        }
    }
    assert!(bad.is_empty(), "{} bad, first {:?}", bad.len(), bad.iter().find(|b| b.1 != "None"));
}
#[test]
fn two_slots_are_enough_to_go_on() {
    let d = disk();
    let dir = manual(Arc::new(d.clone()), 8192, Limits::default()).unwrap();
    let log = log_of(&dir, LogConfig::default());
    goes_on(&dir, &log, 200).unwrap();
}
#[test]
fn a_slot_that_found_no_room_does_not_forbid_a_restart() {
    let d = disk();
    d.set_capacity(Some(2 * (64 << 10) + 2 * (4 << 10) + 3000));
    let dir = manual(Arc::new(d.clone()), 64 << 10, Limits::default()).unwrap();
    let log = log_of(&dir, LogConfig::default());
    append_numbers(&log, 0..3);
    dir.flush();
    dir.close();
    drop(dir);
    let again = manual(Arc::new(d.clone()), 64 << 10, Limits::default());
    assert!(again.is_ok(), "{:?}", again.err());
}
#[test]
fn a_first_start_that_is_cut_anywhere_can_be_repeated() {
    let mut bad = vec![];
    for call in 1..60 {
        let d = disk();
        d.plan(d.calls() + call, Trouble::PowerOff);
        let r = manual(Arc::new(d.clone()), 64 << 10, Limits::default());
        drop(r);
        d.restart();
        match manual(Arc::new(d.clone()), 64 << 10, Limits::default()) {
            Ok(dir) => {
                if let Some(f) = dir.failed() {
                    bad.push((call, format!("{f}")));
                }
            }
            Err(e) => bad.push((call, format!("{e:?}"))),
        };
    }
    assert!(bad.is_empty(), "{bad:?}");
}
#[test]
fn a_first_start_on_a_full_volume_can_be_repeated() {
    let d = disk();
    d.set_capacity(Some((64 << 10) + 100));
    let r = manual(Arc::new(d.clone()), 64 << 10, Limits::default());
    assert!(r.is_err());
    drop(r);
    d.set_capacity(None);
    let dir = manual(Arc::new(d.clone()), 64 << 10, Limits::default()).unwrap();
    assert_eq!(dir.failed(), None);
}
#[test]
fn a_topic_that_is_deleted_in_the_middle_of_a_pass_fails_nothing() {
    let h = hooked();
    let dir = Arc::new(manual(Arc::new(h.clone()), 64 << 10, Limits::default()).unwrap());
    let log = log_of(&dir, small_segments());
    let keep = dir.open_log(&other(0), "keep", small_segments(), NOW);
    append_numbers(&log, 0..5);
    append_numbers(&keep, 0..5);
    settle(&dir);
    append_numbers(&log, 5..40);
    dir.flush();
    let d2 = Arc::downgrade(&dir);
    let mut done = false;
    *h.1.lock().unwrap() = Some(Box::new(move |what, _| {
        if what == "sync" && !done {
            done = true;
            d2.upgrade().unwrap().delete_topic(log_id().topic_id).unwrap();
        }
        Ok(())
    }));
    dir.fill();
    *h.1.lock().unwrap() = None;
    assert_eq!(dir.failed(), None);
}
#[test]
fn retention_that_meets_a_deletion_leaves_nothing_in_the_journal() {
    let h = hooked();
    let config = LogConfig { retention_age: Some(std::time::Duration::from_secs(1)), ..small_segments() };
    {
        let dir = manual(Arc::new(h.clone()), 64 << 10, Limits::default()).unwrap();
        let log = log_of(&dir, config.clone());
        append_numbers(&log, 0..5);
        settle(&dir);
        dir.close();
    }
    let dir = Arc::new(manual(Arc::new(h.clone()), 64 << 10, Limits::default()).unwrap());
    let log = log_of(&dir, config);
    let keep = dir.open_log(&other(0), "keep", small_segments(), NOW);
    let d2 = Arc::downgrade(&dir);
    let mut n = 0;
    *h.1.lock().unwrap() = Some(Box::new(move |what, p| {
        if what == "open" && p.to_str().unwrap().ends_with("timeindex") {
            n += 1;
            if n == 1 {
                d2.upgrade().unwrap().delete_topic(log_id().topic_id).unwrap();
            }
        }
        Ok(())
    }));
    let r = log.apply_retention(log.durable_end(), TimestampMs(NOW.0 + 1_000_000));
    *h.1.lock().unwrap() = None;
    assert!(r.is_err(), "the topic is deleted: {r:?}");
    goes_on(&dir, &keep, 2000).unwrap();
}
#[test]
fn a_log_that_can_not_be_opened_does_not_hold_the_journal_and_keeps_its_records() {
    let d = disk();
    {
        let dir = manual(Arc::new(d.clone()), 64 << 10, Limits::default()).unwrap();
        let log = log_of(&dir, small_segments());
        append_numbers(&log, 0..5);
        settle(&dir);
        append_numbers(&log, 5..7);
        dir.flush();
        d.power_off();
        dir.close();
        drop(dir);
    }
    d.restart();
    let segment = format!("/data/topics/{}/0000/{:020}.log", log_id().topic_id, 0);
    let aside = format!("{segment}.aside");
    d.rename(Path::new(&segment), Path::new(&aside)).unwrap();
    let dir = manual(Arc::new(d.clone()), 64 << 10, Limits::default()).unwrap();
    let log = log_of(&dir, small_segments());
    assert!(log.unavailable().is_some());
    let keep = dir.open_log(&other(0), "keep", small_segments(), NOW);
    goes_on(&dir, &keep, 2000).unwrap();
    drop(dir);
    // somebody finds the segment again
    d.rename(Path::new(&aside), Path::new(&segment)).unwrap();
    let dir = manual(Arc::new(d), 64 << 10, Limits::default()).unwrap();
    let log = log_of(&dir, small_segments());
    assert_eq!(log.unavailable(), None);
    assert_eq!(values(&log, 300), numbers(0..7));
}
#[test]
fn a_sync_that_fails_for_lack_of_room_is_final_too() {
    let h = hooked();
    {
        let dir = manual(Arc::new(h.clone()), 64 << 10, Limits::default()).unwrap();
        let log = log_of(&dir, small_segments());
        append_numbers(&log, 0..2);
        settle(&dir);
        append_numbers(&log, 2..5);
        dir.flush();
        *h.1.lock().unwrap() = Some(Box::new(move |what, _| {
            // ENOSPC
            if what == "sync" { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
        }));
        dir.fill();
        *h.1.lock().unwrap() = None;
        assert!(matches!(dir.failed(), Some(Unavailable::DirectoryFailed { .. })));
        dir.fill();
        h.0.power_off();
        dir.close();
    }
    h.0.restart();
    let dir = manual(Arc::new(h), 64 << 10, Limits::default()).unwrap();
    assert_eq!(values(&log_of(&dir, small_segments()), 300), numbers(0..5));
}
#[test]
fn a_large_batch_is_taken_however_little_memory_is_used() {
    let d = disk();
    let limits = Limits { memory_bytes_max: 20_000, ..Limits::default() };
    let dir = manual(Arc::new(d.clone()), 1 << 20, limits).unwrap();
    let log = log_of(&dir, LogConfig::default());
    append_numbers(&log, 0..3);
    dir.flush();
    let big = "x".repeat(19_850);
    let mut last = None;
    for _ in 0..50 {
        match log.append(&batch_at(&[&big], NOW), EPOCH, NOW) {
            Ok(_) => return,
            Err(e) => last = Some(e),
        }
        dir.flush();
        dir.fill_as_needed();
    }
    panic!("{last:?}");
}
/// Counts how often whoever was refused is told to try again.
#[derive(Default)]
struct Rooms(std::sync::atomic::AtomicUsize);
impl kennet_log::Progress for Rooms {
    fn buffered(&self) {}
    fn durable(&self, _: &[kennet_log::Advance]) {}
    fn room(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    fn full(&self, _: bool) {}
    fn dropped(&self, _: &[Arc<PartitionLog>]) {}
    fn failed(&self, _: &str) {}
    fn complain(&self, _: &str) {}
}
/// What is in the way is only pending: the pass that the refusal asks for finds nothing to free, and nothing would ask again.
#[test]
fn who_was_refused_because_of_what_is_pending_is_told_when_that_is_durable() {
    let d = disk();
    let limits = Limits { memory_bytes_max: 8 << 20, ..Limits::default() };
    let dir = manual(Arc::new(d), 256 << 10, limits).unwrap();
    let rooms = Arc::new(Rooms::default());
    dir.set_progress(Arc::downgrade(&(Arc::clone(&rooms) as Arc<dyn kennet_log::Progress>)));
    let log = log_of(&dir, LogConfig::default());
    let value = "x".repeat(2_000);
    let refused = (0..1_000).find_map(|_| log.append(&batch_at(&[&value], NOW), EPOCH, NOW).err());
    assert!(matches!(refused, Some(AppendError::Busy { .. })), "{refused:?}");
    dir.fill_as_needed();
    let before = rooms.0.load(std::sync::atomic::Ordering::Relaxed);
    dir.flush();
    assert!(rooms.0.load(std::sync::atomic::Ordering::Relaxed) > before, "nobody is told");
    dir.fill_as_needed();
    log.append(&batch_at(&[&value], NOW), EPOCH, NOW).unwrap();
}
/// The start of an entry whose end was never written holds no slot: its number is given again, to an entry that may need that very room.
#[test]
fn what_is_left_of_an_entry_that_never_ended_leaves_its_room_to_the_next_one() {
    let big = "x".repeat(100_000);
    let mut cuts = 0;
    for cut in 1..12 {
        let d = disk();
        let dir = manual(Arc::new(d.clone()), 256 << 10, Limits::default()).unwrap();
        let log = log_of(&dir, LogConfig::default());
        append_numbers(&log, 0..3);
        settle(&dir);
        for _ in 0..20 {
            if log.append(&batch_at(&[&big], NOW), EPOCH, NOW).is_ok() {
                break;
            }
            dir.flush();
            dir.fill_as_needed();
        }
        d.plan(d.calls() + cut, Trouble::PowerOff);
        dir.flush();
        cuts += u32::from(d.is_off());
        d.power_off();
        dir.close();
        drop((dir, log));
        d.restart();
        let dir = manual(Arc::new(d.clone()), 256 << 10, Limits::default()).unwrap();
        let log = log_of(&dir, LogConfig::default());
        for number in 0..4 {
            let mut refused = None;
            for _ in 0..20 {
                refused = log.append(&batch_at(&[&big], NOW), EPOCH, NOW).err();
                if refused.is_none() {
                    break;
                }
                dir.flush();
                dir.fill_as_needed();
            }
            assert!(refused.is_none(), "cut at call {cut}, batch {number}: {refused:?}");
        }
    }
    assert!(cuts > 2, "the power was cut in {cuts} writes only");
}
#[test]
fn records_of_the_broker_itself_find_room_where_those_of_clients_wait() {
    let d = disk();
    let limits = Limits { memory_bytes_max: 20_000, ..Limits::default() };
    let dir = manual(Arc::new(d.clone()), 1 << 20, limits).unwrap();
    let (clients, own) = (log_of(&dir, LogConfig::default()), {
        let id = LogId { topic_id: Uuid::from_u128(77), partition: PartitionIndex(0) };
        dir.open_log(&id, "own", LogConfig { uses_reserve: true, ..LogConfig::default() }, NOW)
    });
    let large = "x".repeat(2000);
    let refused = (0..20).find_map(|_| clients.append(&batch_at(&[&large], NOW), EPOCH, NOW).err());
    assert!(matches!(refused, Some(AppendError::Busy { .. })), "{refused:?}");
    own.append(&batch_at(&["small"], NOW), EPOCH, NOW).unwrap();
    // the reserve is bounded too
    let refused = (0..20).find_map(|_| own.append(&batch_at(&[&large], NOW), EPOCH, NOW).err());
    assert!(matches!(refused, Some(AppendError::Busy { .. })), "{refused:?}");
}
#[test]
fn a_large_batch_is_taken_however_little_of_the_journal_is_used() {
    let d = disk();
    let dir = manual(Arc::new(d.clone()), 256 << 10, Limits::default()).unwrap();
    let log = log_of(&dir, LogConfig::default());
    // slots of 32 KiB: capacity 256, room 224, half 128
    let mid = "x".repeat(1500);
    for _ in 0..60 {
        log.append(&batch_at(&[&mid], NOW), EPOCH, NOW).unwrap();
        dir.flush();
    }
    let big = "x".repeat(108_000);
    let mut last = None;
    for _ in 0..50 {
        match log.append(&batch_at(&[&big], NOW), EPOCH, NOW) {
            Ok(_) => return,
            Err(e) => last = Some(e),
        }
        dir.flush();
        dir.fill_as_needed();
    }
    panic!("{last:?}");
}
#[test]
fn a_deletion_that_a_crash_interrupted_is_finished_at_the_next_start() {
    let h = hooked();
    {
        let dir = manual(Arc::new(h.clone()), 64 << 10, Limits::default()).unwrap();
        let log = log_of(&dir, small_segments());
        append_numbers(&log, 0..5);
        settle(&dir);
        let d = h.0.clone();
        *h.1.lock().unwrap() = Some(Box::new(move |what, _| {
            if what == "rename" {
                d.power_off();
            }
            Ok(())
        }));
        let _ = dir.delete_topic(log_id().topic_id);
        *h.1.lock().unwrap() = None;
        dir.close();
    }
    h.0.restart();
    let dir = manual(Arc::new(h.clone()), 64 << 10, Limits::default()).unwrap();
    assert!(dir.topics_found().unwrap().is_empty(), "files of the deleted topic stay for ever");
}
#[test]
fn who_waits_for_a_directory_that_was_closed_is_told() {
    let d = disk();
    let limits = Limits { journal_bytes_max: Some(64 << 10), ..Limits::default() };
    let dir = DataDirectory::open(Arc::new(d.clone()), Path::new("/data"), limits).unwrap();
    let log = log_of(&dir, small_segments());
    append_numbers(&log, 0..5);
    dir.flush();
    dir.close();
    let (tx, rx) = std::sync::mpsc::channel();
    let l = log.clone();
    std::thread::spawn(move || {
        let r = l.delete_records(Offset(2), Offset(5), NOW);
        tx.send(format!("{r:?}")).unwrap();
    });
    let r = rx.recv_timeout(std::time::Duration::from_secs(3));
    assert!(r.is_ok(), "hangs");
}

#[test]
fn a_flipped_bit_in_the_first_block_of_the_newest_slot_is_damage() {
    let d = disk();
    {
        let dir = manual(Arc::new(d.clone()), 64 << 10, Limits::default()).unwrap(); // slots of 8 KiB, sectors of 512
        let log = log_of(&dir, LogConfig::default());
        for i in 0..20 {
            append_numbers(&log, i..i + 1);
            dir.flush();
        }
        assert_eq!(log.durable_end(), Offset(20));
        d.power_off();
        dir.close();
    }
    d.restart();
    // 16 blocks are in one slot; the rest is in another
    let mut out = vec![];
    for at in [3usize, 70, 100] {
        for slot in [1, 2] {
            let d2 = d.clone();
            let path = format!("/data/journal/{slot:08}");
            let f = d2.open(Path::new(&path)).unwrap();
            let mut b = [0u8; 8];
            f.read_at(&mut b, 0, Wait::Allowed).unwrap();
            if &b != b"kennetJ1" {
                continue;
            }
            d2.flip(Path::new(&path), at);
            {
                let (reports, damage) = {
                    let mut r = vec![];
                    let fs: Arc<dyn FileSystem> = Arc::new(d2.clone());
                    let dmg = verify(&fs, Path::new("/data"), |x| r.push(x.clone())).unwrap();
                    (r, dmg)
                };
                out.push((slot, at, damage.is_some(), reports[0].log_end.0));
            }
            d2.flip(Path::new(&path), at);
        }
    }
    assert!(!out.is_empty());
    assert!(out.iter().all(|o| o.2), "not reported: {out:?}");
}
/// The checkpoint of a clean stop says that the last segment has index files. The first pass that closes that segment writes them anew, and what a
/// power cut leaves of them must not be taken for the old ones: of a time index whose length is a multiple of block and entry, nobody could tell.
#[test]
fn index_files_of_an_earlier_process_are_replaced_as_a_whole() {
    let config = || LogConfig { segment_bytes: 200_000, index_interval_bytes: 1, ..LogConfig::default() };
    let append = |log: &Arc<PartitionLog>, numbers: std::ops::Range<i64>| {
        for number in numbers {
            log.append(&batch_at(&["v"], TimestampMs(NOW.0 + number)), EPOCH, NOW).unwrap();
        }
    };
    let reopen = |d: &SimulatedDisk| {
        let limits = Limits { memory_bytes_max: 8 << 20, ..Limits::default() };
        let dir = manual(Arc::new(d.clone()), 4 << 20, limits).unwrap();
        let log = log_of(&dir, config());
        (dir, log)
    };
    let mut torn = 0;
    for cut in 1..20 {
        let d = SimulatedDisk::new(cut);
        d.create_directory(Path::new("/data")).unwrap();
        d.sync_directory(Path::new("/")).unwrap();
        let (dir, log) = reopen(&d);
        append(&log, 0..2_100);
        dir.close();
        drop((dir, log));
        let (dir, log) = reopen(&d);
        append(&log, 2_100..2_110);
        log.roll(NOW);
        append(&log, 2_110..2_111);
        dir.flush();
        d.plan(d.calls() + cut, Trouble::PowerOff);
        dir.fill();
        torn += u32::from(d.is_off());
        d.power_off();
        dir.close();
        drop((dir, log));
        d.restart();
        let (_dir, log) = reopen(&d);
        let newest = log.newest_timestamp(Offset(2_110)).unwrap().map(|found| found.offset);
        assert_eq!(newest, Some(Offset(2_109)), "cut at call {cut}");
        let found = log.first_at_or_after(TimestampMs(NOW.0 + 2_090), Offset(2_111)).unwrap();
        assert_eq!(found.map(|found| found.offset), Some(Offset(2_090)), "cut at call {cut}");
    }
    assert!(torn > 5, "the power was cut in {torn} passes only");
}
/// The checkpoint says that a restart reads from the middle of a slot; before it is durable, the journal goes on there and into the next slot.
#[test]
fn what_is_journaled_while_a_checkpoint_is_written_keeps_its_slot() {
    for steps in 1..8 {
        let h = hooked();
        let dir = Arc::new(manual(Arc::new(h.clone()), 256 << 10, Limits::default()).unwrap());
        let log = log_of(&dir, LogConfig::default());
        let large = batch_at(&[&"x".repeat(20_000)], NOW);
        // the journal grows for it
        for _ in 0..20 {
            if log.append(&large, EPOCH, NOW).is_ok() {
                break;
            }
            dir.fill_as_needed();
        }
        settle(&dir);
        append_numbers(&log, 0..1);
        dir.flush();
        let (weak, appended, mut syncs) = (Arc::downgrade(&dir), Arc::clone(&log), 0);
        h.hook(move |what, _| {
            syncs += usize::from(what == "sync");
            // the segment's, then the checkpoint's
            if what == "sync" && syncs == 2 {
                let dir = weak.upgrade().unwrap();
                appended.append(&large, EPOCH, NOW).unwrap();
                (0..steps).for_each(|_| dir.step());
            }
            Ok(())
        });
        dir.fill();
        *h.1.lock().unwrap() = None;
        // has nothing to write, and looks where a restart has to read
        dir.fill_as_needed();
        dir.flush();
        assert_eq!(log.durable_end(), Offset(3), "after {steps} steps");
        h.0.power_off();
        dir.close();
        drop((dir, log));
        h.0.restart();
        let dir = manual(Arc::new(h), 256 << 10, Limits::default()).unwrap();
        assert_eq!(dir.failed(), None, "after {steps} steps");
        let found = values(&log_of(&dir, LogConfig::default()), 60_000);
        assert_eq!(found.len(), 3, "after {steps} steps");
    }
}

/// A pass of the filler may take long. The journal grows meanwhile, or who appends would wait for its end.
#[test]
fn the_journal_grows_while_a_pass_takes_long() {
    let fs = hooked();
    let limits = Limits { journal_bytes_max: Some(1 << 20), ..Limits::default() };
    let dir = DataDirectory::open(Arc::new(fs.clone()), Path::new("/data"), limits).unwrap();
    let log = log_of(&dir, LogConfig::default());
    append_numbers(&log, 0..1);
    dir.flush();
    let (stuck, is_stuck) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    fs.hook(move |what, path| {
        if what == "create" && path.extension().is_some_and(|kind| kind == "log") {
            stuck.send(()).unwrap();
            // its end is that of the test, whatever comes of it
            let _ = may_go_on.recv();
        }
        Ok(())
    });
    let large = "x".repeat(1 << 10);
    std::thread::scope(|scope| {
        let go_on = go_on;
        scope.spawn(|| dir.fill());
        is_stuck.recv().unwrap();
        for number in 0..250 {
            let mut tries = 0;
            while let Err(error) = log.append(&batch_at(&[&large], NOW), EPOCH, NOW) {
                assert!(tries < 10_000 && matches!(error, AppendError::Busy { .. }), "append {number}: {error}");
                tries += 1;
                wait_a_little();
            }
            dir.flush();
        }
        drop(go_on);
    });
    assert_eq!(dir.failed(), None);
}
