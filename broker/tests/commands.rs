//! What the program does with files while no broker runs: verify a data directory, dump one of its files.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::TestBroker;
use crate::support::records::batch;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kennet-broker");

fn run(arguments: &[&OsStr]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn write_identity(directory: &Path, format: u32) {
    let identity = format!(
        r#"{{"clusterId": "ABCDEFGHIJKLMNOPQRSTUg", "brokerId": 0,
            "directoryId": "7f2c1a52-6ad5-4dd1-bd4e-3f4fd3a4a4d7", "formatVersion": {format}}}"#
    );
    std::fs::write(directory.join("identity.json"), identity).expect("an identity");
}

#[test]
fn a_data_directory_is_verified_and_a_segment_dumped_without_a_broker() {
    let empty = tempfile::tempdir().expect("a folder");
    let verify = run(&["verify".as_ref(), empty.path().as_os_str()]);
    assert_eq!((verify.status.code(), empty.path().join("lock").exists()), (Some(4), false), "no data directory");
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    client.produce("t", batch(&["one", "two"]));
    let folder = broker.stop();
    let directory = folder.path().join("data");
    let verified = run(&["verify".as_ref(), directory.as_os_str()]);
    assert_eq!(verified.status.code(), Some(0));
    assert!(
        text(&verified.stdout).contains("topic=t partition=0 offsets=0..2 segments=1 batches=1 records=2"),
        "{verified:?}"
    );
    let segment = file_of(folder.path(), "log");
    let dumped = run(&["dump".as_ref(), segment.as_os_str(), "--records".as_ref()]);
    assert_eq!(dumped.status.code(), Some(0));
    assert!(text(&dumped.stdout).contains("record offset=1 "), "{dumped:?}");
    assert!(text(&dumped.stdout).contains("value=\"two\""), "{dumped:?}");
    let mut bytes = std::fs::read(&segment).expect("the segment");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&segment, &bytes).expect("a segment");
    let verified = run(&["verify".as_ref(), directory.as_os_str()]);
    assert_eq!(verified.status.code(), Some(4));
    assert!(text(&verified.stdout).contains("is damaged at byte 0 (offset 0)"), "{verified:?}");
    assert!(text(&verified.stderr).contains("1 of 1 partitions"), "{verified:?}");
    assert_eq!(run(&["dump".as_ref(), segment.as_os_str()]).status.code(), Some(1));
    assert_eq!(run(&["verify".as_ref(), "nowhere".as_ref()]).status.code(), Some(4));
}

#[test]
fn a_damaged_journal_is_told_with_its_place() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    for _ in 0..3 {
        client.produce("t", batch(&["one", "two"]));
    }
    // as a crash leaves it: the first block is bad, and others follow
    let copy = tempfile::tempdir().expect("a folder");
    let directory = copy.path().join("data");
    let copied = Command::new("cp").arg("-r").arg(broker.data()).arg(&directory).status().expect("cp runs");
    assert!(copied.success());
    let slot = directory.join("journal/00000000");
    let mut bytes = std::fs::read(&slot).expect("the journal");
    bytes[70] ^= 1;
    std::fs::write(&slot, &bytes).expect("the journal is written");
    let verified = run(&["verify".as_ref(), directory.as_os_str()]);
    assert_eq!(verified.status.code(), Some(4));
    assert!(text(&verified.stderr).contains("is damaged as a whole"), "{verified:?}");
    assert!(text(&verified.stderr).contains("journal/00000000 at byte 0 (block 1) is damaged"), "{verified:?}");
}

#[test]
fn a_directory_of_another_format_is_not_called_whole() {
    let folder = TestBroker::start().stop();
    let directory = folder.path().join("data");
    let verify = || {
        let done = run(&["verify".as_ref(), directory.as_os_str()]);
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    assert_eq!((verify().0, verify().1), (Some(0), "0 partitions are whole\n".to_owned()));
    for other in [2, 4] {
        write_identity(&directory, other);
        let (code, said, error) = verify();
        assert_eq!((code, said), (Some(4), String::new()));
        assert!(error.contains(&format!("has format version {other}, and this broker reads 3: use")), "{error}");
    }
    std::fs::write(directory.join("identity.json"), "{").expect("the identity is written");
    let (code, said, error) = verify();
    assert_eq!((code, said), (Some(4), String::new()));
    assert!(error.contains("identity.json is damaged"), "{error}");
}

/// The one file of the data directory with this extension that has bytes.
fn file_of(folder: &Path, extension: &str) -> std::path::PathBuf {
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|found| found == extension)
            && path.to_string_lossy().contains("0000000000")
            && path.metadata().expect("a file").len() > 0
        {
            return path;
        }
    }
    panic!("no .{extension} below {}", folder.display());
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_missing() {
    for name in ["nofile", "nofile.log", "nofile.index"] {
        let done = run(&["dump".as_ref(), name.as_ref()]);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("cannot dump {name}: No such file or directory")), "{said}");
        // a segment may still be to come
        assert_eq!(said.contains("until then they are in the journal"), name.contains('.'), "{said}");
    }
}

#[test]
fn entries_of_indexes_are_shown_and_those_that_can_not_be_right_are_told() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[("index.interval.bytes", "0"), ("segment.bytes", "1048576")]);
    for _ in 0..4 {
        client.produce("t", batch(&["x".repeat(400_000).as_str()]));
    }
    let folder = broker.stop();
    let dump = |path: &Path| {
        let done = run(&["dump".as_ref(), path.as_os_str()]);
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let index = file_of(folder.path(), "index");
    let (code, said, error) = dump(&index);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("entry offset=1 position=400"), "{said}");
    assert_eq!(lines[1], "1 entry is whole", "{said}");
    let (code, said, _) = dump(&file_of(folder.path(), "timeindex"));
    assert!(said.starts_with("entry timestamp="), "{said}");
    assert_eq!((code, said.contains(" offset=")), (Some(0), true), "{said}");

    let bytes = std::fs::read(&index).expect("the index is read");
    let other = |change: fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        std::fs::write(&index, bytes).expect("the index is written");
        let (code, said, error) = dump(&index);
        assert_eq!(code, Some(1), "{said}");
        error
    };
    let cut = other(|bytes| bytes.truncate(5));
    assert!(cut.contains("damaged behind 0 entries: entry 0 is cut off: it has 5 of 8 bytes"), "{cut}");
    let twice = other(|bytes| bytes.extend_from_within(..));
    assert!(twice.contains("damaged behind 1 entry:") && twice.contains("does not rise"), "{twice}");
    let astray = other(|bytes| bytes[7] ^= 1);
    assert!(astray.contains("points at no batch"), "{astray}");
}

#[test]
fn what_is_neither_a_segment_nor_an_index_is_refused() {
    let folder = TestBroker::start().stop();
    let dump = |path: &Path| {
        let done = run(&["dump".as_ref(), path.as_os_str()]);
        (done.status.code(), text(&done.stderr))
    };
    let (code, said) = dump(&folder.path().join("data/identity.json"));
    assert_eq!(code, Some(1));
    assert!(said.contains("expected a file that ends with .log, .index or .timeindex"), "{said}");
    let nameless = folder.path().join("copy.index");
    std::fs::write(&nameless, [0; 8]).expect("the index is written");
    let (code, said) = dump(&nameless);
    assert_eq!(code, Some(1));
    assert!(said.contains("no base offset"), "{said}");
}
