//! DescribeLogDirs: bytes of each partition, and room on the volume.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashSet;
use kennet_protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use kennet_protocol::{ErrorCode, PartitionIndex};

use crate::broker::{Broker, Session};
use crate::partition::Partition;

pub(super) fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    request: DescribeLogDirsRequest,
    _: i16,
) -> DescribeLogDirsResponse {
    let directory = broker.partitions.directory();
    let named: Option<HashSet<(&str, PartitionIndex)>> = request.topics.as_ref().map(|topics| {
        let named = topics.iter().flat_map(|topic| topic.partitions.iter().map(|index| (&*topic.topic, *index)));
        named.collect()
    });
    let wanted = |partition: &Partition| {
        named.as_ref().is_none_or(|named| named.contains(&(&*partition.topic, partition.index)))
    };
    let mut topics: BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in broker.partitions.all().iter().filter(|partition| wanted(partition)) {
        topics.entry(Arc::clone(&partition.topic)).or_default().push(DescribeLogDirsPartition {
            partition_index: partition.index,
            partition_size: i64::try_from(partition.log.summary().size_bytes).unwrap_or(i64::MAX),
            offset_lag: 0,
            is_future_key: false,
        });
    }
    let topics = topics.into_iter().map(|(name, mut partitions)| {
        partitions.sort_by_key(|partition| partition.partition_index);
        DescribeLogDirsTopic { name: name.to_string(), partitions }
    });
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let (total_bytes, usable_bytes) =
        directory.space().map_or((-1, -1), |space| (bytes(space.total), bytes(space.available)));
    let failed = directory.failed().is_some();
    let result = DescribeLogDirsResult {
        error_code: if failed { ErrorCode::KafkaStorageError } else { ErrorCode::None },
        log_dir: directory.path().display().to_string(),
        topics: topics.collect(),
        total_bytes,
        usable_bytes,
    };
    DescribeLogDirsResponse { throttle_time_ms: 0, error_code: ErrorCode::None, results: vec![result] }
}
