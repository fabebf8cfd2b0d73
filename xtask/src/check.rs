//! What a change must pass before it is worth testing: format, lints, tidy, drift of generated files.
//!
//! Stops at the first step that fails, because the later ones would only repeat it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{generate, tidy};

/// Runs the steps in order, the cheap ones first.
pub(crate) fn run(root: &Path) -> Result<()> {
    cargo(root, &["fmt", "--all", "--check"])?;
    tidy::run(root)?;
    generate::run(root, generate::Mode::Check)?;
    cargo(root, &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    fuzz(root)
}

/// The fuzz targets are a workspace of their own and run with a nightly compiler only; what they call is checked with ours. Without their default feature the
/// fuzzer's C++ is not built, and in the same folder as the rest little is left to do: 25 s the first time, one later.
fn fuzz(root: &Path) -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = target.to_str().context("the target folder's name is no UTF-8")?;
    let manifest = ["--manifest-path", "fuzz/Cargo.toml"];
    cargo(root, &[&["fmt", "--check"], &manifest[..]].concat())?;
    let what = ["--locked", "--no-default-features", "--all-targets", "--target-dir", target, "--", "-D", "warnings"];
    cargo(root, &[&["clippy"], &manifest[..], &what].concat())
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
