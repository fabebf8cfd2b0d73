//! What has to be durable at once: for each rule a scene in which a power cut shows that it was not. `mutants.rs` plays it without the rule.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kennet_log::fs::sim::SimulatedDisk;
use kennet_log::fs::{FileSystem, read_file};
use kennet_log::{DataDirectory, Limits, PartitionLog, Rules};

use crate::common::hooked::disk_of;
use crate::common::{append_numbers, log_id, log_of, numbers, settle, small_segments, values};

fn opened(disk: &SimulatedDisk, rules: Rules) -> (DataDirectory, Arc<PartitionLog>) {
    let limits = Limits { journal_bytes_max: Some(64 << 10), ..Limits::default() };
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    let directory = DataDirectory::open_manual(fs, Path::new("/data"), limits, rules).unwrap();
    let log = log_of(&directory, small_segments());
    (directory, log)
}

fn cut_power(disk: &SimulatedDisk, (directory, log): (DataDirectory, Arc<PartitionLog>)) {
    disk.power_off();
    drop((directory, log));
    disk.restart();
}

fn index_files(disk: &SimulatedDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let partition = Path::new("/data/topics").join(log_id().topic_id.to_string()).join("0000");
    let paths = disk.list(&partition).unwrap().into_iter().map(|entry| partition.join(entry.name));
    let indexes = paths.filter(|path| path.extension().is_some_and(|found| found == "index" || found == "timeindex"));
    indexes.map(|path| (path.clone(), read_file(disk, &path, usize::MAX).unwrap().unwrap())).collect()
}

/// A clean stop and a power cut behind it, where the last segment is one of this process or of one that was killed: the next start has all indexes
/// that the checkpoint speaks of. What is lost of them is made from the batches again, so nothing but their files tells.
pub(crate) fn indexes_of_a_clean_stop(rules: Rules) {
    for (seed, was_killed) in (0..8).flat_map(|seed| [(seed, false), (seed, true)]) {
        let disk = disk_of(seed);
        let mut life = opened(&disk, rules);
        append_numbers(&life.1, 0..40);
        if was_killed {
            settle(&life.0);
            cut_power(&disk, life);
            life = opened(&disk, rules);
            // makes the index of the last segment, which is written when it is there
            assert_eq!(values(&life.1, 300), numbers(0..40));
        }
        life.0.close();
        let before = index_files(&disk);
        assert_eq!(before.len(), 6, "{before:?}");
        cut_power(&disk, life);
        assert_eq!(index_files(&disk), before, "seed {seed}, was killed: {was_killed}");
        assert_eq!(values(&opened(&disk, rules).1, 300), numbers(0..40));
    }
}

#[test]
fn indexes_are_synced() {
    indexes_of_a_clean_stop(Rules::default());
}
