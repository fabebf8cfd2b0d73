//! The cluster's answers to what planning asks, through a client.

use std::collections::BTreeMap;

use kennet_client::{Client, ClientError, Committed, ErrorCode, Offset, TimestampMs, TopicPartition};
use kennet_model::admin::{Admin, GroupState, Partition, Position};

/// A client that answers [`Admin`]'s questions.
pub(crate) struct ClientAdmin<'a>(pub(crate) &'a Client);

impl Admin for ClientAdmin<'_> {
    type Error = ClientError;

    async fn partition_count(&self, topic: &str) -> Result<Option<i32>, ClientError> {
        match self.0.topic(topic).await {
            Ok(known) => Ok(i32::try_from(known.partitions.len()).ok()),
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn group_state(&self, group: &str) -> Result<GroupState, ClientError> {
        Ok(match self.0.describe_group(group).await?.state.as_str() {
            "Dead" => GroupState::Missing,
            "Empty" => GroupState::Empty,
            _ => GroupState::Active,
        })
    }

    async fn committed(&self, group: &str) -> Result<BTreeMap<Partition, i64>, ClientError> {
        let committed = self.0.committed_offsets(group).await?;
        Ok(committed.into_iter().map(|(partition, found)| (from_client(&partition), found.offset.0)).collect())
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
        let wanted = partitions.iter().map(|partition| (to_client(partition), at)).collect();
        let found = self.0.list_offsets(&wanted).await?;
        // no record is that late: left out, which stands for the end
        let found = found.into_iter().filter(|(_, listed)| listed.offset.0 >= 0);
        Ok(found.map(|(partition, listed)| (from_client(&partition), listed.offset.0)).collect())
    }
}

/// Offsets as the client commits them.
pub(crate) fn commits(offsets: &BTreeMap<Partition, i64>) -> BTreeMap<TopicPartition, Committed> {
    let commit = |offset| Committed {
        offset: Offset(offset),
        leader_epoch: kennet_client::LeaderEpoch::NONE,
        metadata: String::new(),
    };
    offsets.iter().map(|(partition, offset)| (to_client(partition), commit(*offset))).collect()
}

fn to_client(partition: &Partition) -> TopicPartition {
    TopicPartition::new(&partition.topic, partition.partition)
}

fn from_client(partition: &TopicPartition) -> Partition {
    Partition::new(&partition.topic, partition.partition.0)
}
