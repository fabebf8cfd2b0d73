//! `kennet topics list --orphaned`: topics without a Topic object, as the cluster's metadata has it.
//!
//! The operator claims a topic for its object and releases it when the object is gone and the topic is retained; a topic that is to be deleted
//! keeps its claim until then. Kafka's protocol does not tell of claims, so a broker's management endpoint is asked. Nothing is read from
//! Kubernetes: an object that was deleted while no operator ran counts as there. With `kennet dev` the file that a cluster was brought up with
//! last takes the place of objects.

use jiff::Timestamp;
use kennet_client::Uuid;
use kennet_contract::management::TopicOwnership;
use serde_json::{Value, json};

use crate::command_line::{Connection, Orphaned};
use crate::dev;
use crate::error::CliError;
use crate::management::Management;
use crate::output::Output;
use crate::topics::id;

pub(crate) async fn run(connection: &Connection, output: &Output, options: &Orphaned) -> Result<(), CliError> {
    let (management, declared) = endpoint(connection, options)?;
    let mut topics = management.topic_owners().await?.topics;
    topics.retain(|topic| is_orphaned(topic, &declared));
    topics.sort_by(|one, other| one.topic.cmp(&other.topic));
    let rows: Vec<Vec<String>> = topics
        .iter()
        .map(|one| {
            let owner =
                one.owner.as_ref().map_or("-".to_owned(), |owner| format!("{}/{}", owner.namespace, owner.name));
            vec![one.topic.clone(), owner, deletes_at(one).unwrap_or_else(|| "-".to_owned())]
        })
        .collect();
    let json: Vec<Value> = topics.iter().map(row_json).collect();
    output.list(&["topic", "owner was", "deletes at"], &rows, &json.into())
}

/// Whom to ask, and topics that are declared where that one does not know of it.
fn endpoint(connection: &Connection, options: &Orphaned) -> Result<(Management, Vec<String>), CliError> {
    if let (Some(address), Some(folder)) = (&options.management, &options.certificates) {
        return Ok((Management::new(address, folder)?, Vec::new()));
    }
    dev::management_of(&connection.options()?.bootstrap)?.ok_or_else(|| {
        CliError::Usage(format!(
            "{} is no running cluster of kennet dev in this directory: give a broker's management endpoint with --management and \
             --certificates",
            connection.bootstrap
        ))
    })
}

/// Nobody's, or known to be left behind: a deletion is scheduled only once the object is gone.
fn is_orphaned(topic: &TopicOwnership, declared: &[String]) -> bool {
    topic.delete_at_ms.is_some() || (topic.owner.is_none() && !declared.contains(&topic.topic))
}

fn deletes_at(topic: &TopicOwnership) -> Option<String> {
    let at = topic.delete_at_ms?;
    Some(Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| at.to_string()))
}

fn row_json(topic: &TopicOwnership) -> Value {
    // the endpoint writes ids as UUIDs, Kafka's tools in base64
    let topic_id = topic.topic_id.parse::<Uuid>().map_or_else(|_| topic.topic_id.clone(), id);
    json!({"topic": topic.topic, "topicId": topic_id, "owner": topic.owner, "deleteAt": deletes_at(topic)})
}

#[cfg(test)]
mod tests {
    use kennet_contract::management::{TopicOwner, TopicOwnership};

    use super::{deletes_at, is_orphaned};

    fn topic(owner: Option<&str>, delete_at_ms: Option<i64>) -> TopicOwnership {
        let named = |name: &str| TopicOwner { namespace: "n".to_owned(), name: name.to_owned(), uid: "u".to_owned() };
        TopicOwnership {
            topic: "t".to_owned(),
            topic_id: "id".to_owned(),
            owner: owner.map(named),
            managed_keys: Vec::new(),
            generation: 0,
            delete_after_ms: None,
            delete_at_ms,
        }
    }

    #[test]
    fn a_topic_is_orphaned_without_an_owner_or_with_a_date_of_deletion() {
        assert!(is_orphaned(&topic(None, None), &[]));
        assert!(is_orphaned(&topic(Some("a"), Some(0)), &[]));
        assert!(!is_orphaned(&topic(Some("a"), None), &[]));
        assert_eq!(deletes_at(&topic(Some("a"), Some(0))).unwrap(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_topic_of_the_file_that_kennet_dev_was_started_with_is_not_orphaned() {
        assert!(!is_orphaned(&topic(None, None), &["t".to_owned()]));
        assert!(is_orphaned(&topic(None, None), &["other".to_owned()]));
        assert!(is_orphaned(&topic(Some("a"), Some(0)), &["t".to_owned()]));
    }
}
