//! ApiVersions (API key 18): what a broker serves; a connection's first question.
//!
//! v1 throttle time | v3 flexible, client software name and version (KIP-511), features (KIP-584) | v4 a feature's
//! lowest level may be 0 (KAFKA-17011).
//!
//! Every version is answered, one that is not served in v0 form with UNSUPPORTED_VERSION and the range of this API;
//! the answer's header never has tagged fields.

use bytes::Bytes;

use crate::{ApiKey, EncodeError, ErrorCode, Message, encode_response};

/// A connection's first question.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = ApiVersions)]
pub struct ApiVersionsRequest {
    /// What the client is.
    #[kafka(versions = "3..")]
    pub client_software_name: String,
    /// Which release of it.
    #[kafka(versions = "3..")]
    pub client_software_version: String,
}

/// What the broker serves.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = ApiVersions)]
pub struct ApiVersionsResponse {
    pub error_code: ErrorCode,
    /// What the broker serves.
    pub api_keys: Vec<ApiVersion>,
    /// How long the client was held back by a quota, in milliseconds.
    #[kafka(versions = "1..")]
    pub throttle_time_ms: i32,
    /// Features that the broker knows (KIP-584).
    #[kafka(versions = "3..", tag = 0)]
    pub supported_features: Vec<SupportedFeatureKey>,
    /// Counts changes of the finalized features; -1 when unknown.
    #[kafka(versions = "3..", tag = 1, default = -1)]
    pub finalized_features_epoch: i64,
    /// Features that the cluster has switched on (KIP-584).
    #[kafka(versions = "3..", tag = 2)]
    pub finalized_features: Vec<FinalizedFeatureKey>,
    /// Always false: Kafka's move away from ZooKeeper.
    #[kafka(versions = "3..", tag = 3)]
    pub zk_migration_ready: bool,
}

/// The versions of one API.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct ApiVersion {
    /// The key.
    pub api_key: i16,
    /// The first version, inclusive.
    pub min_version: i16,
    /// The last version, inclusive.
    pub max_version: i16,
}

/// A feature that the broker knows.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct SupportedFeatureKey {
    pub name: String,
    /// The lowest level.
    pub min_version: i16,
    /// The highest level.
    pub max_version: i16,
}

/// A feature that the cluster has switched on.
#[derive(Message, Debug, Clone, PartialEq)]
pub struct FinalizedFeatureKey {
    pub name: String,
    /// The level in use.
    pub max_version_level: i16,
    /// The lowest level that a broker may have.
    pub min_version_level: i16,
}

/// What this release serves, as [`ApiVersionsResponse::api_keys`].
#[must_use]
pub fn served() -> Vec<ApiVersion> {
    ApiKey::listed()
        .map(|(key, min_version, max_version)| ApiVersion { api_key: key.code(), min_version, max_version })
        .collect()
}

/// The whole frame that answers a version of this API which is not served: in the form of v0, with the versions of this
/// API, so that any client can read it and try again (KIP-511).
pub fn unsupported_version_response(correlation_id: i32) -> Result<Vec<Bytes>, EncodeError> {
    let mut api_keys = served();
    api_keys.retain(|version| version.api_key == ApiKey::ApiVersions.code());
    let response = ApiVersionsResponse { error_code: ErrorCode::UnsupportedVersion, api_keys, ..Default::default() };
    encode_response(ApiKey::ApiVersions, 0, correlation_id, &response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unserved_version_is_answered_in_v0_form_with_the_versions_of_this_api() {
        let frame = unsupported_version_response(7).unwrap().concat();
        assert_eq!(frame, [0, 0, 0, 16, 0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    }
}
