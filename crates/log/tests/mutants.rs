//! Each rule of the data directory, switched off: the model must notice, or the scene that was made for the rule where chance brings none (`rules.rs`,
//! `compact.rs`, `parked.rs`). If nobody notices, the rule is not tested.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::common::lives::{
    bit_flips, crossings, cut_compactions, failed_syncs, lives, new_bases, wrong_batches, wrong_indexes,
};
use crate::{compact, holes, parked, rules, syncs};
use kennet_log::Rules;

/// So many seeds at most until it is noticed.
const SEEDS: u64 = 10_000;

/// Seeds that are lived through first, because they notice what few seeds do: an entry torn between two blocks, a compaction that overtakes the
/// checkpoint, a swap cut short, a torn block. A change of the model makes them useless, and costs minutes until there are others here.
const SEEDS_OF_RARE_THINGS: [u64; 4] = [3_538, 2_492, 253, 122];

fn is_noticed(change: impl Fn(&mut Rules)) {
    is_noticed_by(change, lives);
}

fn is_noticed_by<T>(change: impl Fn(&mut Rules), live: impl Fn(u64, Rules) -> T) {
    let mut rules = Rules::default();
    change(&mut rules);
    assert_ne!(rules, Rules::default());
    let mut seeds = SEEDS_OF_RARE_THINGS.into_iter().chain(0..SEEDS);
    let noticed = seeds.any(|seed| catch_unwind(AssertUnwindSafe(|| live(seed, rules))).is_err());
    assert!(noticed, "{SEEDS} seeds, and nobody noticed");
}

/// By a scene that is the same each time.
fn is_noticed_in(change: impl Fn(&mut Rules), scene: impl Fn(Rules)) {
    let mut rules = Rules::default();
    change(&mut rules);
    assert_ne!(rules, Rules::default());
    assert!(catch_unwind(AssertUnwindSafe(|| scene(rules))).is_err(), "nobody noticed");
}

#[test]
fn nothing_is_acknowledged_before_its_block_is_durable() {
    is_noticed(|rules| rules.acknowledgements_wait_for_the_block = false);
}

#[test]
fn entries_that_segments_have_are_not_applied_again() {
    is_noticed(|rules| rules.applied_entries_are_skipped = false);
}

#[test]
fn a_block_behind_the_end_of_the_chain_is_damage() {
    is_noticed_by(|rules| rules.later_blocks_are_damage = false, bit_flips);
}

#[test]
fn segments_are_synced_before_a_checkpoint_speaks_of_them() {
    is_noticed(|rules| rules.segments_are_synced = false);
}

#[test]
fn names_of_segments_are_synced_before_a_checkpoint_speaks_of_them() {
    is_noticed(|rules| rules.directories_are_synced = false);
}

#[test]
fn index_files_are_synced_before_a_checkpoint_speaks_of_them() {
    is_noticed_in(|rules| rules.indexes_are_synced = false, syncs::indexes_of_a_clean_stop);
}

#[test]
fn a_slot_is_used_again_only_after_the_checkpoint() {
    is_noticed(|rules| rules.slots_wait_for_the_checkpoint = false);
}

#[test]
fn the_slot_of_an_anchor_is_kept() {
    is_noticed_by(|rules| rules.anchors_keep_their_slot = false, crossings);
}

#[test]
fn bytes_that_the_checkpoint_does_not_know_are_cut() {
    is_noticed(|rules| rules.unknown_bytes_are_cut = false);
}

#[test]
fn only_what_is_durable_in_the_journal_is_filled() {
    is_noticed(|rules| rules.only_durable_is_filled = false);
}

#[test]
fn what_leaves_the_tail_is_seen_in_segments_before() {
    is_noticed_in(|rules| rules.segments_are_seen_before_the_tail_goes = false, rules::readers_in_a_pass);
}

#[test]
fn nothing_is_written_after_a_block_that_failed() {
    is_noticed_in(|rules| rules.failed_blocks_are_final = false, rules::refused_block);
}

#[test]
fn a_log_start_is_durable_before_anybody_is_told() {
    is_noticed(|rules| rules.log_starts_are_journaled = false);
}

#[test]
fn a_deletion_is_durable_before_files_go() {
    is_noticed(|rules| rules.deletions_are_journaled = false);
}

#[test]
fn a_checkpoint_has_producers_as_of_the_segments() {
    is_noticed(|rules| rules.producers_are_as_of_the_segments = false);
}

#[test]
fn a_swap_is_durable_before_old_segments_go() {
    is_noticed_by(|rules| rules.swaps_are_synced = false, cut_compactions);
}

#[test]
fn the_name_of_a_swap_is_durable_before_old_segments_go() {
    is_noticed_in(|rules| rules.swap_names_are_synced = false, compact::power_cut_in_a_swap);
}

#[test]
fn gaps_are_known_before_there_are_any() {
    is_noticed_by(|rules| rules.gaps_are_known_before_swaps = false, cut_compactions);
}

#[test]
fn what_does_not_reach_the_next_segment_is_not_compacted() {
    is_noticed_in(|rules| rules.segments_reach_the_next_one = false, holes::compaction_behind_a_loss);
}

#[test]
fn a_reader_skips_no_end_of_a_segment() {
    is_noticed_in(|rules| rules.readers_skip_no_end_of_a_segment = false, holes::reader_across_a_loss);
    is_noticed_in(|rules| rules.readers_skip_no_end_of_a_segment = false, holes::look_ups_across_a_loss);
}

