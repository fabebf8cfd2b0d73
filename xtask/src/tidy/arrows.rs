//! Who may use whom: the crates' dependency arrows, as ARCHITECTURE.md draws them.
//!
//! Only ordinary dependencies count; a test may reach for what it needs. The table is the rule, the manifests are
//! checked against it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A crate's folder, its package, and the packages of this workspace that it may use.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("crates/protocol-derive", "kennet-protocol-derive", &[]),
    ("crates/protocol", "kennet-protocol", &["kennet-protocol-derive"]),
    ("crates/log", "kennet-log", &["kennet-protocol"]),
    ("crates/contract", "kennet-contract", &[]),
    ("crates/metadata", "kennet-metadata", &["kennet-protocol", "kennet-contract"]),
    ("crates/api", "kennet-api", &[]),
    ("crates/model", "kennet-model", &["kennet-api", "kennet-contract"]),
    ("crates/client", "kennet-client", &["kennet-protocol", "kennet-contract"]),
    ("crates/process", "kennet-process", &["kennet-contract"]),
    (
        "broker",
        "kennet-broker",
        &["kennet-log", "kennet-metadata", "kennet-client", "kennet-contract", "kennet-protocol", "kennet-process"],
    ),
    (
        "operator",
        "kennet-operator",
        &["kennet-api", "kennet-model", "kennet-contract", "kennet-client", "kennet-process"],
    ),
    ("cli", "kennet", &["kennet-api", "kennet-model", "kennet-contract", "kennet-client"]),
    ("bench/load", "kennet-bench-load", &["kennet-protocol"]),
];

/// One sentence for each arrow that is not in the table, and for each crate that the table does not know.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = unknown_members(root)?;
    for (folder, package, allowed) in ARROWS {
        let used = workspace_dependencies(&manifest(root, folder)?);
        findings.extend(used.iter().filter(|name| !allowed.contains(&name.as_str())).map(|name| {
            format!("{folder}/Cargo.toml: {package} may not use {name}; ARCHITECTURE.md shows the arrows that exist")
        }));
    }
    Ok(findings)
}

fn unknown_members(root: &Path) -> Result<Vec<String>> {
    let workspace = manifest(root, ".")?;
    let members = workspace["workspace"]["members"].as_array().context("Cargo.toml: no list workspace.members")?;
    Ok(members
        .iter()
        .filter_map(toml::Value::as_str)
        .filter(|member| !matches!(*member, "xtask") && !member.starts_with("tests"))
        .filter(|member| ARROWS.iter().all(|(folder, ..)| folder != member))
        .map(|member| format!("{member}/Cargo.toml: not in the table of xtask/src/tidy/arrows.rs; say what it may use"))
        .collect())
}

fn manifest(root: &Path, folder: &str) -> Result<toml::Value> {
    let path = root.join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse::<toml::Table>().map(toml::Value::Table).with_context(|| format!("cannot parse {}", path.display()))
}

fn workspace_dependencies(manifest: &toml::Value) -> Vec<String> {
    let Some(table) = manifest.get("dependencies").and_then(toml::Value::as_table) else { return Vec::new() };
    table.keys().filter(|name| name.starts_with("kennet")).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::workspace_dependencies;

    #[test]
    fn only_ordinary_dependencies_of_this_workspace_are_arrows() {
        let manifest = "[dependencies]\nkennet-log.workspace = true\nbytes = \"1\"\n[dev-dependencies]\nkennet-api.workspace = true";
        let parsed = toml::Value::Table(manifest.parse().unwrap());
        assert_eq!(workspace_dependencies(&parsed), ["kennet-log"]);
    }
}
