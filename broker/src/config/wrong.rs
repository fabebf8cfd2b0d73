//! What is wrong with a config file, for those who wrote it: key, value, what was expected, what to do.
//!
//! The parser knows places in the file and Rust's types. Keys, values and words for what is expected are added here; what the values of a
//! well-formed file mean is checked by [`BrokerConfig::resolve`].

use kennet_contract::{BrokerConfig, nearest};
use serde_path_to_error::Segment;
use toml::Value;
use toml::de::Error;

/// What is wrong, and where if it is one place.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) line: Option<usize>,
    pub(super) what: String,
}

/// A value is shown up to so many characters.
const SHOWN_MAX: usize = 100;

/// Parses the file.
pub(super) fn parse(text: &str) -> Result<BrokerConfig, Wrong> {
    let not_toml = |error: &Error| Wrong {
        line: line(text, error),
        what: format!("{}; correct the line, which has to be TOML", one_line(error)),
    };
    let table: toml::Table = text.parse().map_err(|error| not_toml(&error))?;
    let deserializer = toml::Deserializer::parse(text).map_err(|error| not_toml(&error))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path: Vec<_> = error.path().iter().cloned().collect();
        let error = error.into_inner();
        Wrong { line: line(text, &error), what: what(&one_line(&error), &path, table) }
    })
}

/// The parser's errors are known by how they begin. All others are values that don't fit.
fn what(message: &str, path: &[Segment], table: toml::Table) -> String {
    let mut words = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field `") {
        let found = words.next().unwrap_or_default();
        let known: Vec<_> = words.collect();
        return unknown(&field(path, found), found, &known);
    }
    if message.starts_with("missing field `") {
        let key = field(path, words.next().unwrap_or_default());
        return format!("{key} is missing: expected {}; add it", expected(&key));
    }
    let key = name(path);
    format!("{key} is {}: expected {}; correct the value", shown(path, table), expected(&key))
}

fn unknown(key: &str, found: &str, known: &[&str]) -> String {
    let perhaps = nearest(found, known.iter().copied());
    let perhaps = perhaps.map_or_else(String::new, |near| format!(", perhaps {near}"));
    let known = known.join(", ");
    format!("there is no key {key}: expected one of {known}{perhaps}; correct the name or remove it")
}

/// What a key's value is, in words.
fn expected(key: &str) -> &'static str {
    if key.starts_with("kafka.") {
        return "a value in quotes, and its key in quotes because it has dots, as in \"num.partitions\" = \"3\"";
    }
    match key.rsplit('.').next().unwrap_or_default() {
        "contract" => "a whole number, which is 1 in this version",
        "cluster_id" => "22 characters of base64url in quotes, as kafka-storage random-uuid prints them",
        "broker_id" => "a whole number from 0 to 999, or \"{id}\" in quotes",
        "log_format" => "\"auto\", \"json\" or \"text\"",
        "memory_bytes" => "a whole number of bytes, not below 0",
        "port" => "a whole number from 0 to 65535, where 0 is any free port",
        "advertised_port" => "a whole number from 0 to 65535",
        "listeners" => "one table [[listeners]] or more",
        "management" | "certificates" | "probes" | "metrics" | "kafka" => {
            "a table, which begins with its name in brackets"
        }
        "data_directory" | "ca" | "certificate" | "key" => "a path in quotes",
        _ => "a text in quotes",
    }
}

/// The key of a field that the path's table has not, or should not have.
fn field(path: &[Segment], field: &str) -> String {
    let table = match path.split_last() {
        Some((Segment::Map { key }, before)) if key == field => name(before),
        _ => name(path),
    };
    if table.is_empty() { field.to_owned() } else { format!("{table}.{field}") }
}

fn name(path: &[Segment]) -> String {
    let mut name = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => name.push_str(&format!("[{index}]")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                let dot = if name.is_empty() { "" } else { "." };
                name.push_str(&format!("{dot}{key}"));
            }
            Segment::Unknown => {}
        }
    }
    name
}

/// The value that the path leads to, as it could be in the file.
fn shown(path: &[Segment], table: toml::Table) -> String {
    let root = Value::Table(table);
    let value = path.iter().try_fold(&root, |value, segment| match segment {
        Segment::Seq { index } => value.get(*index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    });
    match value {
        Some(Value::Table(_)) => "a table".to_owned(),
        Some(Value::Array(_)) => "a list".to_owned(),
        Some(value) => value.to_string().chars().take(SHOWN_MAX).collect(),
        None => "another value".to_owned(),
    }
}

/// The line that the parser points at, counted from 1.
fn line(text: &str, error: &Error) -> Option<usize> {
    let before = text.get(..error.span()?.start)?;
    Some(before.matches('\n').count() + 1)
}

/// The parser points into the file over several lines; what went wrong fits one.
fn one_line(error: &Error) -> String {
    error.message().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::parse;

    const FILE: &str = r#"contract = 1
cluster_name = "orders"
cluster_id = "5L6g3nShT-eMCtK--X86sw"
broker_id = "{id}"
data_directory = "/var/lib/kennet"
log_format = "auto"
probes = { bind = "::", port = 9192 }
metrics = { bind = "::", port = 9193 }
[[listeners]]
name = "plain"
bind = "::"
port = 9092
advertised_host = "h"
advertised_port = 9092
[management]
bind = "::"
port = 9191
[management.certificates]
ca = "ca.crt"
certificate = "tls.crt"
key = "tls.key"
[kafka]
"num.partitions" = "3"
"#;

    #[test]
    fn what_is_wrong_has_key_value_expectation_and_remedy() {
        parse(FILE).expect("the file is right as it is");
        let changes = [
            ("port = 9092\nadvertised_host", "port = 70000\nadvertised_host"),
            ("port = 9192", "port = \"9192\""),
            ("advertised_port = 9092", ""),
            ("advertised_port", "advertized_port"),
            ("contract = 1", "contract = -1"),
            ("contract = 1", "contract = 1\nmemory_byte = 5"),
            ("contract = 1", "contract = 1\nmemory_bytes = -5"),
            ("contract = 1", "contract = 1\nmetadata = {}"),
            ("\"{id}\"", "true"),
            ("\"5L6g3nShT-eMCtK--X86sw\"", "\"short\""),
            ("\"auto\"", "\"xml\""),
            ("\"ca.crt\"", "7"),
            ("= \"3\"", "= 3"),
            ("\"num.partitions\" = \"3\"", "num.partitions = \"3\""),
            ("[[listeners]]", "[listeners]"),
            ("[management.certificates]", "[management.certificate]"),
            ("{ bind = \"::\", port = 9192 }", "9192"),
            ("contract = 1", "contract = 1\ncontract = 1"),
        ];
        let said = changes.map(|(right, wrong)| {
            let wrong = parse(&FILE.replacen(right, wrong, 1)).expect_err(wrong);
            format!("{}: {}", wrong.line.unwrap_or(0), wrong.what)
        });
        insta::assert_snapshot!(said.join("\n"));
    }
}
