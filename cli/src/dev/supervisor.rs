//! `kennet dev up`: starts the broker, bootstraps it, applies the Topics, and stays until it is told to end.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use kennet_client::{Client, ClientOptions};
use kennet_contract::management::{BrokerState, Status};
use kennet_contract::{ClusterId, ExitCode};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::dev::manifest::{self, Manifest};
use crate::dev::state::{Process, State};
use crate::dev::{HOME, certificates, place, topics};
use crate::error::CliError;
use crate::management::Management;
use crate::output::{Output, note};
use crate::progress::Progress;

const BROKER: &str = "kennet-broker";
/// What the broker says, in the cluster's folder.
pub(super) const LOG: &str = "broker.log";
/// Recovery of much data takes its time; a broker that ends is noticed at once.
const START_LIMIT: Duration = Duration::from_secs(120);
/// A broker that flushes and closes; after that it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn up(output: &Output, file: &Path, base: Option<u16>) -> Result<(), CliError> {
    let manifest = manifest::read(file)?;
    if manifest.cluster.brokers == 0 {
        return Err(CliError::Config(format!(
            "{}: spec.brokers is 0, so there is nothing to start: give it 1; kennet dev down stops what is up",
            file.display()
        )));
    }
    // from here on signals end the broker too
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut state = prepare(&manifest, base)?;
    let mut broker = start(&mut state)?;
    let outcome = tokio::select! {
        biased;
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        status = broker.wait() => Err(ended(&state.folder.join(LOG), status.ok())),
        outcome = serve(output, &manifest, &state) => outcome,
    };
    let stopped = stop(&mut broker).await;
    state.supervisor = None;
    state.broker = None;
    state.save()?;
    outcome.and(stopped)
}

/// Checks that nobody else runs this cluster, and writes config and certificates.
fn prepare(manifest: &Manifest, base: Option<u16>) -> Result<State, CliError> {
    let name = manifest.cluster.name.as_str();
    let here = std::env::current_dir().map_err(|source| CliError::failed("the current directory", source))?;
    let home = here.join(HOME);
    let folder = home.join(name);
    let before = State::load(&home, name)?;
    if let Some(state) = &before
        && state.is_running()
    {
        let why = format!("cluster '{name}' is up already at {}: stop it with kennet dev down", state.bootstrap());
        return Err(CliError::Failed(why));
    }
    std::fs::create_dir_all(&folder)
        .map_err(|source| CliError::failed(&format!("creating {}", folder.display()), source))?;
    let base_port = match base {
        Some(base) => place::check_base(base)?,
        None => place::free_base(before.as_ref().map(|state| state.base_port))?,
    };
    let cluster_id =
        before.map_or_else(|| ClusterId::from_bytes(*uuid::Uuid::new_v4().as_bytes()), |state| state.cluster_id);
    certificates::write(&folder, cluster_id)?;
    let config = place::config(&manifest.cluster, cluster_id, &folder, base_port)?;
    let text = toml::to_string(&config).map_err(|error| CliError::Config(error.to_string()))?;
    let path = folder.join("broker.toml");
    std::fs::write(&path, text).map_err(|source| CliError::failed(&format!("writing {}", path.display()), source))?;
    let supervisor = Process::of(std::process::id());
    let topics = manifest.topics.iter().map(|topic| topic.name.clone()).collect();
    let state = State { cluster: name.to_owned(), cluster_id, base_port, supervisor, broker: None, topics, folder };
    state.save()?;
    Ok(state)
}

