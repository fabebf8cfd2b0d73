//! Logs on stderr: JSON in pods, text on a terminal, times in UTC.
//!
//! Records' contents are never logged. Who logs stands on every line. A place in the code that logs again and again is cut off for a
//! while, so that neither a client nor a broken disk can fill a node's logs.

use std::fmt;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use kennet_contract::LogFormat;
use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Lines that one place in the code may log in a [`WINDOW`].
const BURST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Who logs: fields of every line, with their values as JSON.
pub type Fields = Vec<(&'static str, String)>;

/// Starts logging; the first call counts, so that tests may call it too. `filter` is one of the tracing crate.
pub fn start_logs(format: LogFormat, filter: &str, fields: &Fields) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    let is_json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !is_terminal,
    };
    // an error means that a subscriber is there already
    let _ = subscriber(is_json, is_terminal, filter, fields, std::io::stderr).try_init();
}

fn subscriber<W>(
    is_json: bool,
    is_terminal: bool,
    filter: EnvFilter,
    fields: &Fields,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let format = tracing_subscriber::fmt::format().with_target(false).with_ansi(is_terminal);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(is_terminal);
    let lines = if is_json {
        let format = Json { inner: format.json().flatten_event(true), who: json(fields) };
        lines.json().event_format(format).boxed()
    } else {
        lines.event_format(Text { inner: format, who: text(fields) }).boxed()
    };
    tracing_subscriber::registry().with(lines).with(RepeatLimit::default()).with(filter)
}

fn json(fields: &Fields) -> String {
    fields.iter().map(|(name, value)| format!("\"{name}\":{value},")).collect()
}

fn text(fields: &Fields) -> String {
    fields.iter().map(|(name, value)| format!(" {name}={value}")).collect()
}

/// Fields of every line are made once, and no span has to be entered for them.
struct Json<F> {
    inner: F,
    who: String,
}

struct Text<F> {
    inner: F,
    who: String,
}

impl<S, N, F> FormatEvent<S, N> for Json<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &tracing_subscriber::fmt::FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        let rest = line.strip_prefix('{').ok_or(fmt::Error)?;
        write!(writer, "{{{}{rest}", self.who)
    }
}

impl<S, N, F> FormatEvent<S, N> for Text<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &tracing_subscriber::fmt::FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{}{}", line.trim_end(), self.who)
    }
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

    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::EnvFilter;

    use super::{BURST, Place, WINDOW, subscriber};

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

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(is_json: bool, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let fields = vec![("cluster", "\"c\"".to_owned()), ("broker", "3".to_owned())];
        let subscriber = subscriber(is_json, false, EnvFilter::new("info"), &fields, move || writer.clone());
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_line_of_json_is_one_object_that_says_who_logs() {
        let lines = logged(true, || {
            tracing::info!(topic = "t", partition = 1, "first");
            tracing::error!(error = "a \"quoted\" one", "second");
            tracing::debug!("below the level");
        });
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        for line in &lines {
            assert_eq!((line["cluster"].as_str(), line["broker"].as_i64()), (Some("c"), Some(3)));
            assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        }
        assert_eq!(
            (&lines[0]["topic"], &lines[0]["partition"], &lines[0]["message"]),
            (&"t".into(), &1.into(), &"first".into())
        );
        assert_eq!((&lines[1]["level"], &lines[1]["error"]), (&"ERROR".into(), &"a \"quoted\" one".into()));
    }

    #[test]
    fn a_line_of_text_ends_with_who_logs_and_has_no_colours() {
        let line = logged(false, || tracing::info!(topic = "t", "first"));
        assert!(line.ends_with("INFO first topic=\"t\" cluster=\"c\" broker=3\n"), "{line:?}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }

    #[test]
    fn a_place_that_logs_again_and_again_is_cut_off() {
        let lines = logged(true, || (0..100).for_each(|_| tracing::info!("again")));
        assert_eq!(lines.matches("again").count(), usize::try_from(BURST).unwrap());
    }
}
