//! The program as a process: what it says when it can't start, and what it keeps when it is killed.

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use kennet_contract::BrokerConfig;
use kennet_protocol::{ErrorCode, encode_request};
use support::client::Client;
use support::records::{batch, values};
use support::{TestBroker, config, loopbacks};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kennet-broker");

/// A broker in a process of its own, on a directory that was bootstrapped before. It is killed when it is dropped.
struct Process {
    child: Child,
    address: SocketAddr,
    probes: SocketAddr,
}

impl Process {
    fn start(folder: &TempDir) -> Self {
        Self::with(folder, config(folder.path(), &[]))
    }

    /// The same with a config of the test's own, whose ports are chosen here.
    fn with(folder: &TempDir, config: BrokerConfig) -> Self {
        Self::logging_to(folder, config, Stdio::null())
    }

    fn logging_to(folder: &TempDir, config: BrokerConfig, log: Stdio) -> Self {
        Self::run(folder, config, log, |command| command)
    }

    /// The same, where the system gives it one processor, as a quota of one does.
    fn on_one_processor(folder: &TempDir, config: BrokerConfig) -> Self {
        Self::run(folder, config, Stdio::null(), |command| {
            let mut pinned = Command::new("taskset");
            pinned.args(["-c", "0"]).arg(command.get_program()).args(command.get_args()).env_remove("POD_NAME");
            pinned
        })
    }

    fn run(folder: &TempDir, mut config: BrokerConfig, log: Stdio, wrap: fn(Command) -> Command) -> Self {
        let port = free_port();
        config.listeners[0].port = port;
        config.listeners[0].advertised_port = port;
        config.probes.port = free_port();
        let probes = SocketAddr::from(([127, 0, 0, 1], config.probes.port));
        let child = wrap(command(folder, &config)).stderr(log).spawn().expect("the program starts");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut started = Self { child, address, probes };
        for _ in 0..1500 {
            if started.accepts() {
                return started;
            }
            let ended = started.child.try_wait().expect("it is a child");
            assert!(ended.is_none(), "the broker ended at its start: {ended:?}");
        }
        panic!("the broker does not serve after 30 seconds");
    }

    fn accepts(&self) -> bool {
        let timeout = std::time::Duration::from_millis(20);
        let accepted = std::net::TcpStream::connect_timeout(&self.address, timeout).is_ok();
        if !accepted {
            pause(timeout);
        }
        accepted
    }

    /// The names of its threads.
    fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the process is there");
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.ok()?.path().join("comm")).ok().map(|name| name.trim().to_owned())
        };
        tasks.filter_map(name).collect()
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    }

    /// What a probe is answered, status line and all.
    fn probe(&self, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(self.probes).expect("the probes' port accepts");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the probe is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the probe is answered");
        answer
    }

    fn kill(mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "another process is started, and nothing tells when it listens")]
fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}

/// A port that nobody has, and that no connection gets by itself: those come from 32768 on. Each is given out once.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).expect("it is small");
    (0..10_000)
        .map(|_| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

fn command(folder: &TempDir, config: &BrokerConfig) -> Command {
    let file = folder.path().join("broker.toml");
    std::fs::write(&file, toml::to_string(config).expect("the config is TOML")).expect("the config is written");
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(file).env_remove("POD_NAME");
    command
}

fn bootstrapped() -> TempDir {
    TestBroker::start().stop()
}

#[test]
fn an_acknowledged_record_survives_sigkill() {
    let folder = bootstrapped();
    let mut expected = Vec::new();
    for life in 0..3 {
        let broker = Process::start(&folder);
        let mut client = Client::connect(broker.address);
        if life == 0 {
            assert_eq!(client.create_topic("t", 1, &[]).error_code, ErrorCode::None);
        }
        for number in 0..50 {
            let value = format!("{life}-{number}");
            let answer = client.produce("t", batch(&[&value]));
            assert_eq!(answer.error_code, ErrorCode::None);
            expected.push((answer.base_offset.0, value));
        }
        // these may or may not be kept; nobody was told that they are
        for _ in 0..20 {
            client.send(9, &support::records::produce_request("t", 1, Some(batch(&["unacknowledged"]))));
        }
        broker.kill();
    }
    let broker = Process::start(&folder);
    let mut client = Client::connect(broker.address);
    let mut found = Vec::new();
    let mut next = 0;
    while next < client.end_offset("t") {
        found.extend(values(client.fetch("t", next)));
        next = found.last().map_or(0, |(offset, _)| offset + 1);
    }
    let offsets: Vec<i64> = found.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (0..next).collect::<Vec<_>>(), "offsets have no holes");
    found.retain(|(_, value)| value != "unacknowledged");
    assert_eq!(found, expected);
}

