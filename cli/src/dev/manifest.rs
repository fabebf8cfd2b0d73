//! The manifests of a file: one KafkaCluster, and Topics of it.
//!
//! Everything is checked before anything is started. Kinds that have no meaning here are told, not refused: the same file is meant for
//! Kubernetes too.

use std::path::Path;

use kennet_api::names::{GROUP, VERSION};
use kennet_api::{KafkaClusterSpec, TopicSpec};
use kennet_model::cluster::{ValidatedCluster, validate as validate_cluster};
use kennet_model::topic::{ValidatedTopic, validate as validate_topic};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::CliError;

/// What only Kubernetes can do something with.
const WITHOUT_MEANING: [&str; 8] =
    ["version", "image", "storage", "resources", "pods", "rollout", "disruptionBudget", "listeners[].port"];

/// A file to begin with, in this repository.
const EXAMPLE: &str = "examples/quickstart.yaml";

/// What a file asks for.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) cluster: ValidatedCluster,
    pub(super) topics: Vec<ValidatedTopic>,
    /// What the file says and nobody here heeds, as sentences.
    pub(super) notes: Vec<String>,
}

/// Reads and checks a file.
pub(super) fn read(path: &Path) -> Result<Manifest, CliError> {
    let shown = path.display();
    // the file is the config of what is started, so that it ends as the broker does without its own
    let text =
        std::fs::read_to_string(path).map_err(|source| CliError::Config(format!("reading {shown}: {source}")))?;
    parse(&text).map_err(|why| CliError::Config(format!("{shown}: {why}")))
}

fn parse(text: &str) -> Result<Manifest, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| unreadable(&error))?;
    let mut cluster = None;
    let mut topics = Vec::new();
    let mut notes = Vec::new();
    for document in documents.iter().filter(|document| !document.is_null()) {
        let field = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (version, kind, name) = (field("/apiVersion"), field("/kind"), field("/metadata/name"));
        let ours = is_ours(version, kind).map_err(|why| format!("{kind} '{name}': {why}"))?;
        match kind {
            "KafkaCluster" if ours => {
                let spec: KafkaClusterSpec = spec(document, kind, name)?;
                let valid =
                    validate_cluster(name, "default", &spec).map_err(|error| format!("{kind} '{name}': {error}"))?;
                if cluster.replace(valid).is_some() {
                    return Err("it has two KafkaClusters: give one to each kennet dev".to_owned());
                }
                notes.extend(unheeded(document));
            }
            "Topic" if ours => {
                let spec: TopicSpec = spec(document, kind, name)?;
                let valid = validate_topic(name, &spec).map_err(|error| format!("{kind} '{name}': {error}"))?;
                topics.push((spec.cluster_ref.name, valid));
            }
            _ if ours && !OTHER_KINDS.contains(&kind) => {
                return Err(format!(
                    "{kind} '{name}': {GROUP} has no such kind: expected KafkaCluster, Topic or OffsetReset"
                ));
            }
            _ => notes.push(format!("{kind} '{name}' has no meaning without Kubernetes")),
        }
    }
    let cluster = cluster.ok_or_else(|| {
        format!("it has no KafkaCluster: expected a document with apiVersion {GROUP}/{VERSION} and kind KafkaCluster, as in {EXAMPLE}")
    })?;
    if let Some((other, topic)) = topics.iter().find(|(of, _)| of != cluster.name.as_str()) {
        return Err(format!("topic '{}' is of cluster '{other}', and the file has '{}'", topic.name, cluster.name));
    }
    Ok(Manifest { cluster, topics: topics.into_iter().map(|(_, topic)| topic).collect(), notes })
}

/// Why it is no YAML. What an object begins with is there twice when the line between two of them is missing.
fn unreadable(error: &serde_saphyr::Error) -> String {
    let serde_saphyr::Error::DuplicateMappingKey { key, location } = error.without_snippet() else {
        return error.to_string();
    };
    let key = key.as_deref().unwrap_or("?");
    let separated = match ["apiVersion", "kind", "metadata", "spec"].contains(&key) {
        true => ": is a line --- missing between two objects?",
        false => ": remove one of them",
    };
    format!("line {}: key '{key}' is there twice{separated}", location.line())
}

/// Kinds of ours that only an operator can do something with.
const OTHER_KINDS: [&str; 3] = ["OffsetReset", "User", "Reassignment"];

/// Whether it is one of our group's kinds. Of those only one version is known; a cluster or topic that names no version at all is one of them.
fn is_ours(version: &str, kind: &str) -> Result<bool, String> {
    let expected = format!("{GROUP}/{VERSION}");
    let forgotten = version.is_empty() && matches!(kind, "KafkaCluster" | "Topic");
    let ours = forgotten || version.split('/').next() == Some(GROUP);
    if ours && version != expected {
        return Err(format!("apiVersion is '{version}': expected {expected}"));
    }
    Ok(ours)
}

fn spec<T: DeserializeOwned + Serialize + JsonSchema>(document: &Value, kind: &str, name: &str) -> Result<T, String> {
    let given = document.get("spec").unwrap_or(&Value::Null);
    let no_such = |field: &str| format!("{kind} '{name}': spec{field}: there is no such field: correct or remove it");
    let wrong = |error: serde_json::Error| format!("{kind} '{name}': spec: {error}");
    let spec = T::deserialize(given).map_err(|error| match misspelt::<T>(given) {
        // that a field is missing is then only what follows from it
        Some(field) => no_such(&field),
        None => wrong(error),
    })?;
    let read = serde_json::to_value(&spec).map_err(wrong)?;
    match unknown_field(given, &read) {
        None => Ok(spec),
        Some(field) => Err(no_such(&field)),
    }
}

