//! The metadata log of a single node: one file of checksummed appends and one snapshot, in `quorum/`.
//!
//! Invariant: an append is there whole or not at all, and nothing that was committed is ever cut. A tail that does not
//! check is cleared only when no intact append follows it.
//!
//! The file is longer than what was appended: zeros are written ahead, so that a start and the changes that make room (lower
//! retention, deleted topics) find blocks of their own on a volume that is full.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kennet_log::fs::{File, FileSystem, is_full, read_file, replace_file};
use kennet_metadata::{Image, Loaded, MetadataLog, MetadataLogError, Record};

const DIRECTORY: &str = "quorum";
const LOG: &str = "metadata.log";
const SNAPSHOT: &str = "snapshot";
/// Length and checksum in front of each append.
const FRAME: usize = 8;
/// Metadata of a hundred thousand partitions is some ten MiB; more than this is no metadata of ours.
const FILE_BYTES_MAX: usize = 1 << 30;
/// The log is folded into a snapshot when it is larger than this and than the snapshot.
const SNAPSHOT_FROM_BYTES: u64 = 1 << 20;

/// Zeros that are kept ahead of the log: a few hundred small changes, or a thousand restarts.
const RESERVE_BYTES: u64 = 128 << 10;

/// The rules that keep what was committed, each with a switch that only tests can turn: a test that does not notice is no test of the rule.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct Rules {
    /// An append is answered when it is durable, and not before.
    appends_are_synced: bool,
    /// After a write or sync that failed nothing more is written.
    failures_are_final: bool,
    /// What does not check is no torn end when an intact append follows it.
    later_appends_are_damage: bool,
    /// A snapshot takes the older one's place as a whole.
    snapshots_are_replaced: bool,
    /// Records that the snapshot has are not applied again.
    applied_records_are_skipped: bool,
    /// What was torn is cleared before anything is appended, so that no rest of it lies behind what takes its place.
    torn_ends_are_cleared: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            appends_are_synced: true,
            failures_are_final: true,
            later_appends_are_damage: true,
            snapshots_are_replaced: true,
            applied_records_are_skipped: true,
            torn_ends_are_cleared: true,
        }
    }
}

/// The file implementation of [`MetadataLog`].
pub(crate) struct FileMetadataLog {
    fs: Arc<dyn FileSystem>,
    log: Arc<dyn File>,
    directory: PathBuf,
    position: u64,
    /// The file's length: its blocks are there, durably, from `position` on as zeros.
    allocated: u64,
    committed: i64,
    snapshot_bytes: u64,
    /// What failed behind the last append: nothing is appended any more.
    broken: Option<String>,
    rules: Rules,
}

impl FileMetadataLog {
    /// Opens the log below a data directory and reads what it holds.
    ///
    /// # Errors
    /// When it is damaged, or the system refuses something.
    pub(crate) fn open(fs: Arc<dyn FileSystem>, data_directory: &Path) -> Result<(Self, Loaded), MetadataLogError> {
        Self::open_with(fs, data_directory, Rules::default())
    }