#[test]
fn an_acknowledged_commit_survives_sigkill() {
    let folder = bootstrapped();
    for life in 0..3 {
        let broker = Process::start(&folder);
        let mut client = Client::connect(broker.address);
        if life == 0 {
            assert_eq!(client.create_topic("t", 1, &[]).error_code, ErrorCode::None);
        } else {
            assert_eq!(client.committed("g", "t"), life * 100 + 19 - 100);
        }
        for number in 0..20 {
            assert_eq!(client.commit("g", "t", life * 100 + number), ErrorCode::None);
        }
        broker.kill();
    }
    let broker = Process::start(&folder);
    let mut client = Client::connect(broker.address);
    assert_eq!(client.committed("g", "t"), 219);
    // what a deletion takes along is gone as surely
    assert_eq!(client.delete_topic("t"), ErrorCode::None);
    client.create_topic("t", 1, &[]);
    broker.kill();
    let broker = Process::start(&folder);
    assert_eq!(Client::connect(broker.address).committed("g", "t"), -1);
}

#[test]
fn sigterm_answers_who_waits_and_ends_with_success() {
    let folder = bootstrapped();
    let mut broker = Process::start(&folder);
    let mut client = Client::connect(broker.address);
    client.create_topic("t", 1, &[]);
    client.produce("t", batch(&["a"]));
    let mut waiting = support::records::fetch_request("t", 1);
    waiting.max_wait_ms = 60_000;
    client.send_and_wait_until_handled(12, &waiting);
    broker.terminate();
    // a long poll of a minute holds nobody up: the client's deadline is ten seconds
    assert!(client.frame().is_some(), "who waits is answered, not cut off");
    let status = broker.child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn one_processor_is_served_by_one_thread_and_probes_by_another_one() {
    let folder = bootstrapped();
    let broker = {
        let config = config(folder.path(), &[]);
        Process::on_one_processor(&folder, config)
    };
    Client::connect(broker.address).assert_alive();
    let names = broker.threads();
    assert!(!names.iter().any(|name| name.starts_with("tokio-rt-worker")), "{names:?}");
    assert_eq!(names.iter().filter(|name| *name == "control").count(), 1, "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("read-")).count(), 4, "{names:?}");
    assert!(broker.probe("/livez").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_broker_is_unready_while_clients_take_their_last_answers_and_then_ends_cleanly() {
    let folder = bootstrapped();
    let mut broker = Process::start(&folder);
    let ready = |wanted: &str| {
        let asked = (0..100).map(|_| {
            pause(std::time::Duration::from_millis(20));
            broker.probe("/readyz")
        });
        asked.into_iter().find(|answer| answer.starts_with(wanted)).expect("the probe changes within 2 seconds")
    };
    ready("HTTP/1.1 200");
    let mut client = Client::connect(broker.address);
    client.create_topic("t", 1, &[]);
    client.produce("t", batch(&["x".repeat(900_000).as_str()]));
    // requests until the broker reads no more of them, because nobody takes its answers
    client.stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).expect("a write deadline");
    let long_name = "x".repeat(30_000);
    let fetch = support::records::fetch_request("t", 0);
    let fetch = encode_request(12, 1, Some(&long_name), &fetch).expect("the request encodes").concat();
    while client.stream.write_all(&fetch).is_ok() {}
    broker.terminate();
    let stopping = ready("HTTP/1.1 503");
    assert!(stopping.ends_with("Stopping\n"), "{stopping}");
    assert!((0..100).any(|_| !broker.accepts()), "a stopping broker takes no new connections");
    assert!(broker.probe("/readyz").starts_with("HTTP/1.1 503"), "and is still there for those that it has");
    drop(client);
    assert_eq!(broker.child.wait().expect("it ends").code(), Some(0));
    // the clean mark: a scan would find the damage and refuse it, and the next start reads none of what was flushed
    damage_last_byte_of_log(&folder);
    let broker = Process::start(&folder);
    assert_eq!(Client::connect(broker.address).end_offset("t"), 1);
}

#[test]
fn a_listener_on_every_address_is_reached_over_each_family_that_the_host_has() {
    let folder = bootstrapped();
    let mut config = config(folder.path(), &[]);
    config.listeners[0].bind = "::".to_owned();
    let broker = Process::with(&folder, config);
    for loopback in loopbacks() {
        Client::connect(SocketAddr::from((loopback, broker.address.port()))).assert_alive();
    }
}

#[test]
fn every_line_of_the_log_is_json_that_says_who_logs_and_has_no_records() {
    let folder = bootstrapped();
    let mut config = config(folder.path(), &[]);
    config.log_format = kennet_contract::LogFormat::Json;
    let log = folder.path().join("log");
    let file = std::fs::File::create(&log).expect("a file for the log");
    let mut broker = Process::logging_to(&folder, config, file.into());
    let mut client = Client::connect(broker.address);
    client.create_topic("t", 1, &[]);
    client.produce("t", batch(&["a secret value"]));
    client.fetch("t", 0);
    // a produce request whose body does not decode, and bytes of another protocol
    let mut cut =
        support::client::frame_of(9, &support::records::produce_request("t", 1, Some(batch(&["a secret value"]))));
    cut.truncate(cut.len() - 3);
    client.send_frame(&cut);
    client.assert_closed("the request does not decode");
    let mut foreign = Client::connect(broker.address);
    foreign.send_bytes(b"GET / HTTP/1.1\r\n\r\n");
    foreign.assert_closed("HTTP is not Kafka's protocol");
    broker.terminate();
    broker.child.wait().expect("it ends");
    let text = std::fs::read_to_string(&log).expect("the log is text");
    assert!(!text.contains("secret"), "{text}");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert!(lines.iter().all(|line| line["cluster"] == "test" && line["broker"] == 0), "{text}");
    let line = |message: &str| lines.iter().find(|line| line["message"] == message).expect(message);
    let refused = line("a request does not decode; connection closed");
    assert_eq!((&refused["client_id"], &refused["listener"]), (&"test".into(), &"plain".into()));
    let closed = line("connection closed");
    assert_eq!(
        (&closed["error"], &closed["listener"]),
        (&"the client speaks HTTP to a Kafka port".into(), &"plain".into())
    );
}

fn damage_last_byte_of_log(folder: &TempDir) {
    let mut open = vec![folder.path().join("data/topics")];
    let mut damaged = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "log") {
            let mut bytes = std::fs::read(&path).expect("a segment");
            *bytes.last_mut().expect("the segment has a batch") ^= 1;
            std::fs::write(&path, bytes).expect("the segment is written");
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
}

fn fails(command: &mut Command, code: i32) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let ended = (0..500).any(|_| {
        pause(std::time::Duration::from_millis(20));
        child.try_wait().expect("the process is ours").is_some()
    });
    if !ended {
        child.kill().expect("the process is ours");
    }
    let Output { status, stderr, .. } = child.wait_with_output().expect("the program ran");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(code), "{said}");
    let last = said.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("error: ") && !last.contains('\u{1b}'), "{said}");
    last
}