/// The first field of a spec that its kind does not have, whatever else is wrong with it.
fn misspelt<T: JsonSchema>(given: &Value) -> Option<String> {
    let schema = schemars::schema_for!(T);
    let known = schema.get("properties")?.as_object()?;
    let unknown = given.as_object()?.keys().find(|key| !known.contains_key(*key))?;
    Some(format!(".{unknown}"))
}

/// The first field that was given and not read, which an API server would have refused. The kind's own types pass over such a field, because
/// a newer definition may have it.
fn unknown_field(given: &Value, read: &Value) -> Option<String> {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => given.iter().find_map(|(key, value)| match read.get(key) {
            Some(read) => unknown_field(value, read).map(|field| format!(".{key}{field}")),
            None => (!is_empty(value)).then(|| format!(".{key}")),
        }),
        (Value::Array(given), Value::Array(read)) => given
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(at, (given, read))| unknown_field(given, read).map(|field| format!("[{at}]{field}"))),
        _ => None,
    }
}

/// What a known field may be written as and is not written back.
fn is_empty(value: &Value) -> bool {
    value.is_null()
        || value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
}

fn unheeded(document: &Value) -> Option<String> {
    let spec = document.get("spec")?.as_object()?;
    let mut fields: Vec<&str> = WITHOUT_MEANING.into_iter().filter(|field| spec.contains_key(*field)).collect();
    if spec.contains_key("listeners") {
        fields.push("listeners[].port");
    }
    (!fields.is_empty()).then(|| format!("without meaning on this machine: {}", fields.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::parse;

    const QUICKSTART: &str = include_str!("../../../examples/quickstart.yaml");

    #[test]
    fn the_quickstart_is_one_cluster_with_a_topic() {
        let manifest = parse(QUICKSTART).unwrap();
        assert_eq!(manifest.cluster.name.as_str(), "quickstart");
        assert_eq!(manifest.topics.len(), 1);
        assert_eq!(manifest.notes, ["without meaning on this machine: storage"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = parse(&QUICKSTART.replace("partitions: 6", "partitions: 0")).unwrap_err();
        assert!(error.contains("Topic 'events'") && error.contains("spec.partitions"), "{error}");
        let error = parse(&QUICKSTART.replace("brokers: 1", "broker: 1")).unwrap_err();
        assert!(error.contains("KafkaCluster 'quickstart': spec.broker: there is no such field"), "{error}");
        let error = parse(&QUICKSTART.replace("brokers: 1", "")).unwrap_err();
        assert!(error.contains("missing field `brokers`"), "{error}");
        let error = parse(&QUICKSTART.replace("size: 1Gi", "size: 1Gi\n    clas: fast")).unwrap_err();
        assert!(error.contains("spec.storage.clas"), "{error}");
    }

    #[test]
    fn a_file_without_a_cluster_is_told_what_is_expected() {
        for text in ["", "kind: ConfigMap"] {
            let error = parse(text).unwrap_err();
            for words in
                ["no KafkaCluster", "apiVersion kennet.dev/v1alpha1", "kind KafkaCluster", "examples/quickstart.yaml"]
            {
                assert!(error.contains(words), "'{words}' is not in: {error}");
            }
        }
    }

    #[test]
    fn a_key_that_is_there_twice_asks_for_the_line_between_objects() {
        let error = parse(&QUICKSTART.replace("---\n", "")).unwrap_err();
        assert!(
            error.contains("key 'apiVersion' is there twice: is a line --- missing between two objects?"),
            "{error}"
        );
        let error = parse("kind: KafkaCluster\nmetadata:\n  name: a\n  name: b\n").unwrap_err();
        assert_eq!(error, "line 4: key 'name' is there twice: remove one of them");
    }

    #[test]
    fn only_the_version_that_is_known_is_read() {
        for version in ["kennet.dev/v1", "kennet.dev/v1alpha2", "kennet.dev/", "kennet.dev", "\"\""] {
            for kind in ["KafkaCluster", "Topic"] {
                let known = format!("apiVersion: kennet.dev/v1alpha1\nkind: {kind}");
                let error =
                    parse(&QUICKSTART.replace(&known, &format!("apiVersion: {version}\nkind: {kind}"))).unwrap_err();
                assert!(error.contains(kind) && error.contains("expected kennet.dev/v1alpha1"), "{version}: {error}");
            }
        }
        let error = parse(&QUICKSTART.replace("kind: Topic", "kind: KafkaTopic")).unwrap_err();
        assert!(error.contains("KafkaTopic 'events': kennet.dev has no such kind"), "{error}");
        let reset = "\n---\napiVersion: kennet.dev/v1alpha1\nkind: OffsetReset\nmetadata: {name: back}\n";
        let notes = parse(&format!("{QUICKSTART}{reset}")).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains("OffsetReset 'back' has no meaning")), "{notes:?}");
        // another group's kind of the same name is not meant for us
        let foreign = "\n---\napiVersion: example.org/v1\nkind: Topic\nmetadata: {name: other}\n";
        assert_eq!(parse(&format!("{QUICKSTART}{foreign}")).unwrap().topics.len(), 1);
    }
}
