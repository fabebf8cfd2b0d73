//! Rules for each Rust source file: it says what it is, it is short enough to read, it is plain ASCII.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The hard limit; CONTRIBUTING.md aims at 400. A file above it holds more than one noun.
const LINES_MAX: usize = 600;

/// Folders whose Rust files are ours and written by hand.
const FOLDERS: &[&str] = &["crates", "broker", "operator", "cli", "xtask", "tests", "bench", "fuzz"];

/// One sentence for each file that breaks a rule.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for folder in FOLDERS {
        for path in rust_files(&root.join(folder))? {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            findings.extend(judge(&text).into_iter().map(|finding| format!("{name}: {finding}")));
        }
    }
    Ok(findings)
}

fn judge(text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        findings
            .push("does not open with //!: say what the file is, its invariant, what it leaves to others".to_owned());
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(format!("has {lines} lines, more than {LINES_MAX}: split it by meaning"));
    }
    if let Some(number) = text.lines().position(|line| !line.is_ascii()) {
        findings.push(format!("line {} is not ASCII: write escapes in code and plain words in comments", number + 1));
    }
    findings
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            let generated = path.file_name().is_some_and(|name| name == "target" || name == "node_modules");
            if path.is_dir() && !generated {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, judge};

    #[test]
    fn a_file_must_say_what_it_is() {
        assert_eq!(judge("//! What it is.\n"), Vec::<String>::new());
        assert_eq!(judge("fn main() {}\n").len(), 1);
    }

    #[test]
    fn a_file_that_is_too_long_is_found() {
        let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(judge(&long).len(), 1);
    }

    #[test]
    fn letters_outside_ascii_are_found_with_their_line() {
        assert!(judge("//! One.\n// na\u{ef}ve\n")[0].starts_with("line 2 "));
    }
}