fn without_paths(text: &str, folder: &TempDir) -> String {
    let folder = folder.path().to_str().expect("the folder's name is text");
    text.replace(folder, "FOLDER").split(' ').map(mask_port).collect::<Vec<_>>().join(" ")
}

/// Ports are chosen anew in each run.
fn mask_port(word: &str) -> String {
    word.strip_prefix("127.0.0.1:").map_or_else(|| word.to_owned(), |_| "127.0.0.1:PORT".to_owned())
}

#[test]
fn a_config_that_is_wrong_is_one_sentence_and_code_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = fails(Command::new(PROGRAM).arg("--config").arg(folder.path().join("none.toml")), 3);
    let file = folder.path().join("broker.toml");
    let good = toml::to_string(&config(folder.path(), &[])).expect("the config is TOML");
    let mut said = vec![missing];
    for text in [
        format!("surprise = 1\n{good}"),
        good.replace("contract = 1", "contract = 99"),
        format!("{good}\n[kafka]\n\"log.retention.ms\" = \"soon\"\n"),
        "not toml".to_owned(),
        good.replace("port = 0", "port = 70000"),
        format!("{good}\nno value here\n"),
    ] {
        std::fs::write(&file, text).expect("the config is written");
        let mut check = Command::new(PROGRAM);
        said.push(fails(check.arg("check-config").arg(&file).env_remove("POD_NAME"), 3));
    }
    std::fs::write(&file, good).expect("the config is written");
    let right = Command::new(PROGRAM).arg("check-config").arg(&file).output().expect("the program runs");
    let told = format!("{} is a config that broker 0 can start with\n", file.display());
    assert_eq!((right.status.code(), String::from_utf8_lossy(&right.stdout).into_owned()), (Some(0), told));
    let said: Vec<_> = said.iter().map(|line| without_paths(line, &folder)).collect();
    insta::assert_snapshot!(said.join("\n"));
}

