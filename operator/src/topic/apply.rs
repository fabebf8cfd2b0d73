//! All writes of a Topic's pass, through Kafka's admin protocol and `/v1/topic-owners`.

use kennet_client::{ConfigResource, ErrorCode, NewTopic};
use kennet_contract::management::{TopicOwner, TopicOwnerAction, TopicOwnerChange};
use kennet_model::topic::{Step, ValidatedTopic};

use crate::error::ReconcileError;
use crate::topic::fetch::Access;

/// Carries out one step.
pub(crate) async fn apply(
    step: &Step,
    topic: &ValidatedTopic,
    me: &TopicOwner,
    access: &Access,
) -> Result<(), ReconcileError> {
    let name = &topic.name;
    match step {
        Step::Create => create(topic, access).await,
        Step::Claim { expected, agreed } => {
            let action = TopicOwnerAction::Claim {
                owner: me.clone(),
                expected: expected.clone(),
                managed_keys: agreed.managed_keys.clone(),
                generation: agreed.generation,
                delete_after_ms: agreed.delete_after_ms,
            };
            access.link.management.change_topic_owner(&TopicOwnerChange { topic: name.clone(), action }).await?;
            Ok(())
        }
        Step::Grow { total } => access
            .kafka
            .create_partitions(name, *total, false)
            .await
            .map_err(ReconcileError::kafka(format!("grow topic '{name}' to {total} partitions"))),
        Step::AlterConfig { changes } => access
            .kafka
            .alter_configs(&ConfigResource::Topic(name.clone()), changes, false)
            .await
            .map_err(ReconcileError::kafka(format!("change the configs of topic '{name}'"))),
    }
}

async fn create(topic: &ValidatedTopic, access: &Access) -> Result<(), ReconcileError> {
    let wanted = NewTopic {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor.and_then(|count| i16::try_from(count).ok()),
        config: topic.config.clone(),
        validate_only: false,
    };
    match access.kafka.create_topic(&wanted).await {
        Ok(_) => Ok(()),
        // somebody was faster; the next plan looks at what they made
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
        Err(error) => Err(ReconcileError::kafka(format!("create topic '{}'", topic.name))(error)),
    }
}
