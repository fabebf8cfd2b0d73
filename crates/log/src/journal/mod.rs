//! The journal: where everything becomes durable first, in one stream for all logs of a data directory.
//!
//! Slots are files of one size with all their space, written block after block and used again when their entries are in segments. The writer
//! makes entries durable; replay reads them back; the ledger knows which slots are needed. What an entry means is the directory's matter.

pub(crate) mod block;
pub(crate) mod entry;
pub(crate) mod ledger;
pub(crate) mod replay;
pub(crate) mod writer;

use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// Sizes of a journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JournalLimits {
    /// Bytes of a slot.
    pub(crate) slot_bytes: u64,
    /// Slots that there may be.
    pub(crate) slots_max: usize,
    /// A block has at most so many bytes.
    pub(crate) block_bytes_max: usize,
    /// Blocks start at multiples of this.
    pub(crate) alignment: usize,
}

const DIRECTORY: &str = "journal";

pub(crate) fn slots_directory(root: &Path) -> PathBuf {
    root.join(DIRECTORY)
}

pub(crate) fn slot_path(root: &Path, slot: u32) -> PathBuf {
    slots_directory(root).join(format!("{slot:08}"))
}

pub(crate) fn slot_number(name: &str) -> Option<u32> {
    let plain = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| name.parse().ok()).flatten()
}
