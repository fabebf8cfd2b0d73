//! Kafka's admin calls, one file per kind of object. Each retries what may pass, and fails with the object it is about.

mod configs;
mod groups;
mod many;
mod offsets;
mod topics;

pub use configs::{ConfigEntry, ConfigResource};
pub use groups::{Committed, GroupDescription, GroupListing, GroupMember};
pub use offsets::ListedOffset;
pub use topics::{CreatedTopic, NewTopic};

use kennet_protocol::messages::describe_cluster::DescribeClusterRequest;
use kennet_protocol::{ErrorCode, Request};

use crate::client::Route;
use crate::{BrokerAddress, Client, ClientError};

/// What DescribeCluster tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: String,
    /// The controller, as clients see it.
    pub controller: i32,
    /// Its brokers.
    pub brokers: Vec<BrokerAddress>,
}

impl Client {
    /// The cluster's id and brokers.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let answer = self.ask(Route::Any, |_| DescribeClusterRequest::default()).await?;
        ClientError::check("DescribeCluster", || "cluster".to_owned(), answer.error_code, answer.error_message)?;
        let brokers = answer.brokers.into_iter().map(|broker| BrokerAddress {
            id: broker.broker_id,
            address: format!("{}:{}", broker.host, broker.port),
            rack: broker.rack,
        });
        Ok(ClusterDescription {
            cluster_id: answer.cluster_id,
            controller: answer.controller_id.0,
            brokers: brokers.collect(),
        })
    }

    /// A request that is safe to repeat, until it is answered.
    async fn ask<R: Request>(&self, route: Route, make: impl Fn(i16) -> R) -> Result<R::Response, ClientError> {
        let mut retries = self.retries();
        loop {
            match self.call(route, &make).await {
                Err(error) if retries.again(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    /// A request to a group's coordinator; `check` finds the error in its answer, so that a coordinator that moved is looked up again.
    async fn ask_coordinator<R: Request>(
        &self,
        group: &str,
        make: impl Fn(i16) -> R,
        check: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, ClientError> {
        let mut retries = self.retries();
        loop {
            let attempt = async {
                let coordinator = self.coordinator(group).await?;
                let answer = self.call(Route::Broker(coordinator), &make).await?;
                let code = check(&answer);
                let object = || format!("group '{group}'");
                // every other error is left to the caller, who knows what it means
                let retriable = if is_about_the_coordinator(code) { code } else { ErrorCode::None };
                ClientError::check(R::KEY.name(), object, retriable, None)?;
                Ok(answer)
            };
            match attempt.await {
                Err(error) if retries.again(&error).await => {}
                outcome => return outcome,
            }
        }
    }
}

fn is_about_the_coordinator(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::RequestTimedOut
    )
}
