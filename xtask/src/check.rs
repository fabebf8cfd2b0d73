//! What a change must pass before it is worth testing: format, lints, tidy, drift of generated files.
//!
//! Stops at the first step that fails, because the later ones would only repeat it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{generate, tidy};

/// Runs the steps in order, the cheap ones first.
pub(crate) fn run(root: &Path) -> Result<()> {
    cargo(root, &["fmt", "--all", "--check"])?;
    tidy::run(root)?;
    generate::run(root, generate::Mode::Check)?;
    cargo(root, &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root)
        .status()
        .with_context(|| format!("cannot start cargo {}", arguments.join(" ")))?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}
