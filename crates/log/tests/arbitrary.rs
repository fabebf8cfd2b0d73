//! Whatever lies in a data directory, it opens or is offline; nothing panics, nothing unsound is served, and who reads all of it offline says the same.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::common::seeds::step;
use crate::common::{NOW, batch_at, small_segments};
use kennet_log::LogConfig;
use kennet_log::testing::{
    DirectoryFile, Opened, check_directory, compacted_files_of, files_from_bytes, files_of, name_of, parked_files_of,
};
use kennet_protocol::Offset;
use kennet_protocol::record::{Batch, BatchBuilder};
use proptest::prelude::*;

/// How a file is changed.
#[derive(Debug, Clone)]
enum Damage {
    Flip { at: usize, bits: u8 },
    Cut { at: usize },
    Zero { at: usize, length: usize },
    Repeat { at: usize },
    Remove,
    Swap { with: usize },
    Copy { kind: u8, base: u8 },
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<usize>;
    prop_oneof![
        4 => (at(), 1..=255_u8).prop_map(|(at, bits)| Damage::Flip { at, bits }),
        2 => at().prop_map(|at| Damage::Cut { at }),
        2 => (at(), 1..600_usize).prop_map(|(at, length)| Damage::Zero { at, length }),
        1 => at().prop_map(|at| Damage::Repeat { at }),
        1 => Just(Damage::Remove),
        1 => at().prop_map(|with| Damage::Swap { with }),
        1 => (any::<u8>(), 0..80_u8).prop_map(|(kind, base)| Damage::Copy { kind, base }),
    ]
}

fn apply(files: &mut Vec<DirectoryFile>, file: usize, damage: &Damage) {
    if files.is_empty() {
        return;
    }
    let file = file % files.len();
    if let Damage::Swap { with } = damage {
        let with = with % files.len();
        let bytes = files[with].bytes.clone();
        files[file].bytes = bytes;
        return;
    }
    if let Damage::Copy { kind, base } = damage {
        let name = name_of(*kind, *base);
        let bytes = files[file].bytes.clone();
        files.retain(|present| present.name != name);
        return files.push(DirectoryFile { name, bytes });
    }
    let bytes = &mut files[file].bytes;
    let length = bytes.len().max(1);
    match damage {
        Damage::Flip { at, bits } => {
            if let Some(byte) = bytes.get_mut(at % length) {
                *byte ^= bits;
            }
        }
        Damage::Cut { at } => bytes.truncate(at % length),
        Damage::Zero { at, length: count } => {
            bytes.iter_mut().skip(at % length).take(*count).for_each(|byte| *byte = 0);
        }
        Damage::Repeat { at } => {
            let tail = bytes[at % length..].to_vec();
            bytes.extend_from_slice(&tail);
        }
        Damage::Remove => drop(files.remove(file)),
        Damage::Swap { .. } | Damage::Copy { .. } => {}
    }
}

/// 80 records, of which so many batches are in segments, and so many are deleted.
fn sound(settled: usize, deleted: i64, is_stopped: bool) -> Vec<DirectoryFile> {
    let batches: Vec<_> = (0..40).map(|number| batch_at(&[&number.to_string(), "and another"], NOW)).collect();
    files_of(&batches, settled, Offset(deleted), is_stopped, small_segments()).unwrap()
}

/// 80 records of five keys, and a round of compaction that the power may have cut off.
fn sound_compacted(cut: u64) -> Vec<DirectoryFile> {
    let keyed = |number: i32| {
        let mut builder = BatchBuilder::new(NOW);
        for key in [number % 5, (number + 1) % 5] {
            builder.push(NOW, Some(key.to_string().as_bytes()), Some(number.to_string().as_bytes()), &[]);
        }
        Batch::parse(&builder.build().unwrap()).unwrap()
    };
    let batches: Vec<_> = (0..40).map(keyed).collect();
    let config = LogConfig { compaction_enabled: true, dirty_ratio_min: 0.0, ..small_segments() };
    compacted_files_of(&batches, config, cut).unwrap()
}

/// 80 records, of which the last half is parked.
fn sound_parked() -> Vec<DirectoryFile> {
    let batches: Vec<_> = (0..40).map(|number| batch_at(&[&number.to_string(), "and another"], NOW)).collect();
    parked_files_of(&batches, small_segments()).unwrap()
}

