//! The rules that keep acknowledged records, each with a switch that only tests can turn: a test that does not notice is no test of the rule.

/// Which rules are kept. All, outside of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Rules {
    /// An entry counts as durable when its block is, and not before.
    pub acknowledgements_wait_for_the_block: bool,
    /// A restart applies only the entries that a log's segments do not have.
    pub applied_entries_are_skipped: bool,
    /// What is in segments is durable before a checkpoint speaks of it.
    pub segments_are_synced: bool,
    /// The names of new segments are durable before a checkpoint speaks of them.
    pub directories_are_synced: bool,
    /// Index files are durable before a checkpoint says that they are there.
    pub indexes_are_synced: bool,
    /// A slot is used again only when the checkpoint that makes it needless is durable.
    pub slots_wait_for_the_checkpoint: bool,
    /// The slot that a checkpoint's anchor lies in stays in use when the journal has moved on before the checkpoint is durable.
    pub anchors_keep_their_slot: bool,
    /// A restart cuts what lies behind the bytes that the checkpoint knows.
    pub unknown_bytes_are_cut: bool,
    /// Only what is durable in the journal is written to segments.
    pub only_durable_is_filled: bool,
    /// Readers see what is in segments before it leaves the tail.
    pub segments_are_seen_before_the_tail_goes: bool,
    /// After a block that could not be written nothing is written any more: what is on the disk is unknown.
    pub failed_blocks_are_final: bool,
    /// A new log start is durable before anybody is told and before anything is removed.
    pub log_starts_are_journaled: bool,
    /// A deletion is durable before files go.
    pub deletions_are_journaled: bool,
    /// A block that follows the end of the chain is damage.
    pub later_blocks_are_damage: bool,
    /// A checkpoint has a log's producers as of the end of its segments, not of its tail.
    pub producers_are_as_of_the_segments: bool,
    /// What is in a compacted segment is durable before those that it replaces go.
    pub swaps_are_synced: bool,
    /// The name of a compacted segment, which says what it replaces, is durable before that goes.
    pub swap_names_are_synced: bool,
    /// A checkpoint says where gaps may be before compaction makes one.
    pub gaps_are_known_before_swaps: bool,
    /// Compaction leaves a segment alone that does not reach the next one: in what it wrote the loss would be no different from what it took out.
    pub segments_reach_the_next_one: bool,
    /// Readers go on to the next segment only where it begins: behind a loss they would take the rest for what compaction took out.
    pub readers_skip_no_end_of_a_segment: bool,
    /// A restart finishes the swaps that it finds.
    pub swaps_are_finished: bool,
    /// A new base of the checkpoint goes to the file that is not in use.
    pub checkpoints_take_turns: bool,
    /// What an index says is believed only if a batch is there.
    pub look_ups_verify_the_index: bool,
    /// A batch is served only if its checksum holds.
    pub checksums_are_checked: bool,
    /// After a sync that failed nothing is synced again.
    pub failed_syncs_are_final: bool,
    /// What a deletion takes out of the tail stays in the journal until a checkpoint has the deletion.
    pub deletions_hold_the_journal: bool,
    /// The start of an entry that a restart finds without its end is nothing.
    pub unfinished_entries_are_dropped: bool,
    /// Compaction keeps below what a durable checkpoint has.
    pub compaction_stays_below_the_checkpoint: bool,
    /// Compaction leaves alone what not all replicas have.
    pub compaction_stays_below_the_high_watermark: bool,
    /// Retention leaves alone what not all replicas have.
    pub retention_stays_below_the_high_watermark: bool,
    /// DeleteRecords leaves alone what not all replicas have.
    pub delete_records_stays_below_the_high_watermark: bool,
    /// A log never starts behind what it has, whatever the high watermark is elsewhere: what is appended there later would be deleted already.
    pub delete_records_stays_below_the_durable_end: bool,
    /// A block follows another only if it has that one's checksum, and not for its sequence alone.
    pub blocks_are_chained: bool,
    /// A block counts only with the journal's secret id, which nothing that a client sends can have.
    pub blocks_carry_the_journals_id: bool,
    /// The open count is raised and durable before the first block, so that what an earlier open began is known for that.
    pub opens_are_counted: bool,
    /// Only one process at a time has the directory.
    pub one_process_has_the_directory: bool,
    /// A slot of the journal is kept from appends, for entries that free something.
    pub a_slot_is_kept_for_what_frees: bool,
    /// What compaction wrote takes no segment's place before it was read back as it was written.
    pub compacted_segments_are_read_back: bool,
    /// The entries of a log that is put aside are durable in their file before a checkpoint says so.
    pub parked_entries_are_synced: bool,
    /// Of entries that were put aside only those are applied that the checkpoint knows of; the journal has the others.
    pub parked_entries_come_once: bool,
    /// The file of entries that were put aside stays until a durable checkpoint says that they are in segments.
    pub parked_entries_wait_for_the_checkpoint: bool,
    /// A block counts only with all of its content.
    pub torn_blocks_are_no_blocks: bool,
    /// A slot is there, durably, before anything is written to it.
    pub slots_are_durable_before_use: bool,
    /// The last blocks of the journal are for deletions of topics alone, which free more than a new log start may.
    pub last_blocks_are_for_deletions: bool,
    /// A topic's directory is renamed away before anything in it is removed, so that a crash leaves all of it or what the next start removes.
    pub topics_are_renamed_before_removal: bool,
    /// An entry of a log that was never created is damage.
    pub entries_of_no_log_are_damage: bool,
    /// A log's number is never given to another one, whatever became of the log.
    pub numbers_are_given_once: bool,
    /// The names of the slots that a start finds are durable before one of them is used.
    pub found_slots_are_durable_before_use: bool,
    /// A block has sectors of its own, so that a torn one takes no older one with it.
    pub blocks_have_sectors_of_their_own: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            acknowledgements_wait_for_the_block: true,
            applied_entries_are_skipped: true,
            segments_are_synced: true,
            directories_are_synced: true,
            indexes_are_synced: true,
            slots_wait_for_the_checkpoint: true,
            anchors_keep_their_slot: true,
            unknown_bytes_are_cut: true,
            only_durable_is_filled: true,
            segments_are_seen_before_the_tail_goes: true,
            failed_blocks_are_final: true,
            log_starts_are_journaled: true,
            deletions_are_journaled: true,
            later_blocks_are_damage: true,
            producers_are_as_of_the_segments: true,
            swaps_are_synced: true,
            swap_names_are_synced: true,
            gaps_are_known_before_swaps: true,
            segments_reach_the_next_one: true,
            readers_skip_no_end_of_a_segment: true,
            swaps_are_finished: true,
            checkpoints_take_turns: true,
            look_ups_verify_the_index: true,
            checksums_are_checked: true,
            failed_syncs_are_final: true,
            deletions_hold_the_journal: true,
            unfinished_entries_are_dropped: true,
            compaction_stays_below_the_checkpoint: true,
            compaction_stays_below_the_high_watermark: true,
            retention_stays_below_the_high_watermark: true,
            delete_records_stays_below_the_high_watermark: true,
            delete_records_stays_below_the_durable_end: true,
            blocks_are_chained: true,
            blocks_carry_the_journals_id: true,
            opens_are_counted: true,
            one_process_has_the_directory: true,
            a_slot_is_kept_for_what_frees: true,
            compacted_segments_are_read_back: true,
            parked_entries_are_synced: true,
            parked_entries_come_once: true,
            parked_entries_wait_for_the_checkpoint: true,
            torn_blocks_are_no_blocks: true,
            slots_are_durable_before_use: true,
            last_blocks_are_for_deletions: true,
            topics_are_renamed_before_removal: true,
            entries_of_no_log_are_damage: true,
            numbers_are_given_once: true,
            found_slots_are_durable_before_use: true,
            blocks_have_sectors_of_their_own: true,
        }
    }
}
