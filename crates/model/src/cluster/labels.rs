//! Keys and values of labels as Kubernetes takes them: what is wrong is said here, with the field, and not by a StatefulSet that is refused.

use std::collections::BTreeMap;

use crate::problem::Problem;

/// A label's value and the name in a key have at most so many characters.
const NAME_MAX: usize = 63;
/// The prefix of a key, which is a DNS name.
const PREFIX_MAX: usize = 253;

/// Checks keys, which labels, annotations and node selectors have in common.
pub(super) fn check_keys(path: &str, map: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    for key in map.keys().filter(|key| !is_key(key)) {
        let remedy = "this is no key of a label: use at most 63 characters a-z, A-Z, 0-9, '-', '_' and '.', a letter or digit first and last, \
            after a DNS name and '/' if any";
        problems.push(Problem::new(path, key, remedy));
    }
}

/// Checks values of labels and node selectors.
pub(super) fn check_values(path: &str, map: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    for (key, value) in map.iter().filter(|(_, value)| !value.is_empty() && !is_name(value)) {
        let remedy = "this is no value of a label: use at most 63 characters a-z, A-Z, 0-9, '-', '_' and '.', a letter or digit first and last";
        problems.push(Problem::new(&format!("{path}[{key}]"), value, remedy));
    }
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => {
            let label = |label: &str| {
                label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                    && !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            };
            is_name(name) && prefix.len() <= PREFIX_MAX && prefix.split('.').all(label)
        }
    }
}

fn is_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= NAME_MAX && text.bytes().all(inside) && ends(text.bytes().next()) && ends(text.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::{is_key, is_name};

    #[test]
    fn keys_and_values_are_what_kubernetes_takes() {
        for good in ["a", "A_b.c-9", "example.com/team", &"x".repeat(63)] {
            assert!(is_key(good), "{good}");
        }
        for bad in ["", "-a", "a b", "/a", "a/", "Ex.com/a", "a/b/c", "a..b/c", &"x".repeat(64)] {
            assert!(!is_key(bad), "{bad}");
        }
        assert!(is_name("a.b") && !is_name("a/b") && !is_name("a-"));
    }
}