/// All files below a folder, with what is in them.
fn content(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.insert(path.clone(), std::fs::read(&path).expect("a file"));
        }
    }
    files
}

#[test]
fn a_data_directory_of_somebody_else_is_one_sentence_and_code_4() {
    let folder = bootstrapped();
    let good = config(folder.path(), &[]);
    let mut foreign_cluster = good.clone();
    foreign_cluster.cluster_id = "ZZZZZZZZZZZZZZZZZZZZZg".parse().expect("the id is one");
    let mut foreign_broker = good.clone();
    foreign_broker.broker_id = kennet_contract::BrokerIdField::Number(1);
    let mut not_a_folder = good.clone();
    not_a_folder.data_directory = folder.path().join("ca.crt");
    let mut said = Vec::new();
    let before = content(&good.data_directory);
    for config in [foreign_cluster, foreign_broker, not_a_folder] {
        said.push(fails(&mut command(&folder, &config), 4));
    }
    assert!(content(&good.data_directory) == before, "something is written in somebody else's directory");
    let mut kafkas = good.clone();
    kafkas.data_directory = folder.path().join("kafka");
    std::fs::create_dir(&kafkas.data_directory).expect("a folder");
    std::fs::write(kafkas.data_directory.join("meta.properties"), "version=1\n").expect("a file");
    said.push(fails(&mut command(&folder, &kafkas), 4));
    let files = std::fs::read_dir(&kafkas.data_directory).expect("a folder").count();
    assert_eq!(files, 1, "nothing is written into Kafka's directory");
    let _holder = Process::start(&folder);
    said.push(fails(&mut command(&folder, &good), 4));
    let said: Vec<_> = said.iter().map(|line| without_paths(line, &folder)).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_certificate_that_can_not_be_used_is_one_sentence_and_code_3() {
    let folder = bootstrapped();
    let good = config(folder.path(), &[]);
    let certificates = &good.management.certificates;
    let mut said = Vec::new();
    for (path, text) in [(&certificates.key, "nothing"), (&certificates.certificate, ""), (&certificates.ca, "nothing")]
    {
        let kept = std::fs::read(path).expect("the file is there");
        std::fs::write(path, text).expect("the file is written");
        said.push(fails(&mut command(&folder, &good), 3));
        std::fs::write(path, kept).expect("the file is written");
    }
    std::fs::remove_file(&certificates.certificate).expect("the file is there");
    said.push(fails(&mut command(&folder, &good), 3));
    let said: Vec<_> = said.iter().map(|line| without_paths(line, &folder)).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_data_directory_that_is_damaged_is_one_sentence_and_code_4() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    client.produce("t", batch(&["a"]));
    let folder = broker.stop();
    let good = config(folder.path(), &[]);
    let identity = good.data_directory.join("identity.json");
    let written = std::fs::read_to_string(&identity).expect("the identity is there");
    let mut said = Vec::new();
    for text in [written.replace("\"formatVersion\": 3", "\"formatVersion\": 9"), "{".to_owned()] {
        std::fs::write(&identity, text).expect("the identity is written");
        said.push(fails(&mut command(&folder, &good), 4));
    }
    std::fs::write(&identity, written).expect("the identity is written");
    let quorum = good.data_directory.join("quorum");
    let log = quorum.join("metadata.log");
    let mut bytes = std::fs::read(&log).expect("the metadata log is there");
    bytes[12] ^= 1;
    std::fs::write(&log, bytes).expect("the metadata log is written");
    said.push(fails(&mut command(&folder, &good), 4));
    std::fs::remove_dir_all(&quorum).expect("the folder is there");
    said.push(fails(&mut command(&folder, &good), 4));
    std::fs::remove_dir_all(&quorum).expect("the folder is there again");
    std::fs::write(&quorum, "a file").expect("the file is written");
    said.push(fails(&mut command(&folder, &good), 4));
    let said: Vec<_> = said.iter().map(|line| without_paths(line, &folder)).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_port_that_is_taken_is_one_sentence_and_code_5() {
    let folder = bootstrapped();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let mut clients = config(folder.path(), &[]);
    clients.listeners[0].port = port;
    let mut management = config(folder.path(), &[]);
    management.management.port = port;
    let said: Vec<_> = [clients, management]
        .iter()
        .map(|config| without_paths(&fails(&mut command(&folder, config), 5), &folder))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}
