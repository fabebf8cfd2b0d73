//! `kennet dev`: a cluster on this machine from the manifests that Kubernetes would get.
//!
//! A foreground supervisor, no daemon: `up` starts the broker, keeps it until Ctrl-C or `down`, and leaves the data in
//! `.kennet/<cluster>/`. What a manifest means is decided by the operator's own model; only the place is another one.

mod certificates;
mod manifest;
mod place;
mod state;
mod supervisor;
mod topics;

use std::path::Path;
use std::time::Duration;

use kennet_contract::management::Status;
use serde_json::{Value, json};

use crate::command_line::Dev;
use crate::dev::state::State;
use crate::error::CliError;
use crate::management::Management;
use crate::output::{Output, note};
use crate::progress::Progress;

/// Where clusters live, below the current directory.
const HOME: &str = ".kennet";
/// A supervisor ends its broker within this time.
const DOWN_LIMIT: Duration = Duration::from_secs(40);

pub(crate) async fn run(output: &Output, command: Dev) -> Result<(), CliError> {
    match command {
        Dev::Up { file, base_port } => supervisor::up(output, &file, base_port.0).await,
        Dev::Status { cluster } => status(output, cluster.as_deref()).await,
        Dev::Down { cluster } => down(output, cluster.as_deref()).await,
    }
}

async fn status(output: &Output, only: Option<&str>) -> Result<(), CliError> {
    let mut rows = Vec::new();
    let mut all: Vec<Value> = Vec::new();
    for state in State::load_all(Path::new(HOME), only)? {
        let running = state.is_running();
        let said = match running {
            true => reachable(&state).await.map(|status| format!("{:?}", status.state)),
            false => Ok("Stopped".to_owned()),
        };
        let word = said.unwrap_or_else(|_| "Unreachable".to_owned());
        if state.is_abandoned() {
            note(&format!(
                "cluster '{0}' has lost its kennet dev up, and the broker serves on: kennet dev down {0} stops it",
                state.cluster
            ));
        }
        let bootstrap = running.then(|| state.bootstrap());
        let shown = bootstrap.clone().unwrap_or_else(|| "-".to_owned());
        rows.push(vec![state.cluster.clone(), word.clone(), shown, state.folder.display().to_string()]);
        all.push(json!({
            "cluster": state.cluster, "state": word, "running": running, "bootstrap": bootstrap,
            "folder": state.folder, "clusterId": state.cluster_id,
        }));
    }
    output.list(&["cluster", "state", "bootstrap", "folder"], &rows, &all.into())
}

async fn reachable(state: &State) -> Result<Status, CliError> {
    state.management()?.status().await
}

/// The management endpoint of the running cluster of this directory that is reached at `bootstrap`, if there is one, and the topics of its file.
/// Nobody claims those, as the operator does for its objects: the file is what looks after them.
pub(crate) fn management_of(bootstrap: &[String]) -> Result<Option<(Management, Vec<String>)>, CliError> {
    let local = |address: &str| address.replacen("localhost:", "127.0.0.1:", 1);
    let wanted: Vec<String> = bootstrap.iter().map(|address| local(address)).collect();
    let states = State::load_all(Path::new(HOME), None)?;
    let running = states.iter().filter(|state| state.is_running());
    let mut found = running.filter(|state| wanted.contains(&state.bootstrap()));
    found.next().map(|state| Ok((state.management()?, state.topics.clone()))).transpose()
}

async fn down(output: &Output, only: Option<&str>) -> Result<(), CliError> {
    let mut stopped = Vec::new();
    for state in State::load_all(Path::new(HOME), only)? {
        // the supervisor ends its broker; a broker whose supervisor was killed is ended here
        let processes = [state.supervisor, state.broker];
        let Some(process) = processes.into_iter().flatten().find(|process| process.is_alive()) else { continue };
        process.terminate().map_err(|source| CliError::failed(&format!("stopping {}", state.cluster), source))?;
        let limit = tokio::time::Instant::now() + DOWN_LIMIT;
        let what =
            format!("the broker of cluster '{}' flushes and stops, at most {} s", state.cluster, DOWN_LIMIT.as_secs());
        let _progress = Progress::told(&what);
        while processes.into_iter().flatten().any(|process| process.is_alive()) {
            if tokio::time::Instant::now() > limit {
                return Err(CliError::Failed(format!(
                    "cluster '{}' did not stop within {} s: see {}",
                    state.cluster,
                    DOWN_LIMIT.as_secs(),
                    state.folder.join(supervisor::LOG).display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stopped.push(state.cluster);
    }
    let sentence = match stopped.as_slice() {
        [] => "Nothing was running.".to_owned(),
        names => format!("Stopped {}; the data stays in {HOME}.", names.join(", ")),
    };
    output.say(&sentence, &json!({"stopped": stopped}))
}