fn start(state: &mut State) -> Result<Child, CliError> {
    let program = find_broker()?;
    let log = state.folder.join(LOG);
    let file = File::create(&log).map_err(|source| CliError::failed(&format!("writing {}", log.display()), source))?;
    let broker = Command::new(&program)
        .arg("--config")
        .arg(state.folder.join("broker.toml"))
        .args(["--id", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        // Ctrl-C is for us: we end the broker
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| CliError::failed(&format!("starting {}", program.display()), source))?;
    state.broker = broker.id().and_then(Process::of);
    state.save()?;
    Ok(broker)
}

/// The broker beside this program, else the one on the PATH.
fn find_broker() -> Result<PathBuf, CliError> {
    let beside = std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join(BROKER)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths::<OsStr>(&path).map(|folder| folder.join(BROKER));
    let found = beside.into_iter().chain(on_path).find(|program| program.is_file());
    found.ok_or_else(|| {
        CliError::Failed(format!("there is no {BROKER} beside this program or on the PATH: build or install it"))
    })
}

/// Waits until the broker serves, applies the Topics, says so, and then waits for ever.
async fn serve(output: &Output, manifest: &Manifest, state: &State) -> Result<(), CliError> {
    let progress = Progress::waiting("the broker starts");
    let endpoint = state.management()?;
    let ready = async {
        let status = wait_for(&endpoint, &progress, |_| true, state).await?;
        if status.state == BrokerState::AwaitingBootstrap {
            endpoint.bootstrap(state.cluster_id, &status.directory_id).await?;
        }
        wait_for(&endpoint, &progress, |status| status.state == BrokerState::Serving, state).await?;
        Ok::<(), CliError>(())
    };
    let late = |_| {
        let log = state.folder.join(LOG);
        CliError::Failed(format!("the broker is not ready after {} s: see {}", START_LIMIT.as_secs(), log.display()))
    };
    tokio::time::timeout(START_LIMIT, ready).await.map_err(late)??;
    let client = Client::connect(ClientOptions::new(&state.bootstrap())).await?;
    let mut lines = Vec::new();
    for topic in &manifest.topics {
        progress.say(&format!("topic {} is applied", topic.name));
        let done = topics::apply(&client, topic).await?;
        lines.push(format!("{} ({})", topic.name, done.as_deref().unwrap_or("as it was")));
    }
    drop(client);
    drop(progress);
    announce(output, manifest, state, &lines)?;
    std::future::pending().await
}

/// Until the broker says what is wanted, or that it never will.
async fn wait_for(
    endpoint: &Management,
    progress: &Progress,
    wanted: impl Fn(&Status) -> bool,
    state: &State,
) -> Result<Status, CliError> {
    loop {
        if let Ok(status) = endpoint.status().await {
            if status.state == BrokerState::Failed {
                return Err(failed(state, &status));
            }
            if wanted(&status) {
                return Ok(status);
            }
            let logs = status.recovery;
            if status.state == BrokerState::Recovering && logs.logs_total > 0 {
                progress.say(&format!("the broker opens its logs: {} of {}", logs.logs_done, logs.logs_total));
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn announce(output: &Output, manifest: &Manifest, state: &State, topics: &[String]) -> Result<(), CliError> {
    for text in &manifest.notes {
        note(text);
    }
    let topics_line = if topics.is_empty() { "none".to_owned() } else { topics.join(", ") };
    let sentence = format!(
        "Cluster {} is up.\n  bootstrap  {}\n  topics     {topics_line}\n  metrics    http://127.0.0.1:{}/metrics\n  \
         files      {}\nCtrl-C stops it; the data stays.",
        state.cluster,
        state.bootstrap(),
        state.base_port + 9,
        state.folder.display()
    );
    let json = json!({
        "cluster": state.cluster, "clusterId": state.cluster_id, "bootstrap": state.bootstrap(),
        "folder": state.folder, "topics": topics,
    });
    output.say(&sentence, &json)
}

/// SIGTERM, and SIGKILL for a broker that does not heed it.
async fn stop(broker: &mut Child) -> Result<(), CliError> {
    let Some(process) = broker.id().and_then(Process::of) else { return Ok(()) };
    process.terminate().map_err(|source| CliError::failed("stopping the broker", source))?;
    if tokio::time::timeout(STOP_LIMIT, broker.wait()).await.is_ok() {
        return Ok(());
    }
    broker.kill().await.map_err(|source| CliError::failed("killing the broker", source))?;
    Err(CliError::Failed(format!("the broker did not stop within {} s and was killed", STOP_LIMIT.as_secs())))
}

/// The broker's own last words say best why it ended, unless it was killed: then they are about something else.
fn ended(log: &Path, status: Option<ExitStatus>) -> CliError {
    let shown = log.display();
    if let Some(number) = status.and_then(|status| status.signal()) {
        let why = match number {
            9 => ", which is also what the system does when memory runs out (dmesg tells)",
            _ => "",
        };
        return CliError::Broker {
            code: None,
            message: format!("the broker was killed by signal {number}{why}: its log is {shown}"),
        };
    }
    // not all of it need be text
    let words = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let last = words.lines().last().unwrap_or("it left no word").trim_start_matches("error: ");
    let message = format!("the broker ended: {last} (its log is {shown})");
    CliError::Broker { code: status.and_then(|status| status.code()), message }
}

/// A broker that stays up only to say that it can't use its data directory: with each partition that it has opened, and in its log.
fn failed(state: &State, status: &Status) -> CliError {
    let log = state.folder.join(LOG);
    let told = status.offline.iter().find_map(|one| reason_of(&one.reason).map(str::to_owned));
    let logged = || {
        let words = std::fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).ok()?;
        words.lines().find_map(reason_of).map(str::to_owned)
    };
    let reason = told.or_else(logged).unwrap_or_else(|| format!("its log {} says why", log.display()));
    let message = format!(
        "the broker can't use its data directory: {reason} (kennet-broker verify {} names what is damaged)",
        state.folder.join(place::DATA).display()
    );
    CliError::Broker { code: Some(ExitCode::DataDirectory as i32), message }
}

/// What failed, without what follows from it for clients.
fn reason_of(told: &str) -> Option<&str> {
    let (_, reason) = told.split_once("the data directory failed: ")?;
    Some(reason.split_once("; nothing is written").map_or(reason, |(reason, _)| reason))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::{ended, reason_of};
    use crate::error::CliError;

    #[test]
    fn the_reason_of_a_failed_directory_is_told_without_what_follows_from_it() {
        let said = "the data directory failed: segment 1 is damaged; nothing is written or trusted until the broker is restarted";
        assert_eq!(reason_of(said), Some("segment 1 is damaged"));
        assert_eq!(reason_of("ERROR partition is offline error=the data directory failed: no room"), Some("no room"));
        assert_eq!(reason_of("the partition is offline: its file is gone"), None);
    }

    #[test]
    fn a_killed_broker_is_told_by_its_signal_and_an_ended_one_by_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("broker.log");
        std::fs::write(&log, "starting\nerror: the disk is full\n").unwrap();
        let killed = ended(&log, Some(ExitStatus::from_raw(9))).to_string();
        assert!(killed.contains("was killed by signal 9") && killed.contains(log.to_str().unwrap()), "{killed}");
        assert!(!killed.contains("disk"), "{killed}");
        let ended = ended(&log, Some(ExitStatus::from_raw(4 << 8)));
        assert!(matches!(ended, CliError::Broker { code: Some(4), .. }));
        let ended = ended.to_string();
        assert!(ended.contains("the disk is full") && ended.contains(log.to_str().unwrap()), "{ended}");
    }
}
