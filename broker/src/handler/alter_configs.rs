//! AlterConfigs: gives a resource exactly the named configs; what is not named goes back to its default.

use std::sync::Arc;

use kennet_protocol::ErrorCode;
use kennet_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};

use crate::broker::{Broker, Session};
use crate::handler::config_changes::{Alteration, alter, twice};
use crate::handler::repeated;

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    mut request: AlterConfigsRequest,
    _: i16,
) -> AlterConfigsResponse {
    let named_twice =
        repeated(&mut request.resources, |resource| (resource.resource_type, resource.resource_name.clone()));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let AlterConfigsResource { resource_type, resource_name, configs } = resource;
        let configs = configs.into_iter().map(|config| (config.name, config.value)).collect();
        let alteration = Alteration::Replace(configs);
        let result = if named_twice.contains(&(resource_type, resource_name.clone())) {
            Err(twice(&resource_name))
        } else {
            alter(broker, resource_type, &resource_name, alteration, request.validate_only).await
        };
        let (error_code, error_message) =
            result.map_or_else(|(code, text)| (code, Some(text)), |()| (ErrorCode::None, None));
        responses.push(AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name });
    }
    AlterConfigsResponse { throttle_time_ms: 0, responses }
}
