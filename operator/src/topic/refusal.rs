//! What a cluster refuses for good: the field, its value and the remedy, for a person. What may pass by itself is none of it.

use kennet_client::{ClientError, ErrorCode};
use kennet_model::topic::ValidatedTopic;

use crate::error::ReconcileError;
use crate::management::ManagementError;

/// Reason and message, if only a person can help.
pub(crate) fn refusal(topic: &ValidatedTopic, error: &ReconcileError) -> Option<(&'static str, String)> {
    match error {
        ReconcileError::Kafka { source, .. } => match source.as_ref() {
            ClientError::Refused { code, message, .. } => explain(topic, word(*code)?, message.as_deref()),
            _ => None,
        },
        ReconcileError::Management(ManagementError::Refused { problem, .. }) => {
            explain(topic, &problem.reason, Some(&problem.message))
        }
        _ => None,
    }
}

/// Kafka's codes in the words of the management endpoint.
fn word(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::InvalidReplicationFactor => "InvalidReplicationFactor",
        ErrorCode::InvalidPartitions => "InvalidPartitions",
        ErrorCode::PolicyViolation => "PolicyViolation",
        ErrorCode::InvalidConfig => "InvalidConfig",
        ErrorCode::InvalidTopicException => "InvalidTopicName",
        ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed => "NotAuthorized",
        _ => return None,
    })
}

fn explain(topic: &ValidatedTopic, word: &str, said: Option<&str>) -> Option<(&'static str, String)> {
    let count = |value: Option<i32>| value.map_or("absent".to_owned(), |value| format!("'{value}'"));
    let name = || format!("spec.topicName is '{}'", topic.name);
    let partitions = || format!("spec.partitions is {}", count(topic.partitions));
    let (reason, field, remedy) = match word {
        "InvalidReplicationFactor" => (
            "InvalidReplicationFactor",
            format!("spec.replicationFactor is {}", count(topic.replication_factor)),
            "set it to the number of brokers at most",
        ),
        "InvalidPartitions" => ("InvalidPartitions", partitions(), "set a number that the cluster allows"),
        // the broker's only policy is how many partitions there may be
        "PolicyViolation" => ("PolicyViolation", partitions(), "set fewer, or delete other topics"),
        "InvalidConfig" => {
            ("InvalidConfig", config(topic, said), "set a value that the broker accepts, or leave the key out")
        }
        "TooManyKeys" => ("TooManyKeys", format!("spec.config has {} keys", topic.config.len()), "leave some out"),
        "InvalidTopicName" | "InternalTopic" => {
            ("InvalidTopicName", name(), "create another Topic with another topicName")
        }
        "NotAuthorized" => ("NotAuthorized", name(), "allow the operator to create and alter topics of this name"),
        _ => return None,
    };
    let said = said.unwrap_or("the cluster refuses it");
    Some((reason, format!("{field}: {said}; {remedy}")))
}

/// The key that a broker's message names, or all.
fn config(topic: &ValidatedTopic, said: Option<&str>) -> String {
    // the longest, because names of keys are parts of other names
    let named = topic.config.iter().filter(|(key, _)| said.is_some_and(|said| said.contains(key.as_str())));
    match named.max_by_key(|(key, _)| key.len()) {
        Some((key, value)) => format!("spec.config[{key}] is '{value}'"),
        None => format!("spec.config sets {}", topic.config.keys().cloned().collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kennet_client::{ClientError, ErrorCode};
    use kennet_contract::management::Problem;
    use kennet_model::topic::validate;

    use super::refusal;
    use crate::error::ReconcileError;
    use crate::management::ManagementError;

    fn refused(code: ErrorCode, message: &str) -> Option<(&'static str, String)> {
        let text = "{clusterRef: {name: c}, replicationFactor: 3, config: {retention.ms: '5'}}";
        let topic = validate("t", &serde_saphyr::from_str(text).unwrap()).unwrap();
        let (object, message) = ("topic 't'".to_owned(), Some(message.to_owned()));
        let source = Box::new(ClientError::Refused { api: "CreateTopics", object, code, message });
        refusal(&topic, &ReconcileError::Kafka { action: "create topic 't'".to_owned(), source })
    }

    #[test]
    fn a_wrong_spec_needs_a_person_who_is_told_what_to_change() {
        let (reason, message) = refused(ErrorCode::InvalidReplicationFactor, "there are 1 brokers").unwrap();
        assert_eq!(reason, "InvalidReplicationFactor");
        assert_eq!(
            message,
            "spec.replicationFactor is '3': there are 1 brokers; set it to the number of brokers at most"
        );
        let (_, message) = refused(ErrorCode::InvalidConfig, "retention.ms is too small").unwrap();
        assert!(message.starts_with("spec.config[retention.ms] is '5': "), "{message}");
    }

    #[test]
    fn the_management_endpoint_s_refusals_say_the_same() {
        let spec = serde_saphyr::from_str("{clusterRef: {name: c}, replicationFactor: 3}").unwrap();
        let topic = validate("t", &spec).unwrap();
        let refused = |reason: &str| {
            let problem = Problem { reason: reason.into(), message: "no".into(), details: BTreeMap::new() };
            refusal(&topic, &ManagementError::Refused { host: "h".into(), problem }.into())
        };
        let (reason, message) = refused("InvalidReplicationFactor").unwrap();
        assert_eq!(reason, "InvalidReplicationFactor");
        assert!(message.starts_with("spec.replicationFactor is '3': no; "), "{message}");
        assert_eq!(refused("MetadataUnavailable"), None);
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for code in [ErrorCode::RequestTimedOut, ErrorCode::NotController, ErrorCode::UnknownServerError] {
            assert_eq!(refused(code, "later"), None);
        }
    }
}
