//! ApiVersions: which versions of which APIs this broker serves, from the one table of the protocol crate.

use std::sync::Arc;

use kennet_protocol::ErrorCode;
use kennet_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse, served};

use crate::broker::{Broker, Session};

pub(super) fn handle(_: &Arc<Broker>, _: &Session, request: ApiVersionsRequest, version: i16) -> ApiVersionsResponse {
    // the names come back in metrics and logs, so they are letters, digits, dots and dashes (KIP-511)
    let legal = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
            && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
    };
    let named = version < 3 || (legal(&request.client_software_name) && legal(&request.client_software_version));
    let error_code = if named { ErrorCode::None } else { ErrorCode::InvalidRequest };
    ApiVersionsResponse {
        error_code,
        api_keys: served(),
        finalized_features_epoch: 0,
        ..ApiVersionsResponse::default()
    }
}
