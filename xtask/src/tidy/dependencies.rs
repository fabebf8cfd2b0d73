//! Every dependency of the workspace has one line in docs/dependencies.md that says why it is there, and no line is
//! left behind for one that is gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const NOTES: &str = "docs/dependencies.md";

/// One sentence for each dependency without a note and for each note without a dependency.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let notes = fs::read_to_string(root.join(NOTES)).with_context(|| format!("cannot read {NOTES}"))?;
    let used = dependencies(&manifest.parse().context("cannot parse Cargo.toml")?);
    let noted = noted(&notes);
    let missing = used.difference(&noted).map(|name| format!("{NOTES}: no line says why {name} is used"));
    let stale = noted.difference(&used).map(|name| format!("{NOTES}: {name} is not a dependency of the workspace"));
    Ok(missing.chain(stale).collect())
}

fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let Some(table) = manifest.get("workspace").and_then(|w| w.get("dependencies")).and_then(toml::Value::as_table)
    else {
        return BTreeSet::new();
    };
    table.keys().filter(|name| !name.starts_with("kennet")).cloned().collect()
}

/// The names in the first column of the page's tables: `| `name` | why |`.
fn noted(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|rest| rest.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::noted;

    #[test]
    fn a_note_is_the_first_column_in_backticks() {
        let page = "| crate | why |\n|---|---|\n| `bytes` | shared buffers, unlike `Vec` |\ntext `axum`";
        assert_eq!(noted(page).into_iter().collect::<Vec<_>>(), ["bytes"]);
    }
}
