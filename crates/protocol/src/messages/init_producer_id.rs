//! InitProducerId (API key 22): an id for an idempotent or transactional producer (KIP-98).
//!
//! v2 flexible | v3 a producer can go on with its id (KIP-360) | v4 fencing has its own error (KIP-588) | v5
//! transactions can say that they must abort (KIP-890).

use crate::{ErrorCode, Message, ProducerEpoch, ProducerId};

/// Asks for a producer id.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(request = InitProducerId)]
pub struct InitProducerIdRequest {
    /// The producer's transactional id, null without transactions.
    #[kafka(default = Some(String::new()))]
    pub transactional_id: Option<String>,
    /// After how long an open transaction is aborted, in milliseconds.
    pub transaction_timeout_ms: i32,
    /// The id that the producer has; -1 for none (KIP-360).
    #[kafka(versions = "3..", default = ProducerId::NONE, strict)]
    pub producer_id: ProducerId,
    /// The epoch that the producer has; -1 for none (KIP-360).
    #[kafka(versions = "3..", default = ProducerEpoch::NONE, strict)]
    pub producer_epoch: ProducerEpoch,
}

/// The producer id.
#[derive(Message, Debug, Clone, PartialEq)]
#[kafka(response = InitProducerId)]
pub struct InitProducerIdResponse {
    /// How long the client was held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    /// The producer's id; -1 for none.
    #[kafka(default = ProducerId::NONE)]
    pub producer_id: ProducerId,
    /// The producer's epoch; -1 for none.
    pub producer_epoch: ProducerEpoch,
}
