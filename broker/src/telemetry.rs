//! Logs on stderr: JSON in pods, text on a terminal, times in UTC.
//!
//! Levels follow `KENNET_LOG`, a filter of the tracing crate. Records' contents are never logged.

use std::io::IsTerminal;

use kennet_contract::LogFormat;
use tracing_subscriber::EnvFilter;

/// Starts logging; the first call counts, so that tests may call it too.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("KENNET_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    let base = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .with_env_filter(filter)
        .with_target(false);
    let is_json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !is_terminal,
    };
    // an error means that a subscriber is there already
    let _ = if is_json { base.json().flatten_event(true).try_init() } else { base.try_init() };
}