    fn open_with(
        fs: Arc<dyn FileSystem>,
        data_directory: &Path,
        rules: Rules,
    ) -> Result<(Self, Loaded), MetadataLogError> {
        let directory = data_directory.join(DIRECTORY);
        let path = directory.join(LOG);
        let refused = |source| io_error(&path, source);
        fs.create_directory(&directory).map_err(refused)?;
        // all that is committed later lies below this name
        fs.sync_directory(data_directory).map_err(refused)?;
        let snapshot = read_file(fs.as_ref(), &directory.join(SNAPSHOT), FILE_BYTES_MAX).map_err(refused)?;
        let snapshot_bytes = snapshot.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let mut image = Image::default();
        let (mut committed, mut removed_topics) = (-1, Vec::new());
        if let Some(bytes) = snapshot {
            let path = directory.join(SNAPSHOT);
            let bytes = Bytes::from(bytes);
            let append = read_frame(&bytes, 0).ok_or_else(|| damaged(&path, 0, "its checksum does not hold"))?;
            let mut take = |record: Record| -> Result<(), MetadataLogError> { Ok(image.apply(&record)?) };
            committed = read_records(&append.body, &mut take, -1, &path, true, rules)?;
        }
        let bytes = Bytes::from(read_file(fs.as_ref(), &path, FILE_BYTES_MAX).map_err(refused)?.unwrap_or_default());
        let mut at = 0;
        let mut take = |record: Record| -> Result<(), MetadataLogError> {
            if let Record::RemoveTopic(fields) = &record {
                removed_topics.push(fields.topic_id);
            }
            Ok(image.apply(&record)?)
        };
        while let Some(append) = read_frame(&bytes, at) {
            committed = read_records(&append.body, &mut take, committed, &path, false, rules)?;
            at = append.end;
        }
        let log = fs.create(&path).map_err(refused)?;
        let position = u64::try_from(at).unwrap_or(u64::MAX);
        let bytes_cut = bytes[at..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if bytes_cut > 0 {
            let is_later = |from| read_frame(&bytes, from).is_some();
            if rules.later_appends_are_damage && (at + 1..bytes.len()).any(is_later) {
                return Err(damaged(&path, position, "intact records follow"));
            }
            if rules.torn_ends_are_cleared {
                // in place: its blocks stay ours
                let zeros = vec![0; bytes_cut];
                log.write_at(&[IoSlice::new(&zeros)], position).and_then(|()| log.sync()).map_err(refused)?;
            }
        }
        fs.sync_directory(&directory).map_err(refused)?;
        let allocated = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let mut opened =
            Self { fs, log, directory, position, allocated, committed, snapshot_bytes, broken: None, rules };
        opened.reserve_ahead()?;
        let bytes_cut = u64::try_from(bytes_cut).unwrap_or(u64::MAX);
        Ok((opened, Loaded { image, removed_topics, bytes_cut }))
    }

    /// Keeps the reserve filled, as far as the volume has room.
    fn reserve_ahead(&mut self) -> Result<(), MetadataLogError> {
        if self.allocated - self.position >= RESERVE_BYTES / 2 {
            return Ok(());
        }
        match self.allocate(self.position + RESERVE_BYTES) {
            Err(MetadataLogError::Full { .. }) => Ok(()),
            other => other,
        }
    }

    /// Writes zeros up to `end`, durably. No byte of the log itself is touched, so after a full volume it may be tried again.
    fn allocate(&mut self, end: u64) -> Result<(), MetadataLogError> {
        if end <= self.allocated {
            return Ok(());
        }
        let path = self.path();
        let zeros = usize::try_from(end - self.allocated).map_err(|error| io_error(&path, io::Error::other(error)))?;
        let written = self.log.write_at(&[IoSlice::new(&vec![0; zeros])], self.allocated);
        written.map_err(|source| full_or_io(&path, source))?;
        // also for lack of room a sync that failed is not repeated: the next one would report success
        self.log.sync().map_err(|source| io_error(&path, source))?;
        self.allocated = end;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.directory.join(LOG)
    }
}

impl MetadataLog for FileMetadataLog {
    fn append(&mut self, records: &[Record]) -> Result<i64, MetadataLogError> {
        let path = self.path();
        if let Some(reason) = &self.broken {
            return Err(io_error(&path, io::Error::other(reason.clone())));
        }
        let frame = encode_append(self.committed + 1, records)?;
        let length = u64::try_from(frame.len()).map_err(|error| io_error(&path, io::Error::other(error)))?;
        self.allocate(self.position + length)?;
        self.log
            .write_at(&[IoSlice::new(&frame)], self.position)
            .and_then(|()| if self.rules.appends_are_synced { self.log.sync() } else { Ok(()) })
            .map_err(|source| io_error(&path, source))?;
        self.position += length;
        self.committed += i64::try_from(records.len()).unwrap_or(i64::MAX);
        // what was appended is durable whatever becomes of the reserve
        if let Err(error) = self.reserve_ahead() {
            tracing::error!(%error, "no room could be reserved for metadata");
            self.broken = Some(error.to_string()).filter(|_| self.rules.failures_are_final);
        }
        Ok(self.committed)
    }

