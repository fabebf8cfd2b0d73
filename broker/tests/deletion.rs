//! A topic's deletion that a crash cut off: metadata has it, and the data directory has the topic.

use std::fs;
use std::path::Path;

use crate::fetches::topic_id;
use crate::support::TestBroker;
use crate::support::records::{batch, values};
use kennet_protocol::ErrorCode;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory is made");
    for entry in fs::read_dir(from).expect("a directory is read") {
        let path = entry.expect("an entry is read").path();
        let to = to.join(path.file_name().expect("it has a name"));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, to).expect("a file is copied")),
        }
    }
}

/// What the power cut leaves that comes between the two: the metadata of now, and all else as it was.
fn put_back_all_but_metadata(data: &Path, before: &Path) {
    let now = data.with_file_name("now");
    copy(&data.join("quorum"), &now.join("quorum"));
    fs::remove_dir_all(data).expect("the data goes");
    copy(before, data);
    fs::remove_dir_all(data.join("quorum")).expect("the older metadata goes");
    copy(&now, data);
}

#[test]
fn a_deletion_that_a_crash_cut_off_is_finished_at_the_next_start() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for topic in ["t", "kept"] {
        assert_eq!(client.create_topic(topic, 1, &[]).error_code, ErrorCode::None);
        assert_eq!(client.produce(topic, batch(&[topic])).error_code, ErrorCode::None);
    }
    let id = topic_id(&mut client);
    drop(client);
    let folder = broker.stop();
    let (data, before) = (folder.path().join("data"), folder.path().join("before"));
    let files = data.join("topics").join(id.to_string());
    copy(&data, &before);
    let broker = TestBroker::on(folder, &[]);
    assert_eq!(broker.connect().delete_topic("t"), ErrorCode::None);
    let folder = broker.stop();
    assert!(!files.exists(), "it was deleted");
    put_back_all_but_metadata(&data, &before);
    assert!(files.exists(), "and is back");
    // twice: the second start has nothing of it in the journal any more
    let mut folder = folder;
    for _ in 0..2 {
        let broker = TestBroker::on(folder, &[]);
        let mut client = broker.connect();
        assert!(!files.exists(), "the deletion was finished");
        assert_eq!(values(client.fetch("kept", 0)), [(0, "kept".to_owned())]);
        drop(client);
        folder = broker.stop();
    }
}
