//! What tests, fuzzers and the comparison with Kafka's own schemas need: every message, described and with samples.
//!
//! Built for this crate's tests and with the feature `testing` only. The derive fills in [`Described`] and [`Sample`].

#[cfg(test)]
mod allocation;
#[cfg(test)]
mod hostile;
mod round_trip;
mod sample;
mod schema;

use std::fmt::Debug;

pub use round_trip::{check_bytes, check_request_frame};
pub use sample::{Sample, Source};
pub use schema::{Described, FieldSchema, StructSchema, schemas_as_json};

use crate::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use crate::coordinator_records::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use crate::messages::for_each_api;
use crate::{ApiKey, Message, Request};

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The request of an API.
    Request(ApiKey),
    /// The response of an API.
    Response(ApiKey),
    /// Data inside of records, subscriptions or assignments.
    Data,
}

/// Something to do with the type of every message.
pub trait Visitor {
    /// Called once for each message.
    fn visit<M: Message + Described + Sample + Debug + Clone + PartialEq + Default>(&mut self, role: Role);
}

/// Shows every message of this crate to a visitor, by API as in `messages/mod.rs`.
pub fn visit_messages(visitor: &mut impl Visitor) {
    macro_rules! visit {
        ($($request:ident::$request_name:ident, $response:ident::$response_name:ident;)*) => {$(
            let key = crate::messages::$request::$request_name::KEY;
            visitor.visit::<crate::messages::$request::$request_name>(Role::Request(key));
            visitor.visit::<crate::messages::$response::$response_name>(Role::Response(key));
        )*};
    }
    for_each_api!(visit);
    visitor.visit::<ConsumerProtocolSubscription>(Role::Data);
    visitor.visit::<ConsumerProtocolAssignment>(Role::Data);
    visitor.visit::<GroupMetadataKey>(Role::Data);
    visitor.visit::<GroupMetadataValue>(Role::Data);
    visitor.visit::<OffsetCommitKey>(Role::Data);
    visitor.visit::<OffsetCommitValue>(Role::Data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Requests(Vec<ApiKey>);

    impl Visitor for Requests {
        fn visit<M: Message + Described + Sample + Debug + Clone + PartialEq + Default>(&mut self, role: Role) {
            if let Role::Request(key) = role {
                self.0.push(key);
            }
        }
    }

    #[test]
    fn every_served_api_has_its_messages() {
        let mut requests = Requests::default();
        visit_messages(&mut requests);
        requests.0.sort();
        assert_eq!(requests.0, ApiKey::listed().map(|(key, ..)| key).collect::<Vec<_>>());
    }
}