    fn committed_offset(&self) -> i64 {
        self.committed
    }

    fn wants_snapshot(&self) -> bool {
        self.position > SNAPSHOT_FROM_BYTES.max(self.snapshot_bytes)
    }

    fn write_snapshot(&mut self, image: &Image) -> Result<(), MetadataLogError> {
        let path = self.directory.join(SNAPSHOT);
        let records = image.to_records();
        // a snapshot's records stand for all up to the committed one
        let frame = encode_append(self.committed, &records)?;
        let replaced = match self.rules.snapshots_are_replaced {
            true => replace_file(self.fs.as_ref(), &path, &frame),
            false => write_in_place(self.fs.as_ref(), &path, &frame),
        };
        replaced.map_err(|source| full_or_io(&path, source))?;
        // a crash before this leaves records that the snapshot has already; they are skipped by their offsets
        self.log.set_length(0).and_then(|()| self.log.sync()).map_err(|source| io_error(&self.path(), source))?;
        (self.position, self.allocated) = (0, 0);
        self.snapshot_bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        self.reserve_ahead()
    }
}

/// What a snapshot is never written with: see [`Rules`].
fn write_in_place(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = fs.create(path)?;
    file.write_at(&[IoSlice::new(bytes)], 0)?;
    file.set_length(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
    file.sync()?;
    fs.sync_directory(path.parent().unwrap_or(path))
}

struct Frame {
    body: Bytes,
    end: usize,
}

/// Length, checksum, then: first offset, number of records, each with its length.
fn encode_append(first: i64, records: &[Record]) -> Result<Vec<u8>, MetadataLogError> {
    let mut body = first.to_be_bytes().to_vec();
    body.extend_from_slice(&u32::try_from(records.len()).unwrap_or(u32::MAX).to_be_bytes());
    for record in records {
        let bytes = record.encode()?;
        body.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend_from_slice(&bytes);
    }
    let mut frame = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    frame.extend_from_slice(&crc_fast::crc32_iscsi(&body).to_be_bytes());
    frame.append(&mut body);
    Ok(frame)
}

fn read_frame(bytes: &Bytes, at: usize) -> Option<Frame> {
    let rest = bytes.get(at..)?;
    let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
    let checksum = u32::from_be_bytes(*rest.get(4..)?.first_chunk()?);
    // offset and count at least
    if length < 12 || length > rest.len() - FRAME {
        return None;
    }
    let end = at + FRAME + length;
    let body = bytes.slice(at + FRAME..end);
    (crc_fast::crc32_iscsi(&body) == checksum).then_some(Frame { body, end })
}

/// Gives out an append's records beyond `committed`; returns the new committed offset.
fn read_records(
    body: &Bytes,
    take: &mut impl FnMut(Record) -> Result<(), MetadataLogError>,
    committed: i64,
    path: &Path,
    is_snapshot: bool,
    rules: Rules,
) -> Result<i64, MetadataLogError> {
    let cut_off = || damaged(path, 0, "a record is cut off");
    let first = i64::from_be_bytes(*body.first_chunk().ok_or_else(cut_off)?);
    let count = u32::from_be_bytes(*body.get(8..).and_then(|rest| rest.first_chunk()).ok_or_else(cut_off)?);
    if !is_snapshot && first > committed + 1 {
        return Err(damaged(path, 0, &format!("offset {first} follows {committed}")));
    }
    let mut at = 12;
    for offset in first..first + i64::from(count) {
        let length = body.get(at..).and_then(|rest| rest.first_chunk()).map(|bytes| u32::from_be_bytes(*bytes));
        let length = usize::try_from(length.ok_or_else(cut_off)?).map_err(|_| cut_off())?;
        let end = at + 4 + length;
        if end > body.len() {
            return Err(cut_off());
        }
        if is_snapshot || offset > committed || !rules.applied_records_are_skipped {
            take(Record::decode(&body.slice(at + 4..end))?)?;
        }
        at = end;
    }
    Ok(if is_snapshot { first } else { committed.max(first + i64::from(count) - 1) })
}

fn io_error(path: &Path, source: io::Error) -> MetadataLogError {
    MetadataLogError::Io { path: path.display().to_string(), source }
}

fn full_or_io(path: &Path, source: io::Error) -> MetadataLogError {
    if is_full(&source) { MetadataLogError::Full { path: path.display().to_string() } } else { io_error(path, source) }
}

fn damaged(path: &Path, position: u64, what: &str) -> MetadataLogError {
    MetadataLogError::Damaged { path: path.display().to_string(), position, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;
    use std::sync::Arc;

    use kennet_log::fs::sim::{SimulatedDisk, Trouble};
    use kennet_log::fs::{FileSystem, RealFileSystem};
    use kennet_metadata::{ConfigRecord, Image, Loaded, MetadataLog, MetadataLogError, Record, TopicRecord};
    use kennet_protocol::Uuid;

    use super::{FileMetadataLog, Rules};

    fn open(folder: &Path) -> Result<(FileMetadataLog, Loaded), MetadataLogError> {
        FileMetadataLog::open(Arc::new(RealFileSystem::new(folder)), folder)
    }

    fn set(name: &str, value: &str) -> Record {
        Record::Config(ConfigRecord {
            resource_type: 4,
            resource_name: String::new(),
            name: name.to_owned(),
            value: Some(value.to_owned()),
        })
    }

    fn with_three(folder: &Path) -> Vec<u8> {
        let (mut log, _) = open(folder).unwrap();
        log.append(&[set("a", "1"), set("b", "2")]).unwrap();
        assert_eq!(log.append(&[set("c", &"longer than what is appended after a cut ".repeat(2))]).unwrap(), 2);
        let mut bytes = std::fs::read(folder.join("quorum/metadata.log")).unwrap();
        bytes.truncate(usize::try_from(log.position).unwrap());
        bytes
    }

    #[test]
    fn what_was_committed_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        with_three(folder.path());
        let (log, loaded) = open(folder.path()).unwrap();
        assert_eq!(log.committed_offset(), 2);
        assert_eq!(loaded.image.cluster_configs().len(), 3);
    }

    fn cut_appends(rules: Rules) {
        let open = |folder: &Path| FileMetadataLog::open_with(Arc::new(RealFileSystem::new(folder)), folder, rules);
        let folder = tempfile::tempdir().unwrap();
        let whole = with_three(folder.path());
        let second = whole.len() - 1 - (0..whole.len()).rev().find(|at| whole[*at] == b'a').unwrap_or(0);
        for length in whole.len() - second.min(20)..whole.len() {
            for reserve in [0, 1_000] {
                // zeros behind a cut that took only zeros are the whole append again
                if reserve > 0 && whole[length..].iter().all(|byte| *byte == 0) {
                    continue;
                }
                let mut bytes = whole[..length].to_vec();
                bytes.resize(length + reserve, 0);
                std::fs::write(folder.path().join("quorum/metadata.log"), bytes).unwrap();
                let (mut log, loaded) = open(folder.path()).unwrap();
                assert_eq!(loaded.image.cluster_configs().len(), 2, "{length} bytes");
                assert_eq!(log.append(&[set("d", "4")]).unwrap(), 2);
                drop(log);
                let (log, loaded) = open(folder.path()).unwrap();
                assert_eq!((log.committed_offset(), loaded.bytes_cut), (2, 0), "{length} bytes");
            }
        }
    }

    #[test]
    fn an_append_cut_at_any_byte_is_not_there_and_the_one_before_is() {
        cut_appends(Rules::default());
    }

    fn damage_before_intact_records(rules: Rules) {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = with_three(folder.path());
        bytes[10] ^= 1;
        std::fs::write(folder.path().join("quorum/metadata.log"), &bytes).unwrap();
        let opened = FileMetadataLog::open_with(Arc::new(RealFileSystem::new(folder.path())), folder.path(), rules);
        assert!(matches!(opened, Err(MetadataLogError::Damaged { .. })));
        assert_eq!(std::fs::read(folder.path().join("quorum/metadata.log")).unwrap(), bytes);
    }

    #[test]
    fn damage_before_intact_records_is_refused_and_nothing_is_cut() {
        damage_before_intact_records(Rules::default());
    }

    #[test]
    fn a_full_volume_still_takes_what_makes_room_and_a_start() {
        let disk = SimulatedDisk::new(1);
        let open = || FileMetadataLog::open(Arc::new(disk.clone()), Path::new("/data"));
        let (mut log, _) = open().unwrap();
        log.append(&[set("a", "1")]).unwrap();
        disk.set_capacity(Some(disk.used()));
        log.append(&[set("log.retention.ms", "1")]).unwrap();
        drop(log);
        let (mut log, loaded) = open().unwrap();
        assert_eq!(loaded.image.cluster_configs().len(), 2);
        let large = "x".repeat(30_000);
        let mut appended = 0;
        let error = loop {
            match log.append(&[set("b", &large)]) {
                Ok(_) => appended += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, MetadataLogError::Full { .. }), "{error}");
        assert!(appended > 0, "the reserve was there");
        drop(log);
        let (mut log, _) = open().unwrap();
        assert_eq!(log.committed_offset(), 1 + appended, "what was refused is not there");
        disk.set_capacity(None);
        log.append(&[set("b", &large)]).unwrap();
        drop(log);
        assert_eq!(open().unwrap().0.committed_offset(), 2 + appended);
    }

    /// Of a volume that is mounted at `/data`.
    fn disk(seed: u64) -> SimulatedDisk {
        let disk = SimulatedDisk::new(seed);
        disk.create_directory(Path::new("/data")).unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        disk
    }

    #[test]
    fn what_was_committed_is_there_after_a_power_cut_right_behind_the_first_start() {
        let disk = disk(1);
        let open = || FileMetadataLog::open(Arc::new(disk.clone()), Path::new("/data"));
        open().unwrap().0.append(&[set("a", "1")]).unwrap();
        disk.power_off();
        disk.restart();
        assert_eq!(open().unwrap().0.committed_offset(), 0);
    }

    fn failed_calls(rules: Rules) {
        let mut failed = 0;
        for call in 1.. {
            let disk = disk(1);
            let open = || FileMetadataLog::open_with(Arc::new(disk.clone()), Path::new("/data"), rules);
            let (mut log, _) = open().unwrap();
            let planned = disk.calls() + call;
            disk.plan(planned, Trouble::InputOutput);
            // more than half of the reserve: another one is made behind it
            let large = "x".repeat(100_000);
            let first = log.append(&[set("a", &large)]);
            let calls = disk.calls();
            if calls < planned {
                break;
            }
            // whoever sees an error appends no more
            if first.is_ok() {
                log.append(&[set("b", "1")]).unwrap_err();
                assert_eq!(disk.calls(), calls, "call {call} failed, and the disk was written again");
            }
            failed += 1;
            disk.power_off();
            disk.restart();
            let committed = open().unwrap().0.committed_offset();
            assert!(committed >= first.unwrap_or(-1), "call {call}");
        }
        assert!(failed >= 4, "the append, its sync, the reserve, its sync: {failed}");
    }

    #[test]
    fn what_failed_once_is_never_tried_again() {
        failed_calls(Rules::default());
    }

    /// What is appended as one: longer than a sector, so that it may be torn, and with a topic, which can't be applied twice.
    fn unit(number: i64) -> [Record; 2] {
        let topic_id = Uuid::from_u128(u128::try_from(number + 1).unwrap());
        let topic = TopicRecord { name: format!("topic-{number}"), topic_id };
        [set(&format!("name {}", number % 5), &number.to_string().repeat(400)), Record::Topic(topic)]
    }

    /// Appends, and now and then a snapshot, until the power fails; returns how many appends are committed, of how many that were sent.
    fn live(disk: &SimulatedDisk, rules: Rules) -> (i64, i64) {
        let (mut committed, mut sent) = (0, 0);
        let Ok((mut log, _)) = FileMetadataLog::open_with(Arc::new(disk.clone()), Path::new("/data"), rules) else {
            return (committed, sent);
        };
        let mut image = Image::default();
        for number in 0..12 {
            let records = unit(number);
            sent += 1;
            if log.append(&records).is_err() {
                break;
            }
            committed += 1;
            records.iter().for_each(|record| image.apply(record).unwrap());
            if number % 4 == 3 && log.write_snapshot(&image).is_err() {
                break;
            }
        }
        (committed, sent)
    }

    fn power_cuts(rules: Rules) {
        for seed in 0..4 {
            for call in 1.. {
                let disk = disk(seed);
                disk.plan(disk.calls() + call, Trouble::PowerOff);
                let (committed, sent) = live(&disk, rules);
                let was_cut = disk.is_off();
                disk.restart();
                let opened = FileMetadataLog::open_with(Arc::new(disk.clone()), Path::new("/data"), rules);
                let (log, loaded) = opened.unwrap_or_else(|error| panic!("seed {seed}, call {call}: {error}"));
                // an append has two records
                let found = (log.committed_offset() + 1) / 2;
                assert!((committed..=sent).contains(&found), "seed {seed}, call {call}: {found} of {committed}");
                let mut image = Image::default();
                (0..found).flat_map(unit).for_each(|record| image.apply(&record).unwrap());
                assert_eq!(loaded.image, image, "seed {seed}, call {call}");
                if !was_cut {
                    assert!(call > 30, "{call}");
                    break;
                }
            }
        }
    }

    #[test]
    fn what_was_committed_is_there_after_a_power_cut_at_any_call() {
        power_cuts(Rules::default());
    }

    /// Without a rule the scene must fail.
    fn is_noticed(change: impl Fn(&mut Rules), scene: impl Fn(Rules)) {
        let mut rules = Rules::default();
        change(&mut rules);
        assert!(catch_unwind(AssertUnwindSafe(|| scene(rules))).is_err(), "nobody noticed");
    }

    #[test]
    fn each_rule_is_noticed_when_it_is_not_kept() {
        is_noticed(|rules| rules.appends_are_synced = false, power_cuts);
        is_noticed(|rules| rules.snapshots_are_replaced = false, power_cuts);
        is_noticed(|rules| rules.applied_records_are_skipped = false, power_cuts);
        is_noticed(|rules| rules.failures_are_final = false, failed_calls);
        is_noticed(|rules| rules.later_appends_are_damage = false, damage_before_intact_records);
        is_noticed(|rules| rules.torn_ends_are_cleared = false, cut_appends);
    }

    #[test]
    fn a_snapshot_replaces_the_log_also_when_the_log_is_still_there() {
        let folder = tempfile::tempdir().unwrap();
        let before = with_three(folder.path());
        let (mut log, loaded) = open(folder.path()).unwrap();
        log.write_snapshot(&loaded.image).unwrap();
        log.append(&[set("a", "9")]).unwrap();
        let (log, again) = open(folder.path()).unwrap();
        assert_eq!((log.committed_offset(), again.image.cluster_configs()["a"].as_str()), (3, "9"));
        std::fs::write(folder.path().join("quorum/metadata.log"), before).unwrap();
        let (log, again) = open(folder.path()).unwrap();
        assert_eq!((log.committed_offset(), again.image), (2, loaded.image));
    }
}
