//! Rules about the source that neither the compiler nor clippy checks.
//!
//! Every rule returns its findings as sentences with the file's name first; nothing is changed on disk.

mod arrows;
mod dependencies;
mod sources;

use std::path::Path;

use anyhow::{Result, bail};

/// Runs every rule over the workspace at `root` and fails with all findings at once.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut findings = arrows::check(root)?;
    findings.extend(dependencies::check(root)?);
    findings.extend(sources::check(root)?);
    if findings.is_empty() {
        return Ok(());
    }
    findings.sort();
    bail!("tidy found {} thing(s) to mend:\n  {}", findings.len(), findings.join("\n  "))
}
