//! Reads every byte of a data directory's logs and says what it found, without changing any.
//!
//! Invariant: nothing is written but the lock file, so it is safe on a copy, a snapshot or a directory that a broker refuses. It trusts no
//! index, and of the checkpoint only how far each log reaches: what it calls whole was read and checked. Repairing is nobody's task here.
//!
//! How it agrees with a start, which reads no segment, and with the readers after it:
//!
//! - journal and checkpoint are damaged for both or for none;
//! - a log that is whole here opens, has the same start and end there, and is read to its end;
//! - a log that does not open there is damaged here;
//! - a log that is damaged here and opens there goes offline when its damage is read. What no reader comes to is damage here only: what lies below the log
//!   start, and bytes that are no batch at the end of a segment that another one follows.

use std::io;
use std::path::Path;
use std::sync::Arc;

use kennet_protocol::record::BatchHeader;
use kennet_protocol::{Offset, PartitionIndex, Uuid};

use crate::error::OpenError;
use crate::fs::FileSystem;
use crate::journal::entry::Entry;
use crate::layout;
use crate::partition::{RecoveredLog, parked};
use crate::recovery;
use crate::rules::Rules;
use crate::scan::BatchScan;

/// One partition, read from its first byte to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReport {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The topic's name, as the directory has it.
    pub topic: Option<String>,
    /// The partition's index.
    pub partition: PartitionIndex,
    /// Segments.
    pub segments: usize,
    /// Intact batches.
    pub batches: u64,
    /// Records that they say they have.
    pub records: u64,
    /// Bytes of intact batches.
    pub bytes: u64,
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The offset behind the last intact batch.
    pub log_end: Offset,
    /// Bytes of an append that was never finished; the next start cuts them.
    pub unfinished_bytes: u64,
    /// Below this, compaction may have removed batches.
    pub gaps_below: Offset,
    /// What is damaged and where; a broker takes the partition offline.
    pub damage: Option<String>,
}

/// Verifies all partitions below a data directory that no broker uses, and calls `each` with what it found, in order of topic and partition.
/// Returns what is damaged of what they share, the journal and the checkpoint: what the partitions' reports say is incomplete then.
///
/// # Errors
/// When a broker uses the directory, or the system refuses something.
pub fn verify(
    fs: &Arc<dyn FileSystem>,
    root: &Path,
    mut each: impl FnMut(&PartitionReport),
) -> Result<Option<String>, OpenError> {
    let refused = |source: io::Error| OpenError::Io { path: root.to_owned(), source };
    let _lock = fs.lock(&root.join(layout::LOCK)).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { path: root.to_owned() },
        _ => refused(error),
    })?;
    let (reports, damage) = look(fs, root).map_err(refused)?;
    reports.iter().for_each(&mut each);
    Ok(damage)
}

/// The reports, in order, and what is damaged of what they share.
pub(crate) fn look(fs: &Arc<dyn FileSystem>, root: &Path) -> io::Result<(Vec<PartitionReport>, Option<String>)> {
    let (mut logs, damage) = recovery::look(fs, root)?;
    logs.sort_by_key(|log| (log.checkpoint.id.topic_id.to_string(), log.checkpoint.id.partition));
    let mut reports = Vec::with_capacity(logs.len());
    for mut log in logs {
        let unreadable = parked::add_entries(fs.as_ref(), root, &mut log, Rules::default()).err();
        let mut report = PartitionReport::empty(&log);
        report.read(fs.as_ref(), root, &log)?;
        report.damage = report.damage.or(unreadable.map(|error| error.to_string()));
        reports.push(report);
    }
    Ok((reports, damage))
}

impl PartitionReport {
    fn empty(log: &RecoveredLog) -> Self {
        let checkpoint = &log.checkpoint;
        Self {
            topic_id: checkpoint.id.topic_id,
            topic: Some(checkpoint.topic.to_string()),
            partition: checkpoint.id.partition,
            segments: 0,
            batches: 0,
            records: 0,
            bytes: 0,
            log_start: log.log_start(),
            log_end: Offset(0),
            unfinished_bytes: 0,
            gaps_below: Offset(0),
            damage: None,
        }
    }

