//! The cluster's answers to a plan's questions, through the Kafka client.

use std::collections::BTreeMap;

use kennet_client::{Client, ClientError, ErrorCode, TimestampMs, TopicPartition};
use kennet_model::admin::{Admin, GroupState, Partition, Position};

/// A client as a planner sees it.
pub(super) struct ClientAdmin<'a>(pub(super) &'a Client);

impl Admin for ClientAdmin<'_> {
    type Error = ClientError;

    async fn partition_count(&self, topic: &str) -> Result<Option<i32>, ClientError> {
        match self.0.topic(topic).await {
            Ok(found) => Ok(i32::try_from(found.partitions.len()).ok()),
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn group_state(&self, group: &str) -> Result<GroupState, ClientError> {
        let described = self.0.describe_group(group).await?;
        Ok(match described.state.as_str() {
            "Empty" => GroupState::Empty,
            "Dead" => GroupState::Missing,
            _ => GroupState::Active,
        })
    }

    async fn committed(&self, group: &str) -> Result<BTreeMap<Partition, i64>, ClientError> {
        let committed = self.0.committed_offsets(group).await?;
        Ok(committed.into_iter().map(|(partition, found)| (partition_of(&partition), found.offset.0)).collect())
    }

    async fn offsets(
        &self,
        partitions: &[Partition],
        position: Position,
    ) -> Result<BTreeMap<Partition, i64>, ClientError> {
        let at = match position {
            Position::Earliest => TimestampMs::EARLIEST,
            Position::Latest => TimestampMs::LATEST,
            Position::At(ms) => TimestampMs(ms),
        };
        let wanted = partitions.iter().map(|one| (TopicPartition::new(&one.topic, one.partition), at)).collect();
        let listed = self.0.list_offsets(&wanted).await?;
        // no record is that late: the planner takes the end for what is missing
        let listed = listed.into_iter().filter(|(_, found)| found.offset.0 >= 0);
        Ok(listed.map(|(partition, found)| (partition_of(&partition), found.offset.0)).collect())
    }
}

fn partition_of(partition: &TopicPartition) -> Partition {
    Partition::new(&partition.topic, partition.partition.0)
}