#[test]
fn swaps_that_a_restart_finds_are_finished() {
    is_noticed_by(|rules| rules.swaps_are_finished = false, cut_compactions);
}

#[test]
fn a_checkpoint_in_use_is_never_overwritten() {
    is_noticed_by(|rules| rules.checkpoints_take_turns = false, new_bases);
}

#[test]
fn what_an_index_says_is_verified() {
    is_noticed_by(|rules| rules.look_ups_verify_the_index = false, wrong_indexes);
}

#[test]
fn checksums_are_checked_before_bytes_are_served() {
    is_noticed_by(|rules| rules.checksums_are_checked = false, wrong_batches);
}

#[test]
fn nothing_is_synced_again_after_a_failed_sync() {
    is_noticed_by(|rules| rules.failed_syncs_are_final = false, failed_syncs);
}

#[test]
fn what_a_deletion_takes_out_of_the_tail_holds_the_journal() {
    is_noticed_by(|rules| rules.deletions_hold_the_journal = false, crossings);
}

#[test]
fn the_start_of_an_entry_without_its_end_is_nothing() {
    is_noticed(|rules| rules.unfinished_entries_are_dropped = false);
}

#[test]
fn compaction_stays_below_the_checkpoint() {
    is_noticed_by(|rules| rules.compaction_stays_below_the_checkpoint = false, crossings);
}

#[test]
fn compaction_leaves_alone_what_not_all_replicas_have() {
    is_noticed_in(|rules| rules.compaction_stays_below_the_high_watermark = false, compact::above_the_high_watermark);
}

#[test]
fn retention_leaves_alone_what_not_all_replicas_have() {
    is_noticed_in(
        |rules| rules.retention_stays_below_the_high_watermark = false,
        rules::expired_above_the_high_watermark,
    );
}

#[test]
fn delete_records_leaves_alone_what_not_all_replicas_have() {
    is_noticed_in(
        |rules| rules.delete_records_stays_below_the_high_watermark = false,
        rules::deletion_above_the_high_watermark,
    );
}

#[test]
fn delete_records_leaves_alone_what_is_not_there_yet() {
    is_noticed_in(|rules| rules.delete_records_stays_below_the_durable_end = false, rules::deletion_beyond_the_end);
}

#[test]
fn a_block_follows_only_the_one_whose_checksum_it_has() {
    is_noticed_in(|rules| rules.blocks_are_chained = false, rules::mixed_copies);
}

#[test]
fn what_a_client_sends_is_no_block_of_the_journal() {
    is_noticed_in(|rules| rules.blocks_carry_the_journals_id = false, rules::block_in_a_record);
}

#[test]
fn what_an_earlier_open_began_is_known_by_its_count() {
    is_noticed_in(|rules| rules.opens_are_counted = false, rules::unfinished_entry);
}

#[test]
fn a_second_process_is_kept_out() {
    is_noticed_in(|rules| rules.one_process_has_the_directory = false, rules::second_process);
}

#[test]
fn a_journal_full_of_appends_takes_deletions() {
    is_noticed_in(|rules| rules.a_slot_is_kept_for_what_frees = false, rules::deletions_on_a_full_volume);
}

#[test]
fn what_compaction_wrote_is_read_back_before_it_counts() {
    is_noticed_in(|rules| rules.compacted_segments_are_read_back = false, compact::output_with_a_flipped_bit);
}

#[test]
fn what_is_put_aside_is_durable_before_a_checkpoint_says_so() {
    is_noticed_in(|rules| rules.parked_entries_are_synced = false, parked::put_aside_before_a_power_cut);
}

#[test]
fn what_was_put_aside_twice_comes_back_once() {
    is_noticed_in(|rules| rules.parked_entries_come_once = false, parked::put_aside_twice);
}

#[test]
fn what_was_put_aside_stays_until_a_checkpoint_has_it() {
    is_noticed_in(|rules| rules.parked_entries_wait_for_the_checkpoint = false, parked::taken_over);
}

#[test]
fn a_torn_block_is_the_end_of_the_chain() {
    is_noticed(|rules| rules.torn_blocks_are_no_blocks = false);
}

#[test]
fn a_slot_is_durable_before_it_is_used() {
    is_noticed(|rules| rules.slots_are_durable_before_use = false);
}

#[test]
fn a_journal_full_of_log_starts_takes_deletions_of_topics() {
    is_noticed_in(|rules| rules.last_blocks_are_for_deletions = false, rules::log_starts_on_a_full_volume);
}

#[test]
fn a_topic_is_renamed_before_anything_in_it_goes() {
    is_noticed_in(|rules| rules.topics_are_renamed_before_removal = false, rules::topic_removed_half_way);
}

#[test]
fn a_number_is_never_given_again() {
    is_noticed_by(|rules| rules.numbers_are_given_once = false, crossings);
}

#[test]
fn the_names_of_slots_that_a_start_finds_are_durable() {
    is_noticed_in(|rules| rules.found_slots_are_durable_before_use = false, rules::slots_of_a_killed_process);
}

#[test]
fn a_torn_block_takes_no_older_one_with_it() {
    is_noticed_in(|rules| rules.blocks_have_sectors_of_their_own = false, rules::torn_sector);
}
