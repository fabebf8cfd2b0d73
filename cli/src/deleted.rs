//! Deleting several things by name: each is tried, and what became of each is told.
//!
//! What one of them is refused for says nothing about the others. Only when the cluster can't be reached any more the rest is left.

use kennet_client::ClientError;
use serde_json::{Value, json};

use crate::error::CliError;
use crate::output::Output;

/// What became of the names.
#[derive(Debug, Default)]
struct Deleted {
    done: Vec<String>,
    failed: Vec<(String, String)>,
}

/// Deletes each, and tells what was deleted; then fails if any was not.
pub(crate) async fn each(
    output: &Output,
    kind: &str,
    names: &[String],
    delete: impl AsyncFn(&str) -> Result<(), ClientError>,
) -> Result<(), CliError> {
    let outcome = try_each(kind, names, delete).await;
    if !outcome.done.is_empty() {
        output.say(&format!("Deleted {}.", outcome.done.join(", ")), &outcome.json())?;
    }
    outcome.result()
}

async fn try_each(kind: &str, names: &[String], delete: impl AsyncFn(&str) -> Result<(), ClientError>) -> Deleted {
    let mut outcome = Deleted::default();
    let mut names = names.iter();
    for name in names.by_ref() {
        match delete(name).await {
            Ok(()) => outcome.done.push(name.clone()),
            Err(error) => {
                let unreachable = error.code().is_none();
                outcome.failed.push((name.clone(), CliError::from(error).to_string()));
                if unreachable {
                    break;
                }
            }
        }
    }
    outcome.failed.extend(names.map(|name| (name.clone(), format!("{kind} '{name}' was not tried"))));
    outcome
}

impl Deleted {
    fn json(&self) -> Value {
        let failed: Vec<Value> = self.failed.iter().map(|(name, why)| json!({"name": name, "message": why})).collect();
        json!({"deleted": self.done, "failed": failed})
    }

    fn result(&self) -> Result<(), CliError> {
        let why: Vec<&str> = self.failed.iter().map(|(_, why)| why.as_str()).collect();
        if why.is_empty() { Ok(()) } else { Err(CliError::Failed(why.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use kennet_client::{ClientError, ErrorCode};

    use super::try_each;

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn one_that_is_refused_keeps_the_others_from_nothing() {
        let delete = async |name: &str| match name {
            "b" => Err(ClientError::Refused {
                api: "DeleteTopics",
                object: "topic 'b'".to_owned(),
                code: ErrorCode::UnknownTopicOrPartition,
                message: None,
            }),
            _ => Ok(()),
        };
        let outcome = try_each("topic", &names(), delete).await;
        let said = outcome.result().unwrap_err().to_string();
        assert!(said.contains("topic 'b' does not exist"), "{said}");
        let json = outcome.json();
        assert_eq!(json["deleted"], serde_json::json!(["a", "c"]));
        assert_eq!(json["failed"][0]["name"], "b");
    }

    #[tokio::test]
    async fn nobody_is_asked_again_who_does_not_answer() {
        let delete = async |name: &str| if name == "a" { Ok(()) } else { Err(ClientError::Closed) };
        let outcome = try_each("topic", &names(), delete).await;
        assert_eq!(outcome.done, ["a"]);
        let said = outcome.result().unwrap_err().to_string();
        assert!(said.ends_with("; topic 'c' was not tried"), "{said}");
    }
}
