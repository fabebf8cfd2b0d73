//! A counter on the terminal for what takes longer than a second; nothing when stderr is piped.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

const SILENT: Duration = Duration::from_secs(1);

/// Counts records.
#[derive(Debug)]
pub(crate) struct Progress {
    verb: &'static str,
    started: Instant,
    shown: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `verb` says what happens to the records: `read`, `written`.
    pub(crate) fn new(verb: &'static str) -> Self {
        // records on a terminal are progress enough
        let shown = std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
        Self { verb, started: Instant::now(), shown, bar: None }
    }

    pub(crate) fn set(&mut self, records: u64) {
        if !self.shown || self.started.elapsed() < SILENT {
            return;
        }
        let verb = self.verb;
        let bar = self.bar.get_or_insert_with(|| {
            let template = format!("{{spinner}} {{pos}} records {verb}, {{per_sec}}");
            let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        bar.set_position(records);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
