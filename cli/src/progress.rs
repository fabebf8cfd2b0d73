//! What takes longer than a second shows on a terminal that it goes on: a spinner with a count or a sentence. When stderr is piped at most one
//! line is written, for waits that would otherwise look like a hang.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::AbortHandle;

use crate::output::note;

const SILENT: Duration = Duration::from_secs(1);
/// Often enough to look alive.
const TICK: Duration = Duration::from_millis(100);

/// A spinner that appears by itself, and goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    appears: Option<AbortHandle>,
}

impl Progress {
    /// Counts records that are printed: on a terminal they are progress enough.
    pub(crate) fn read() -> Self {
        Self::start("{spinner} {pos} records read, {per_sec}", !std::io::stdout().is_terminal())
    }

    /// Counts records that are written: somebody who types them needs no progress between the lines.
    pub(crate) fn written() -> Self {
        Self::start("{spinner} {pos} records written, {per_sec}", !std::io::stdin().is_terminal())
    }

    /// Says what is waited for.
    pub(crate) fn waiting(what: &str) -> Self {
        let progress = Self::start("{spinner} {msg}, {elapsed}", true);
        progress.say(what);
        progress
    }

    /// Says what is waited for, in a pipe too.
    pub(crate) fn told(what: &str) -> Self {
        let mut progress = Self::waiting(what);
        if progress.appears.is_none() {
            let line = what.to_owned();
            let tell = async move {
                tokio::time::sleep(SILENT).await;
                note(&line);
            };
            progress.appears = Some(tokio::spawn(tell).abort_handle());
        }
        progress
    }

    fn start(template: &str, wanted: bool) -> Self {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_style(style);
        let appears = (wanted && std::io::stderr().is_terminal()).then(|| {
            let bar = bar.clone();
            // a task, because nothing may happen for longer than that
            let appear = async move {
                tokio::time::sleep(SILENT).await;
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.enable_steady_tick(TICK);
            };
            tokio::spawn(appear).abort_handle()
        });
        Self { bar, appears }
    }

    pub(crate) fn set(&self, records: u64) {
        self.bar.set_position(records);
    }

    pub(crate) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(appears) = &self.appears {
            appears.abort();
        }
        self.bar.finish_and_clear();
    }
}
