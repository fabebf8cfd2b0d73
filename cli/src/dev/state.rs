//! What `kennet dev` remembers of a cluster between runs: `.kennet/<cluster>/dev.json`.

use std::io;
use std::path::{Path, PathBuf};

use kennet_contract::ClusterId;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::dev::place;
use crate::error::CliError;
use crate::management::Management;
use crate::output::note;

const FILE: &str = "dev.json";

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    pub(super) cluster: String,
    pub(super) cluster_id: ClusterId,
    pub(super) base_port: u16,
    #[serde(default)]
    pub(super) supervisor: Option<Process>,
    #[serde(default)]
    pub(super) broker: Option<Process>,
    /// The topics of the file that it was brought up with last.
    #[serde(default)]
    pub(super) topics: Vec<String>,
    #[serde(skip)]
    pub(super) folder: PathBuf,
}

/// A process that can't be mistaken for a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Process {
    pid: u32,
    /// Clock ticks from boot to its start: field 22 of /proc/<pid>/stat.
    started: u64,
}

impl Process {
    /// The process of this number, if there is one.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // the name in parentheses may contain spaces; the state is the first field after it
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (state != "Z").then_some(Self { pid, started })
    }

    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Asks it to end.
    pub(super) fn terminate(self) -> io::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        match pid.filter(|_| self.is_alive()) {
            Some(pid) => Ok(kill_process(pid, Signal::TERM)?),
            None => Ok(()),
        }
    }
}

impl State {
    /// The cluster of this name, if it has been up before.
    pub(super) fn load(home: &Path, cluster: &str) -> Result<Option<Self>, CliError> {
        let folder = home.join(cluster);
        let path = folder.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            // a file beside the clusters' folders is none of ours
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(source) => return Err(CliError::failed(&format!("reading {}", path.display()), source)),
        };
        let state: Self =
            serde_json::from_slice(&text).map_err(|error| CliError::Config(format!("{}: {error}", path.display())))?;
        Ok(Some(Self { folder, ..state }))
    }

    /// Every cluster, or the one of this name. Of many, one that can't be read is named and takes nothing away from the others.
    pub(super) fn load_all(home: &Path, only: Option<&str>) -> Result<Vec<Self>, CliError> {
        if let Some(name) = only {
            let none = || CliError::Failed(format!("there is no cluster '{name}' in {}", home.display()));
            return Ok(vec![Self::load(home, name)?.ok_or_else(none)?]);
        }
        let entries = match std::fs::read_dir(home) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(CliError::failed(&format!("reading {}", home.display()), source)),
        };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        let mut states = Vec::new();
        for name in names {
            match Self::load(home, &name) {
                Ok(state) => states.extend(state),
                Err(error) => {
                    note(&format!("left out: {error}: remove {} if it is no cluster", home.join(name).display()));
                }
            }
        }
        Ok(states)
    }

    /// Writes the file, whole or not at all.
    pub(super) fn save(&self) -> Result<(), CliError> {
        let path = self.folder.join(FILE);
        let failed = |source| CliError::failed(&format!("writing {}", path.display()), source);
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(io::Error::other(error)))?;
        let new = path.with_extension("new");
        std::fs::write(&new, text).map_err(failed)?;
        std::fs::rename(&new, &path).map_err(failed)
    }

    /// Whether its broker serves or will. A broker outlives a supervisor that was killed.
    pub(super) fn is_running(&self) -> bool {
        [self.supervisor, self.broker].into_iter().flatten().any(Process::is_alive)
    }

    /// Whether its broker is there and nobody to end it with.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_running() && !self.supervisor.is_some_and(Process::is_alive)
    }

    /// Where clients connect.
    pub(super) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.base_port)
    }

    /// The broker's management endpoint, with the certificates that it was started with.
    pub(super) fn management(&self) -> Result<Management, CliError> {
        let address = format!("{}:{}", place::HOST, self.base_port + place::MANAGEMENT);
        Management::new(&address, &self.folder.join("tls"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Process, State};

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Process { started: me.started + 1, ..me }.is_alive());
    }

    #[test]
    fn a_broker_without_its_supervisor_still_runs() {
        let me = Process::of(std::process::id()).unwrap();
        let gone = Process { started: me.started + 1, ..me };
        for (supervisor, broker, running, abandoned) in [
            (Some(me), Some(me), true, false),
            (Some(me), None, true, false),
            (Some(gone), Some(me), true, true),
            (Some(gone), Some(gone), false, false),
            (None, None, false, false),
        ] {
            let state = State {
                cluster: "c".to_owned(),
                cluster_id: kennet_contract::ClusterId::from_bytes([7; 16]),
                base_port: 29090,
                supervisor,
                broker,
                topics: Vec::new(),
                folder: "c".into(),
            };
            assert_eq!((state.is_running(), state.is_abandoned()), (running, abandoned), "{state:?}");
        }
    }

    #[test]
    fn what_is_no_cluster_does_not_hide_the_clusters() {
        let home = tempfile::tempdir().unwrap();
        let state = State {
            cluster: "good".to_owned(),
            cluster_id: kennet_contract::ClusterId::from_bytes([7; 16]),
            base_port: 29090,
            supervisor: None,
            broker: None,
            topics: vec!["events".to_owned()],
            folder: home.path().join("good"),
        };
        std::fs::create_dir(&state.folder).unwrap();
        state.save().unwrap();
        std::fs::write(home.path().join("a-file"), "stray").unwrap();
        std::fs::create_dir(home.path().join("empty")).unwrap();
        std::fs::create_dir(home.path().join("broken")).unwrap();
        std::fs::write(home.path().join("broken/dev.json"), "{").unwrap();
        assert_eq!(State::load_all(home.path(), None).unwrap(), [state]);
        // what was asked for by name is not left out
        assert!(State::load_all(home.path(), Some("broken")).unwrap_err().to_string().contains("broken/dev.json"));
        assert!(State::load_all(home.path(), Some("a-file")).unwrap_err().to_string().contains("'a-file'"));
    }
}
