//! Deletions that cross a pass of the filler: what a restart needs of them stays in the journal. Each failed before it was mended.
#![allow(clippy::unwrap_used, clippy::cast_possible_wrap, reason = "tests")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use kennet_log::fs::FileSystem;
use kennet_log::{DataDirectory, Limits, LogConfig, PartitionLog, Rules};

use crate::common::hooked::{Hooked, hooked};
use crate::common::{EPOCH, NOW, append, append_numbers, batch_at, log_of, produced, settle, values};

fn opened(fs: &Hooked) -> Arc<DataDirectory> {
    let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let limits = Limits { journal_bytes_max: Some(1 << 20), ..Limits::default() };
    Arc::new(DataDirectory::open_manual(fs, Path::new("/data"), limits, Rules::default()).unwrap())
}

fn after_a_power_cut(
    fs: &Hooked,
    dir: Arc<DataDirectory>,
    log: Arc<PartitionLog>,
) -> (Arc<DataDirectory>, Arc<PartitionLog>) {
    fs.0.power_off();
    dir.close();
    drop((dir, log));
    fs.0.restart();
    let dir = opened(fs);
    assert_eq!(dir.failed(), None);
    let log = log_of(&dir, LogConfig::default());
    assert_eq!(log.unavailable(), None);
    (dir, log)
}

/// Appends more than a slot of the journal, and makes it durable without a pass.
fn append_slots(dir: &DataDirectory, log: &Arc<PartitionLog>) {
    for _ in 0..4 {
        log.append(&batch_at(&[&"x".repeat(20_000)], NOW), EPOCH, NOW).unwrap();
        (0..4).for_each(|_| dir.step());
    }
    assert_eq!(log.durable_end(), log.log_end());
}

/// One pass during which, before its `n`-th sync (the first is that of the segments), something else is done once.
fn fill_crossed(fs: &Hooked, dir: &DataDirectory, n: usize, meanwhile: impl FnOnce() + Send + 'static) {
    let (mut syncs, mut meanwhile) = (0, Some(meanwhile));
    let done = Arc::new(Mutex::new(false));
    let noted = Arc::clone(&done);
    fs.hook(move |what, _| {
        syncs += usize::from(what == "sync");
        if what == "sync" && syncs == n {
            meanwhile.take().unwrap()();
            *noted.lock().unwrap() = true;
        }
        Ok(())
    });
    dir.fill();
    *fs.1.lock().unwrap() = None;
    assert!(*done.lock().unwrap());
}

#[test]
fn what_is_deleted_while_a_pass_writes_is_journaled_until_a_checkpoint_has_it() {
    for n in 1..=2 {
        let fs = hooked();
        let dir = opened(&fs);
        let log = log_of(&dir, LogConfig::default());
        // the first pass makes directories, under the locks that a deletion needs
        append_numbers(&log, 0..5);
        settle(&dir);
        append_numbers(&log, 5..10);
        dir.flush();
        let (other, crossed) = (Arc::downgrade(&dir), Arc::clone(&log));
        fill_crossed(&fs, &dir, n, move || {
            append_slots(&other.upgrade().unwrap(), &crossed);
            crossed.append(&produced(7, 0, 0, &["p"]), EPOCH, NOW).unwrap();
            append_slots(&other.upgrade().unwrap(), &crossed);
            let end = crossed.log_end();
            crossed.delete_records(end, end, NOW).unwrap();
        });
        let start = log.log_start();
        let (dir, log) = after_a_power_cut(&fs, dir, log);
        assert_eq!((log.log_start(), log.log_end()), (start, start), "deleted before sync {n}");
        assert_eq!(log.summary().producers, 1, "deleted before sync {n}");
        append(&log, &["later"]);
        dir.flush();
        let (_dir, log) = after_a_power_cut(&fs, dir, log);
        assert_eq!(values(&log, 1_000), ["later"], "deleted before sync {n}");
    }
}
