//! Logs on stderr: JSON in pods, text on a terminal, times in UTC.
//!
//! Levels follow `KENNET_LOG`, a filter of the tracing crate. Records' contents are never logged. A place in the code that logs again and
//! again is cut off for a while, so that neither a client nor a broken disk can fill a node's logs.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use kennet_contract::LogFormat;
use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Lines that one place in the code may log in a [`WINDOW`].
const BURST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Starts logging; the first call counts, so that tests may call it too.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("KENNET_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal).with_target(false);
    let is_json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !is_terminal,
    };
    let lines = if is_json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    // an error means that a subscriber is there already
    let _ = tracing_subscriber::registry().with(lines).with(RepeatLimit::default()).with(filter).try_init();
}

/// Drops what one place logs beyond [`BURST`] in a [`WINDOW`], and says so.
#[derive(Default)]
struct RepeatLimit {
    places: Mutex<HashMap<Identifier, Place>>,
}

struct Place {
    since: Instant,
    lines: u32,
}

impl Place {
    fn new(now: Instant) -> Self {
        Self { since: now, lines: 0 }
    }

    /// Counts a line; answers how many the window has now, and how many the one before lost.
    fn count(&mut self, now: Instant) -> (u32, u32) {
        let mut lost = 0;
        if now.duration_since(self.since) >= WINDOW {
            lost = self.lines.saturating_sub(BURST);
            *self = Self::new(now);
        }
        self.lines = self.lines.saturating_add(1);
        (self.lines, lost)
    }
}

impl<S: Subscriber> Layer<S> for RepeatLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let now = Instant::now();
        let metadata = event.metadata();
        let (lines, lost) = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.entry(metadata.callsite()).or_insert_with(|| Place::new(now)).count(now)
        };
        let (file, line) = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
        if lost > 0 {
            tracing::warn!(file, line, lost, "lines like the next one were left out");
        }
        if lines == BURST + 1 {
            tracing::warn!(
                file,
                line,
                seconds = WINDOW.as_secs(),
                "more lines like the last ones are left out for now"
            );
        }
        lines <= BURST
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{BURST, Place, WINDOW};

    #[test]
    fn a_place_that_repeats_itself_is_cut_off_until_the_next_window() {
        let start = Instant::now();
        let mut place = Place::new(start);
        for line in 1..=BURST + 5 {
            assert_eq!(place.count(start), (line, 0));
        }
        assert_eq!(place.count(start + WINDOW), (1, 5));
        assert_eq!(place.count(start + WINDOW), (2, 0));
    }
}
