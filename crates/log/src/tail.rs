//! The newest batches of a log: in the journal or on their way there, in memory, not yet in segments.
//!
//! Invariant: batches are in offset order, and their journal entries rise with them. A producer that has batches here is remembered as it was
//! before them, so that a checkpoint of what lies in segments can say exactly what those imply.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;
use kennet_protocol::record::{BatchHeader, HEADER_LENGTH, StampedBatch};
use kennet_protocol::{LeaderEpoch, Offset, ProducerId};

use crate::producers::{Producer, Producers};

/// A batch in the tail.
#[derive(Debug, Clone)]
pub(crate) struct TailBatch {
    pub(crate) batch: StampedBatch,
    /// Its entry in the journal.
    pub(crate) entry: u64,
    /// Whether a new segment begins with it.
    pub(crate) starts_segment: bool,
    /// Bytes of memory that it keeps, beside [`BATCH_OVERHEAD`].
    pub(crate) held: usize,
}

/// What a batch takes of the memory beside its bytes, roughly: here, in the journal's queue, and of the allocator.
pub(crate) const BATCH_OVERHEAD: usize = 256;

impl TailBatch {
    /// What is charged for it.
    fn charge(&self) -> usize {
        self.held + BATCH_OVERHEAD
    }
}

/// A producer as of the end of the segments.
#[derive(Debug)]
struct Written {
    /// None when it was not known.
    producer: Option<Producer>,
    batches_in_tail: usize,
}

/// What was taken out of a tail.
pub(crate) struct Released {
    /// Bytes of memory that are free with it.
    pub(crate) freed: usize,
    /// Its producers, as of the new end of what is in segments.
    pub(crate) changed: Producers,
    /// The batches themselves, to be given up without the log's lock: each has memory of its own.
    pub(crate) batches: Vec<TailBatch>,
}

/// The tail of one log.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: VecDeque<TailBatch>,
    bytes: usize,
    /// Memory that the batches keep.
    held: usize,
    written: HashMap<ProducerId, Written>,
}

/// Batches copied out of the tail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TailRead {
    pub(crate) bytes: Bytes,
    pub(crate) next_offset: Offset,
    pub(crate) last_epoch: LeaderEpoch,
}

impl Tail {
    /// Adds a batch; `before` is what is known of its producer without it.
    pub(crate) fn push(&mut self, batch: TailBatch, before: Option<&Producer>) {
        let id = batch.batch.header.producer_id;
        if id.0 >= 0 {
            let written =
                self.written.entry(id).or_insert_with(|| Written { producer: before.cloned(), batches_in_tail: 0 });
            written.batches_in_tail += 1;
        }
        self.bytes += batch.batch.length();
        self.held += batch.charge();
        self.batches.push_back(batch);
    }

    pub(crate) fn front(&self) -> Option<&TailBatch> {
        self.batches.front()
    }

    /// Whether a segment begins in it behind another batch.
    pub(crate) fn has_sealed(&self) -> bool {
        self.batches.iter().skip(1).any(|batch| batch.starts_segment)
    }

    /// What they will take in segments.
    pub(crate) fn segment_bytes(&self) -> usize {
        self.bytes
    }

    /// Memory that its batches keep.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held
    }

    /// The headers of all batches.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &BatchHeader> {
        self.batches.iter().map(|batch| &batch.batch.header)
    }

    /// Batches from the one that holds `offset` on.
    pub(crate) fn from(&self, offset: Offset) -> impl Iterator<Item = &TailBatch> {
        let first = self.batches.partition_point(|batch| batch.batch.header.last_offset() < offset);
        self.batches.range(first..)
    }

    /// How many of the oldest batches have durable entries, and so may be written to segments.
    pub(crate) fn count_durable(&self, durable_entry: u64) -> usize {
        self.batches.partition_point(|batch| batch.entry <= durable_entry)
    }

    /// Some batches, counted from the oldest.
    pub(crate) fn range(&self, range: Range<usize>) -> Vec<TailBatch> {
        self.batches.range(range).cloned().collect()
    }

    /// Takes the oldest batches out, which are in segments now.
    pub(crate) fn release(&mut self, count: usize) -> Released {
        let mut freed = 0;
        let mut changed = Producers::default();
        let batches: Vec<_> = self.batches.drain(..count).collect();
        if self.batches.len() < self.batches.capacity() / 4 {
            // at most twice what is there moves, and it is half as much each time
            self.batches.shrink_to(2 * self.batches.len());
        }
        for taken in &batches {
            freed += taken.charge();
            let batch = &taken.batch;
            self.bytes -= batch.length();
            let id = batch.header.producer_id;
            let Some(written) = self.written.get_mut(&id) else { continue };
            let mut as_of = Producers::default();
            if let Some(producer) = written.producer.take() {
                as_of.restore(id, producer);
            }
            as_of.note(&batch.header, batch.header.max_timestamp);
            written.producer = as_of.get(id).cloned();
            written.batches_in_tail -= 1;
            let is_last = written.batches_in_tail == 0;
            changed.extend(as_of);
            if is_last {
                self.written.remove(&id);
            }
        }
        self.held -= freed;
        Released { freed, changed, batches }
    }

    /// Takes out the batches that end at or before `offset`, because they are deleted; returns the memory that is free, and the producers
    /// that they imply all the same.
    pub(crate) fn delete_below(&mut self, offset: Offset, durable_entry: u64) -> (usize, Producers) {
        let gone = |batch: &&TailBatch| batch.batch.header.next_offset() <= offset && batch.entry <= durable_entry;
        let count = self.batches.iter().take_while(gone).count();
        let Released { freed, changed, .. } = self.release(count);
        if count > 0
            && let Some(front) = self.batches.front_mut()
        {
            front.starts_segment = true;
        }
        (freed, changed)
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) -> usize {
        self.batches.clear();
        self.written.clear();
        self.bytes = 0;
        std::mem::take(&mut self.held)
    }
}

/// Copies whole batches that start below `upper` into one buffer of at most `bytes_max`, or of the first one.
pub(crate) fn copy_out<'a>(
    batches: impl Iterator<Item = &'a TailBatch>,
    upper: Offset,
    bytes_max: usize,
    one_batch_at_least: bool,
) -> Option<TailRead> {
    let mut taken: Vec<&StampedBatch> = Vec::new();
    let mut bytes = 0;
    for TailBatch { batch, .. } in batches.take_while(|batch| batch.batch.header.base_offset < upper) {
        let fits = bytes + batch.length() <= bytes_max || (taken.is_empty() && one_batch_at_least);
        if !fits {
            break;
        }
        bytes += batch.length();
        taken.push(batch);
    }
    let last = taken.last()?.header;
    let mut copied = BytesMut::with_capacity(bytes);
    for batch in taken {
        let header: [u8; HEADER_LENGTH] = batch.header.to_bytes();
        copied.extend_from_slice(&header);
        copied.extend_from_slice(&batch.payload);
    }
    Some(TailRead { bytes: copied.freeze(), next_offset: last.next_offset(), last_epoch: last.partition_leader_epoch })
}
