//! All writes of a Topic's pass, through Kafka's admin protocol and `/v1/topic-owners`.

use kennet_client::ConfigResource;
use kennet_contract::management::{TopicCreation, TopicOwner, TopicOwnerAction, TopicOwnerChange};
use kennet_model::topic::{Ownership, Step, ValidatedTopic};

use crate::error::ReconcileError;
use crate::management::ManagementError;
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
        Step::Create { agreed } => create(topic, me, agreed, access).await,
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

async fn create(
    topic: &ValidatedTopic,
    me: &TopicOwner,
    agreed: &Ownership,
    access: &Access,
) -> Result<(), ReconcileError> {
    let wanted = TopicCreation {
        topic: topic.name.clone(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor.and_then(|count| i16::try_from(count).ok()),
        config: topic.config.clone(),
        owner: me.clone(),
        managed_keys: agreed.managed_keys.clone(),
        generation: agreed.generation,
        delete_after_ms: agreed.delete_after_ms,
    };
    match access.link.management.create_topic(&wanted).await {
        Ok(_) => Ok(()),
        // somebody was faster; the next plan looks at what they made
        Err(ManagementError::Refused { problem, .. }) if problem.reason == "TopicExists" => Ok(()),
        Err(error) => Err(error.into()),
    }
}
