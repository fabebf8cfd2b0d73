//! One file for each API key, request and response together; each opens with what every version added.
//!
//! Struct and field names are those of Kafka's schemas in snake case. What the values mean to a broker is left to its
//! handlers.

pub mod api_versions;
pub mod create_topics;
pub mod fetch;
pub mod list_offsets;
pub mod metadata;
pub mod produce;

/// Calls a macro with the request and response of every served API, so that lists of them can't forget one.
#[cfg(any(test, feature = "testing"))]
macro_rules! for_each_api {
    ($visit:ident) => {
        $visit! {
            produce::ProduceRequest, produce::ProduceResponse;
            fetch::FetchRequest, fetch::FetchResponse;
            list_offsets::ListOffsetsRequest, list_offsets::ListOffsetsResponse;
            metadata::MetadataRequest, metadata::MetadataResponse;
            api_versions::ApiVersionsRequest, api_versions::ApiVersionsResponse;
            create_topics::CreateTopicsRequest, create_topics::CreateTopicsResponse;
        }
    };
}

#[cfg(any(test, feature = "testing"))]
pub(crate) use for_each_api;

#[cfg(test)]
mod oracle;
