//! FindCoordinator: which broker looks after a group. Here, this one.
//!
//! Transactions and share groups come with later releases; asking for their coordinator is answered with INVALID_REQUEST and the reason,
//! which clients treat as fatal. COORDINATOR_NOT_AVAILABLE would make them ask for ever.

use std::sync::Arc;

use kennet_protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use kennet_protocol::{BrokerId, ErrorCode};

use crate::broker::{Broker, Session};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) async fn handle(
    broker: &Arc<Broker>,
    session: &Session,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let keys = if version < 4 { vec![request.key.clone()] } else { request.coordinator_keys.clone() };
    let mut coordinators = Vec::with_capacity(keys.len());
    for key in keys {
        coordinators.push(find(broker, session, request.key_type, key).await);
    }
    match coordinators.pop() {
        Some(only) if version < 4 => FindCoordinatorResponse {
            error_code: only.error_code,
            error_message: only.error_message,
            node_id: only.node_id,
            host: only.host,
            port: only.port,
            ..FindCoordinatorResponse::default()
        },
        last => {
            coordinators.extend(last);
            FindCoordinatorResponse { coordinators, error_message: None, ..FindCoordinatorResponse::default() }
        }
    }
}

async fn find(broker: &Arc<Broker>, session: &Session, key_type: i8, key: String) -> Coordinator {
    match look_up(broker, key_type, &key).await {
        Ok(()) => Coordinator {
            key,
            node_id: broker.id(),
            host: session.listener.advertised_host.clone(),
            port: i32::from(session.listener.advertised_port),
            error_code: ErrorCode::None,
            error_message: None,
        },
        Err((error_code, message)) => Coordinator {
            key,
            node_id: BrokerId::NONE,
            host: String::new(),
            port: -1,
            error_code,
            error_message: Some(message.to_owned()),
        },
    }
}

async fn look_up(broker: &Arc<Broker>, key_type: i8, key: &str) -> Result<(), (ErrorCode, &'static str)> {
    match key_type {
        GROUP if key.is_empty() => Err((ErrorCode::InvalidGroupId, "a group id can't be empty")),
        GROUP => match broker.groups.locate(broker, key).await {
            Ok(_) => Ok(()),
            Err(error) => Err((error, "the coordinator is not available now")),
        },
        TRANSACTION => Err((
            ErrorCode::InvalidRequest,
            "this broker does not serve transactions yet; leave transactional.id unset",
        )),
        _ => Err((ErrorCode::InvalidRequest, "this broker has no coordinator of that type")),
    }
}