#[test]
fn a_compacted_and_a_parked_directory_open_whole() {
    let has = |files: &[DirectoryFile], what: &str| files.iter().any(|file| file.name.ends_with(what));
    let (mut swaps, mut cleaned) = (0, 0);
    for cut in 1..60 {
        let files = sound_compacted(cut);
        swaps += u32::from(has(&files, ".swap"));
        cleaned += u32::from(has(&files, ".cleaned"));
        let opened = check_directory(&files).unwrap();
        assert!(matches!(opened, Opened::Whole(10..=80)), "cut at call {cut}: {opened:?}");
    }
    assert!(swaps > 2 && cleaned > 2, "{swaps} with a swap, {cleaned} with files that count for nothing");
    let parked = sound_parked();
    assert!(has(&parked, "/parked"));
    assert_eq!(check_directory(&parked).unwrap(), Opened::Whole(80));
}

#[test]
fn a_sound_directory_opens_whole() {
    for (settled, is_stopped) in [(0, false), (0, true), (20, false), (40, false)] {
        let files = sound(settled, 0, is_stopped);
        assert!(files.len() > 5, "{} files", files.len());
        assert_eq!(check_directory(&files).unwrap(), Opened::Whole(80), "{settled} settled, stopped: {is_stopped}");
    }
}

#[test]
fn a_flipped_bit_anywhere_never_changes_what_is_read() {
    // stopped: with the last block of the journal not needed any more, nowhere is a bit flip taken for a torn end
    let files = sound(20, 0, true);
    for file in 0..files.len() {
        let bytes = &files[file].bytes;
        // most of a journal and a checkpoint is space that was never used
        for at in (0..bytes.len()).filter(|at| bytes[*at] != 0 && at % 3 == 0 || at % 499 == 0).step_by(step()) {
            let mut changed = files.clone();
            changed[file].bytes[at] ^= 0x10;
            let opened = check_directory(&changed).unwrap();
            let name = &files[file].name;
            assert!(matches!(opened, Opened::Offline | Opened::Whole(80)), "{name} byte {at}: {opened:?}");
        }
    }
}

/// With all batches in the first slot of the journal, nothing but the checkpoint says that there is a journal to be read.
#[test]
fn a_flipped_bit_in_the_first_checkpoint_never_loses_what_is_in_the_journal() {
    let batches: Vec<_> = (0..3).map(|number| batch_at(&[&number.to_string()], NOW)).collect();
    let files = files_of(&batches, 0, Offset(0), false, small_segments()).unwrap();
    let which = files.iter().position(|file| file.name == "checkpoint.0").unwrap();
    for at in 0..200 {
        let mut changed = files.clone();
        changed[which].bytes[at] ^= 0x10;
        let opened = check_directory(&changed).unwrap();
        assert!(matches!(opened, Opened::Offline | Opened::Whole(3)), "byte {at}: {opened:?}");
    }
}

/// Whoever took it for a new one would write over the segments.
#[test]
fn a_directory_that_has_only_segments_left_is_not_taken_for_a_new_one() {
    let mut files = sound(40, 0, true);
    files.retain(|file| file.name.starts_with("topics/"));
    assert!(files.len() > 2);
    assert_eq!(check_directory(&files).unwrap(), Opened::Offline);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_damaged_directory_opens_or_is_offline(
        settled in 0..40_usize,
        deleted in prop_oneof![Just(0), 0..=80_i64],
        is_stopped: bool,
        damages in prop::collection::vec((any::<usize>(), damage()), 1..5),
    ) {
        let mut files = sound(settled, deleted, is_stopped);
        for (file, damage) in &damages {
            apply(&mut files, *file, damage);
        }
        check_directory(&files).unwrap();
    }

    #[test]
    fn a_damaged_directory_that_was_compacted_or_parked_opens_or_is_offline(
        cut in prop::option::of(1..60_u64),
        damages in prop::collection::vec((any::<usize>(), damage()), 1..5),
    ) {
        let mut files = cut.map_or_else(sound_parked, sound_compacted);
        for (file, damage) in &damages {
            apply(&mut files, *file, damage);
        }
        check_directory(&files).unwrap();
    }

    #[test]
    fn any_bytes_open_or_are_offline(input in prop::collection::vec(any::<u8>(), 0..2_000)) {
        check_directory(&files_from_bytes(&input)).unwrap();
    }
}
