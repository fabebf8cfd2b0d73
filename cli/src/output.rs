//! What a command prints: a table for people, or JSON for programs.
//!
//! All of it goes through here, so that a closed pipe ends a command quietly.

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::error::CliError;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// Where a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: OutputFormat,
}

impl Output {
    pub(crate) fn new(format: OutputFormat) -> Self {
        Self { format }
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == OutputFormat::Json
    }

    /// A list: a table with these columns, or the same as an array of objects.
    pub(crate) fn list(self, columns: &[&str], rows: &[Vec<String>], json: &Value) -> Result<(), CliError> {
        if self.is_json() {
            return self.json(json);
        }
        let mut table = Table::new();
        *table.style_mut() = presets::NOTHING;
        table.set_header(columns.iter().map(|name| name.to_uppercase()));
        if std::io::stdout().is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        table.add_rows(rows);
        let text: Vec<String> = table.lines().map(|line| line.trim_end().trim_start_matches(' ').to_owned()).collect();
        write_bytes(format!("{}\n", text.join("\n")).as_bytes())
    }

    /// One sentence for people, one object for programs.
    pub(crate) fn say(self, sentence: &str, json: &Value) -> Result<(), CliError> {
        if self.is_json() { self.json(json) } else { write_bytes(format!("{sentence}\n").as_bytes()) }
    }

    fn json(self, value: &Value) -> Result<(), CliError> {
        write_bytes(format!("{value:#}\n").as_bytes())
    }
}

/// So many of something, in words.
pub(crate) fn counted<N: std::fmt::Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Writes to stdout, all of it, now.
pub(crate) fn write_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}

/// A note for people that is not the command's result. Without a reader (`2>&1 | head`) it is nobody's, and the command goes on.
pub(crate) fn note(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "record")), ["0 records", "1 record", "2 records"]);
    }
}
