//! All writes of Topics, through Kafka's admin protocol and `/v1/topic-owners`.

use std::collections::BTreeMap;

use kennet_contract::management::{TopicCreation, TopicOwnerAction, TopicOwnerChange};
use kennet_model::topic::{Ownership, Step};

use crate::error::ReconcileError;
use crate::management::ManagementError;
use crate::topic::batch::{Broker, Changes, Snapshot, Wanted};
use crate::topic::fetch::{self, Access};

impl Broker for Access {
    async fn snapshot(&self, names: &[String]) -> Result<Snapshot, ReconcileError> {
        fetch::topics(self, names).await
    }

    async fn alter(
        &self,
        changes: &BTreeMap<String, Changes>,
    ) -> Result<BTreeMap<String, Result<(), ReconcileError>>, ReconcileError> {
        let altered = self.kafka.alter_topic_configs(changes).await;
        let altered =
            altered.map_err(ReconcileError::kafka(format!("change the configs of {} topics", changes.len())))?;
        let named = altered.into_iter().map(|(name, outcome)| {
            let outcome = outcome.map_err(ReconcileError::kafka(format!("change the configs of topic '{name}'")));
            (name, outcome)
        });
        Ok(named.collect())
    }

    async fn apply(&self, wanted: &Wanted, step: &Step) -> Result<(), ReconcileError> {
        let name = &wanted.topic.name;
        match step {
            Step::Create { agreed } => create(wanted, agreed, self).await,
            Step::Claim { expected, agreed } => {
                let action = TopicOwnerAction::Claim {
                    owner: wanted.me.clone(),
                    expected: expected.clone(),
                    managed_keys: agreed.managed_keys.clone(),
                    generation: agreed.generation,
                    delete_after_ms: agreed.delete_after_ms,
                };
                self.link.management.change_topic_owner(&TopicOwnerChange { topic: name.clone(), action }).await?;
                Ok(())
            }
            Step::Grow { total } => self
                .kafka
                .create_partitions(name, *total, false)
                .await
                .map_err(ReconcileError::kafka(format!("grow topic '{name}' to {total} partitions"))),
            Step::AlterConfig { changes } => {
                let changes = BTreeMap::from([(name.clone(), changes.clone())]);
                self.alter(&changes).await?.remove(name).unwrap_or(Err(ReconcileError::Lost))
            }
        }
    }
}

async fn create(wanted: &Wanted, agreed: &Ownership, access: &Access) -> Result<(), ReconcileError> {
    let topic = &wanted.topic;
    let creation = TopicCreation {
        topic: topic.name.clone(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor.and_then(|count| i16::try_from(count).ok()),
        config: topic.config.clone(),
        owner: wanted.me.clone(),
        managed_keys: agreed.managed_keys.clone(),
        generation: agreed.generation,
        delete_after_ms: agreed.delete_after_ms,
    };
    match access.link.management.create_topic(&creation).await {
        Ok(_) => Ok(()),
        // somebody was faster; the next plan looks at what they made
        Err(ManagementError::Refused { problem, .. }) if problem.reason == "TopicExists" => Ok(()),
        Err(error) => Err(error.into()),
    }
}
