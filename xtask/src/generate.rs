//! Files in the repository that are made from code: written, or compared with what is there.
//!
//! One table names each file and the function that makes it. A file that differs from its source is an error of
//! `cargo xtask check`, never mended silently.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What to do with the generated text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Write every file that differs.
    Write,
    /// Fail and name every file that differs.
    Check,
}

/// A file, relative to the workspace, and its text.
type Generated = (String, String);

/// Makes every generated file and writes or compares it.
pub(crate) fn run(root: &Path, mode: Mode) -> Result<()> {
    let mut stale = Vec::new();
    for (name, text) in files()? {
        let path = root.join(&name);
        if fs::read_to_string(&path).is_ok_and(|present| present == text) {
            continue;
        }
        if mode == Mode::Write {
            let folder = path.parent().with_context(|| format!("{name} has no folder"))?;
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        stale.push(name);
    }
    if mode == Mode::Check && !stale.is_empty() {
        bail!("generated files differ from their source; run `cargo xtask generate`:\n  {}", stale.join("\n  "));
    }
    Ok(())
}

fn files() -> Result<Vec<Generated>> {
    let mut files = Vec::new();
    for (name, text) in kennet_api::crd_files().context("the custom resource definitions")? {
        // the chart can only read files inside itself
        files.push((format!("charts/kennet/charts/kennet-crds/files/{name}"), text.clone()));
        files.push((format!("crds/{name}"), text));
    }
    Ok(files)
}
