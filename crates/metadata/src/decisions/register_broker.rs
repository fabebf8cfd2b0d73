//! A broker's incarnation registers: the one before is fenced, and every partition that it led gets a new leader epoch.
//!
//! So a waiter of the old incarnation, or a client that remembers its epoch, can never be answered by the new one by mistake.

use kennet_protocol::{BrokerId, LeaderEpoch, PartitionIndex, Uuid};

use crate::image::Image;
use crate::record::{BrokerRecord, Record};

/// Decides on a registration; its epoch is one above the last.
#[must_use]
pub fn decide(image: &Image, broker_id: BrokerId, directory_id: Uuid) -> Vec<Record> {
    let broker_epoch = image.broker(broker_id).map_or(0, |before| before.broker_epoch + 1);
    let mut records = vec![Record::Broker(BrokerRecord { broker_id, directory_id, broker_epoch })];
    for topic in image.topics() {
        for (index, partition) in (0..).zip(&topic.partitions) {
            if partition.leader == broker_id {
                let mut raised = partition.record(topic.id, PartitionIndex(index));
                raised.leader_epoch = LeaderEpoch(partition.leader_epoch.0 + 1);
                raised.partition_epoch += 1;
                records.push(Record::Partition(raised));
            }
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use kennet_protocol::{BrokerId, LeaderEpoch, Uuid};

    use super::decide;
    use crate::decisions::create_topics::tests::{apply, image};

    #[test]
    fn a_new_incarnation_raises_the_epochs_that_it_leads() {
        let mut image = image();
        let records = decide(&image, BrokerId(0), Uuid::from_u128(1));
        apply(&mut image, &records);
        assert_eq!(image.broker(BrokerId(0)).unwrap().broker_epoch, 1);
        assert!(image.topic("a").unwrap().partitions.iter().all(|partition| partition.leader_epoch == LeaderEpoch(1)));
    }
}
