//! What the tests keep outside the checkout: listed with its size, or removed.
//!
//! Only the one folder that belongs to Kennet is ever touched.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// `$XDG_CACHE_HOME/kennet`, else `$HOME/.cache/kennet`.
pub(crate) fn folder() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(path) => PathBuf::from(path),
        None => {
            PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache")
        }
    };
    Ok(base.join("kennet"))
}

/// Lists the entries of the cache with their sizes, or removes the whole folder.
#[expect(clippy::print_stdout, reason = "the list is the task's result")]
pub(crate) fn run(clear: bool) -> Result<()> {
    let folder = folder()?;
    if clear {
        if folder.is_dir() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        println!("removed {}", folder.display());
        return Ok(());
    }
    println!("{}", folder.display());
    if !folder.is_dir() {
        println!("  empty");
        return Ok(());
    }
    let mut entries: Vec<_> = fs::read_dir(&folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let mebibytes = size(&entry.path())? / (1024 * 1024);
        println!("  {mebibytes:>7} MiB  {}", entry.file_name().display());
    }
    Ok(())
}

fn size(path: &Path) -> Result<u64> {
    let data = path.symlink_metadata().with_context(|| format!("cannot read {}", path.display()))?;
    if !data.is_dir() {
        return Ok(data.len());
    }
    let mut total = 0;
    for entry in fs::read_dir(path)? {
        total += size(&entry?.path())?;
    }
    Ok(total)
}
