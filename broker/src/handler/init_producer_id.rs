//! InitProducerId: an id that no producer ever had, for an idempotent producer (KIP-98).
//!
//! A transactional id is refused: transactions come with a later release, and a client has to be told at once.

use std::sync::Arc;

use kennet_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use kennet_protocol::{ErrorCode, ProducerEpoch, ProducerId};

use crate::broker::{Broker, Session};

pub(super) async fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    request: InitProducerIdRequest,
    _: i16,
) -> InitProducerIdResponse {
    if request.transactional_id.is_some() {
        // fatal for Java's and librdkafka's producers, and no one retries it
        return failed(ErrorCode::UnsupportedVersion);
    }
    match broker.new_producer_id().await {
        Ok(producer_id) => InitProducerIdResponse {
            throttle_time_ms: 0,
            error_code: ErrorCode::None,
            producer_id,
            producer_epoch: ProducerEpoch(0),
        },
        Err(error) => {
            tracing::warn!(%error, "no producer id could be given out");
            failed(ErrorCode::CoordinatorNotAvailable)
        }
    }
}

fn failed(error_code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        throttle_time_ms: 0,
        error_code,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
    }
}