    fn read(&mut self, fs: &dyn FileSystem, root: &Path, log: &RecoveredLog) -> io::Result<()> {
        let checkpoint = &log.checkpoint;
        let directory = layout::partition(root, checkpoint.id.topic_id, checkpoint.id.partition);
        // a compacted segment that had not come to its own name counts already, and those that it replaces do not
        let (swaps, _) = layout::remains(fs, &directory, checkpoint.is_parked)?;
        let mut found = layout::segments(fs, &directory)?;
        for swap in &swaps {
            found.retain(|(base, _)| !swap.replaces(*base));
            found.push((swap.base, swap.length));
        }
        found.sort_unstable();
        self.gaps_below = checkpoint.compaction.gaps_below;
        self.log_end = checkpoint.next_offset;
        if let Some(last) = checkpoint.last.filter(|_| checkpoint.next_offset > self.log_start) {
            let known: Vec<_> = found.iter().copied().filter(|(base, _)| *base <= last.base).collect();
            // those that lie below the log start were deleted; a power cut may have brought their names back
            let deleted = known.windows(2).take_while(|pair| pair[1].0 <= self.log_start).count();
            let known = &known[deleted..];
            self.log_end = known.first().map_or(checkpoint.next_offset, |(base, _)| *base);
            if known.last().is_none_or(|(base, _)| *base != last.base) || self.log_end > self.log_start {
                self.damage = Some(format!("a segment of {} is missing", directory.display()));
            }
            for (base, length) in known {
                let durable = if *base == last.base { last.length } else { *length };
                let swap = swaps.iter().find(|swap| swap.base == *base);
                let own = layout::segment(&directory, *base, "log");
                let path = swap.map_or(own, |swap| layout::swap(&directory, swap.base, swap.end));
                self.read_segment(fs, &path, *base, *length, durable)?;
            }
        }
        let known_end = checkpoint.last.map(|last| last.base);
        let unknown = found.iter().filter(|(base, _)| known_end.is_none_or(|end| *base > end));
        self.unfinished_bytes += unknown.map(|(_, length)| length).sum::<u64>();
        if self.damage.is_none() && self.log_end != checkpoint.next_offset {
            let (end, expected) = (self.log_end, checkpoint.next_offset);
            self.damage = Some(format!("the segments end at offset {end}, but {expected} is what they had"));
        }
        self.read_journal(log);
        Ok(())
    }

    fn read_segment(
        &mut self,
        fs: &dyn FileSystem,
        path: &Path,
        base: Offset,
        length: u64,
        durable: u64,
    ) -> io::Result<()> {
        if self.damage.is_some() {
            return Ok(());
        }
        self.segments += 1;
        if length < durable {
            self.damage = Some(format!("{} has {length} bytes, but {durable} were durable", path.display()));
            return Ok(());
        }
        self.unfinished_bytes += length - durable;
        if base != self.log_end {
            self.damage = Some(format!("{} follows offset {}", path.display(), self.log_end));
            return Ok(());
        }
        let file = fs.open(path)?;
        let mut scan = BatchScan::new(file.as_ref(), 0, durable);
        let mut end = 0;
        while let Some((_, batch)) = scan.next()? {
            let base = batch.header().base_offset;
            let follows = base == self.log_end || (base > self.log_end && base <= self.gaps_below);
            if !follows {
                break;
            }
            self.note(batch.header());
            end = scan.position();
        }
        self.bytes += end;
        if end < durable {
            let offset = self.log_end;
            self.damage = Some(format!("{} is damaged at byte {end} (offset {offset})", path.display()));
        }
        Ok(())
    }

    /// Batches that are only in the journal follow those in segments.
    fn read_journal(&mut self, log: &RecoveredLog) {
        for (number, entry) in &log.entries {
            let Entry::Append { batch, .. } = entry else { continue };
            if self.damage.is_some() {
                return;
            }
            // deleted, and known to be by a checkpoint that may be ahead of its entries
            if batch.header.next_offset() <= self.log_start {
                self.log_end = self.log_end.max(batch.header.next_offset());
                continue;
            }
            if batch.header.base_offset != self.log_end {
                let (end, found) = (self.log_end, batch.header.base_offset);
                self.damage = Some(format!("entry {number} of the journal has offset {found}, but {end} follows"));
                return;
            }
            self.note(&batch.header);
            self.bytes += crate::scan::to_u64(batch.length());
        }
        if self.damage.is_none() {
            self.log_end = self.log_end.max(self.log_start);
        }
    }

    fn note(&mut self, header: &BatchHeader) {
        self.batches += 1;
        self.records += u64::try_from(header.record_count).unwrap_or(0);
        self.log_end = header.next_offset();
    }
}
