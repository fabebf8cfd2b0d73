//! DescribeCluster: the cluster's id, brokers and controller, as admin clients ask for them.

use std::sync::Arc;

use kennet_protocol::ErrorCode;
use kennet_protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use crate::broker::{Broker, Session};
use crate::handler::{CLUSTER_OPERATIONS, NOT_ASKED};

/// Addresses of brokers; 2 would ask for controllers (KIP-919).
const BROKERS: i8 = 1;

pub(super) fn handle(
    broker: &Arc<Broker>,
    session: &Session,
    request: DescribeClusterRequest,
    version: i16,
) -> DescribeClusterResponse {
    let base = DescribeClusterResponse {
        endpoint_type: request.endpoint_type,
        cluster_id: broker.cluster_id(),
        controller_id: broker.id(),
        cluster_authorized_operations: NOT_ASKED,
        error_message: None,
        ..DescribeClusterResponse::default()
    };
    if version >= 1 && request.endpoint_type != BROKERS {
        return DescribeClusterResponse {
            error_code: ErrorCode::MismatchedEndpointType,
            error_message: Some("this listener serves brokers, not controllers".to_owned()),
            ..base
        };
    }
    let operations = request.include_cluster_authorized_operations;
    DescribeClusterResponse {
        brokers: vec![DescribeClusterBroker {
            broker_id: broker.id(),
            host: session.listener.advertised_host.clone(),
            port: i32::from(session.listener.advertised_port),
            rack: broker.config.rack.clone(),
            is_fenced: false,
        }],
        cluster_authorized_operations: if operations { CLUSTER_OPERATIONS } else { NOT_ASKED },
        ..base
    }
}
