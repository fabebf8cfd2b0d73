//! Topics: create, grow, delete.

use std::collections::BTreeMap;

use kennet_protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use kennet_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use kennet_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use kennet_protocol::{ErrorCode, Uuid};

use crate::client::Route;
use crate::{Client, ClientError};

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; the cluster's default without.
    pub partitions: Option<i32>,
    /// How many replicas each; the cluster's default without.
    pub replication_factor: Option<i16>,
    /// Its configs.
    pub config: BTreeMap<String, String>,
    /// Only check whether it could be created.
    pub validate_only: bool,
}

/// A topic that has been created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: Uuid,
    /// How many partitions it got.
    pub partitions: i32,
    /// How many replicas each.
    pub replication_factor: i16,
}

impl Client {
    /// Creates a topic.
    ///
    /// # Errors
    /// What the broker refused it for; `TOPIC_ALREADY_EXISTS` also after a first attempt whose answer was lost.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<CreatedTopic, ClientError> {
        let configs: Vec<CreatableTopicConfig> = topic
            .config
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) })
            .collect();
        let timeout_ms = self.timeout_ms();
        let make = |_| CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.name.clone(),
                num_partitions: topic.partitions.unwrap_or(-1),
                replication_factor: topic.replication_factor.unwrap_or(-1),
                assignments: Vec::new(),
                configs: configs.clone(),
            }],
            timeout_ms,
            validate_only: topic.validate_only,
        };
        let object = || format!("topic '{}'", topic.name);
        let answer = self.ask(Route::Any, make).await?;
        let missing = || ClientError::Missing { api: "CreateTopics", object: object() };
        let result = answer.topics.into_iter().next().ok_or_else(missing)?;
        ClientError::check("CreateTopics", object, result.error_code, result.error_message)?;
        self.forget_topic(&topic.name);
        Ok(CreatedTopic {
            id: result.topic_id,
            partitions: result.num_partitions,
            replication_factor: result.replication_factor,
        })
    }

    /// Raises the number of partitions to `total`.
    ///
    /// # Errors
    /// What the broker refused it for.
    pub async fn create_partitions(&self, name: &str, total: i32, validate_only: bool) -> Result<(), ClientError> {
        let timeout_ms = self.timeout_ms();
        let make = |_| CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic { name: name.to_owned(), count: total, assignments: None }],
            timeout_ms,
            validate_only,
        };
        let object = || format!("topic '{name}'");
        let answer = self.ask(Route::Any, make).await?;
        let missing = || ClientError::Missing { api: "CreatePartitions", object: object() };
        let result = answer.results.into_iter().next().ok_or_else(missing)?;
        self.forget_topic(name);
        ClientError::check("CreatePartitions", object, result.error_code, result.error_message)
    }

    /// Deletes a topic with its records.
    ///
    /// # Errors
    /// What the broker refused it for.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let timeout_ms = self.timeout_ms();
        let make = |version: i16| {
            let mut request = DeleteTopicsRequest { timeout_ms, ..Default::default() };
            if version >= 6 {
                request.topics = vec![DeleteTopicState { name: Some(name.to_owned()), topic_id: Uuid::nil() }];
            } else {
                request.topic_names = vec![name.to_owned()];
            }
            request
        };
        let object = || format!("topic '{name}'");
        let answer = self.ask(Route::Any, make).await?;
        let missing = || ClientError::Missing { api: "DeleteTopics", object: object() };
        let result = answer.responses.into_iter().next().ok_or_else(missing)?;
        self.forget_topic(name);
        ClientError::check("DeleteTopics", object, result.error_code, result.error_message)
    }

    /// Whether a topic exists.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn topic_exists(&self, name: &str) -> Result<bool, ClientError> {
        match self.topic(name).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn timeout_ms(&self) -> i32 {
        i32::try_from(self.options().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
