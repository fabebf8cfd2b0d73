//! What AlterConfigs and IncrementalAlterConfigs share: a decision about one resource, and its error codes.

use std::collections::BTreeMap;
use std::sync::Arc;

use kennet_contract::config_keys::Configs;
use kennet_metadata::decisions::alter_configs::{self, AlterConfigsError, Change};
use kennet_metadata::{Image, Record, ResourceType};
use kennet_protocol::ErrorCode;

use crate::broker::Broker;
use crate::controller::ChangeError;

/// What is done to a resource.
pub(super) enum Alteration {
    Incremental(Vec<Change>),
    Replace(BTreeMap<String, Option<String>>),
}

/// The answer for a resource that a request names more than once.
pub(super) fn twice(name: &str) -> (ErrorCode, String) {
    (ErrorCode::InvalidRequest, format!("resource '{name}' is there more than once in this request"))
}

/// Changes one resource's configs, or only checks whether that is possible.
pub(super) async fn alter(
    broker: &Arc<Broker>,
    resource_type: i8,
    name: &str,
    alteration: Alteration,
    validate_only: bool,
) -> Result<(), (ErrorCode, String)> {
    let kind = ResourceType::from_number(resource_type)
        .ok_or_else(|| (ErrorCode::InvalidRequest, format!("resource type {resource_type} has no configs here")))?;
    let (name, file) = (name.to_owned(), broker.config.kafka.clone());
    let result = broker
        .controller
        .change(move |image| {
            let records = decide(image, kind, &name, &alteration, &file)?;
            Ok((if validate_only { Vec::new() } else { records }, ()))
        })
        .await;
    result.map_err(|error| (code(&error), error.to_string()))
}

fn decide(
    image: &Image,
    kind: ResourceType,
    name: &str,
    alteration: &Alteration,
    file: &BTreeMap<String, String>,
) -> Result<Vec<Record>, AlterConfigsError> {
    // what a resource has of its own is the decision's to look up
    let none = BTreeMap::new();
    let configs = Configs { topic: &none, dynamic_broker: &none, dynamic_cluster: image.cluster_configs(), file };
    let lags = configs.compaction_lags();
    match alteration {
        Alteration::Replace(configs) => alter_configs::replace(image, kind, name, configs, lags),
        Alteration::Incremental(changes) => {
            let effective = |key: &str| match kind {
                ResourceType::Topic => configs.topic_text(key),
                ResourceType::Broker => configs.broker_text(key),
            };
            alter_configs::incremental(image, kind, name, changes, effective, lags)
        }
    }
}

/// The one place where changes of configs become Kafka's error codes.
fn code(error: &ChangeError<AlterConfigsError>) -> ErrorCode {
    match error {
        ChangeError::Unavailable { .. } => ErrorCode::KafkaStorageError,
        ChangeError::Refused(error) => match error {
            AlterConfigsError::UnknownTopic { .. } => ErrorCode::UnknownTopicOrPartition,
            AlterConfigsError::UnknownBroker { .. } | AlterConfigsError::Twice { .. } => ErrorCode::InvalidRequest,
            AlterConfigsError::Key(_) | AlterConfigsError::NoValue { .. } | AlterConfigsError::AtStart { .. } => {
                ErrorCode::InvalidConfig
            }
        },
    }
}
