//! IncrementalAlterConfigs: changes configs key by key (KIP-339).

use std::sync::Arc;

use kennet_metadata::decisions::alter_configs::{Change, Operation};
use kennet_protocol::ErrorCode;
use kennet_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::broker::{Broker, Session};
use crate::handler::config_changes::{Alteration, alter, twice};
use crate::handler::repeated;

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    mut request: IncrementalAlterConfigsRequest,
    _: i16,
) -> IncrementalAlterConfigsResponse {
    let named_twice =
        repeated(&mut request.resources, |resource| (resource.resource_type, resource.resource_name.clone()));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let AlterConfigsResource { resource_type, resource_name, configs } = resource;
        let is_repeated = named_twice.contains(&(resource_type, resource_name.clone()));
        let changes: Result<Vec<_>, _> = configs.into_iter().map(change).collect();
        let result = match changes {
            _ if is_repeated => Err(twice(&resource_name)),
            Ok(changes) => {
                let alteration = Alteration::Incremental(changes);
                alter(broker, resource_type, &resource_name, alteration, request.validate_only).await
            }
            Err(number) => Err((ErrorCode::InvalidRequest, format!("config operation {number} does not exist"))),
        };
        let (error_code, error_message) =
            result.map_or_else(|(code, text)| (code, Some(text)), |()| (ErrorCode::None, None));
        responses.push(AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name });
    }
    IncrementalAlterConfigsResponse { throttle_time_ms: 0, responses }
}

fn change(config: AlterableConfig) -> Result<Change, i8> {
    let operation = match config.config_operation {
        0 => Operation::Set,
        1 => Operation::Delete,
        2 => Operation::Append,
        3 => Operation::Subtract,
        other => return Err(other),
    };
    Ok(Change { name: config.name, operation, value: config.value })
}
