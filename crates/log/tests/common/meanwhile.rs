//! What other threads do while the filler is at work, without threads: between the calls of a pass the world goes on by chance.
//!
//! Invariant: nothing here waits for what the pass holds, or it would wait for ever. Of a log that is being written nothing is deleted, and a deletion waits
//! for the journal only when that has room, since there is no second pass to make some.

use std::sync::{Arc, Mutex, PoisonError};

use super::NOW;
use super::model::ModelLog;
use super::world::World;

/// What is done before one call at most: enough for the journal to pass the end of a slot, which has eight small blocks.
const STEPS_MAX: u8 = 16;
/// Blocks that make all durable that others have appended before one call.
const BLOCKS_MAX: usize = 4;

/// When the world goes on, and what is appended to.
#[derive(Clone, Copy)]
struct Crossing {
    /// Only then is all in segments that the checkpoint will speak of, and where a restart has to read is known: what is journaled lies behind it.
    while_checkpoint_is_written: bool,
    /// Else what other logs have in the journal mostly keeps what this one has there.
    only_log: Option<usize>,
}

impl World {
    /// A pass over all logs, or as the journal needs it, which appends, the journal, deletions and compaction cross.
    pub(crate) fn crossed(&mut self, all: bool) {
        let while_checkpoint_is_written = self.random.bool();
        let only_log = self.random.bool().then(|| self.random.usize(..self.logs.len()));
        let crossing = Crossing { while_checkpoint_is_written, only_log };
        let aside = Arc::new(Mutex::new(self.step_aside()));
        let between = Arc::clone(&aside);
        self.directory.grow();
        self.disk.set_meanwhile(Box::new(move || {
            let mut world = between.lock().unwrap_or_else(PoisonError::into_inner);
            if !world.disk.is_off() {
                world.go_on(crossing);
            }
        }));
        if all {
            self.directory.fill();
        } else {
            self.directory.fill_without_growing();
        }
        self.disk.end_meanwhile();
        self.come_back(&mut aside.lock().unwrap_or_else(PoisonError::into_inner));
        if self.random.bool() {
            // as the filler's thread does when more is to be done
            self.directory.fill_as_needed();
        }
        self.logs.iter_mut().for_each(ModelLog::note);
    }

    /// The world as it goes on while this one waits for a pass.
    fn step_aside(&mut self) -> Self {
        Self {
            disk: self.disk.clone(),
            directory: Arc::clone(&self.directory),
            logs: std::mem::take(&mut self.logs),
            random: self.random.fork(),
            rules: self.rules,
            epoch: self.epoch,
            topics: self.topics,
            deleted: std::mem::take(&mut self.deleted),
            compactions: self.compactions,
        }
    }

    fn come_back(&mut self, aside: &mut Self) {
        self.logs = std::mem::take(&mut aside.logs);
        self.topics = aside.topics;
        self.deleted = std::mem::take(&mut aside.deleted);
        self.compactions = aside.compactions;
    }

    /// What others do before one call of a pass: mostly nothing, now and then much.
    fn go_on(&mut self, Crossing { while_checkpoint_is_written, only_log }: Crossing) {
        let is_time = !while_checkpoint_is_written || self.directory.checkpoint_is_being_written();
        if is_time && self.random.u8(..4) == 0 {
            for _ in 0..self.random.u8(1..=STEPS_MAX) {
                let at = only_log.unwrap_or_else(|| self.random.usize(..self.logs.len()));
                self.step_meanwhile(at);
            }
        }
    }

    fn step_meanwhile(&mut self, at: usize) {
        match self.random.u8(..100) {
            0..35 => {
                for _ in 0..self.random.usize(1..=6) {
                    self.append(at);
                }
            }
            35..70 => drop(self.journal(1)),
            70..74 => self.logs[at].log.roll(NOW),
            _ if self.logs[at].log.is_being_written() => {}
            74..97 => self.delete_meanwhile(at),
            _ if self.directory.checkpoint_is_being_written() => {}
            _ => drop(self.compact_once(at)),
        }
    }

    /// Writes blocks of the journal as far as it has slots; true when one more entry can be waited for.
    fn journal(&mut self, blocks: usize) -> bool {
        let may_grow = self.random.u8(..4) > 0;
        let mut has_room = false;
        for _ in 0..blocks {
            has_room = self.directory.step_without_filling(may_grow);
        }
        self.logs.iter_mut().for_each(ModelLog::note);
        has_room
    }

    fn delete_meanwhile(&mut self, at: usize) {
        if !self.journal(BLOCKS_MAX) {
            return;
        }
        match self.random.u8(..20) {
            0..16 => self.delete_records(at),
            16..18 => self.apply_retention(at),
            _ if self.directory.is_opening_a_log() => {}
            _ => self.replace(at),
        }
    }
}
