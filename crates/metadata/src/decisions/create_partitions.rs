//! Adding partitions to a topic. Their number only grows, because records stay where their key put them.

use kennet_protocol::{BrokerId, PartitionIndex};

use crate::decisions::create_topics::{
    CLUSTER_PARTITIONS_MAX, CreateTopicError, TOPIC_PARTITIONS_MAX, check_replicas, new_partition, spread,
};
use crate::image::Image;
use crate::is_internal;
use crate::record::Record;

/// Why partitions are not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreatePartitionsError {
    /// No such topic.
    #[error("there is no topic '{name}'")]
    UnknownTopic {
        /// The name.
        name: String,
    },
    /// Not more than there are, or too many.
    #[error(
        "topic '{name}' has {present} partitions and can't have {wanted}: expected a larger number, at most {TOPIC_PARTITIONS_MAX}"
    )]
    Count {
        /// The topic.
        name: String,
        /// How many it has.
        present: usize,
        /// How many were asked for.
        wanted: i32,
    },
    /// The coordinators keep their state in it.
    #[error(
        "topic '{name}' holds the state of all groups by the hash of their ids, so its number of partitions is fixed"
    )]
    Internal {
        /// The topic.
        name: String,
    },
    /// The assignment does not fit.
    #[error("the replica assignment is not possible: {what}")]
    Assignment {
        /// What is wrong.
        what: String,
    },
    /// The replicas can't be placed.
    #[error(transparent)]
    Placement(#[from] CreateTopicError),
}

/// Decides to grow a topic to `count` partitions.
///
/// # Errors
/// Why not.
pub fn decide(
    image: &Image,
    name: &str,
    count: i32,
    assignments: Option<&[Vec<BrokerId>]>,
) -> Result<Vec<Record>, CreatePartitionsError> {
    let topic = image.topic(name).ok_or_else(|| CreatePartitionsError::UnknownTopic { name: name.to_owned() })?;
    if is_internal(name) {
        // a group's partition follows from their number: with more, groups would be looked for where they are not
        return Err(CreatePartitionsError::Internal { name: name.to_owned() });
    }
    let present = topic.partitions.len();
    let refused = || CreatePartitionsError::Count { name: name.to_owned(), present, wanted: count };
    let from = i32::try_from(present).map_err(|_| refused())?;
    if count <= from || count > TOPIC_PARTITIONS_MAX {
        return Err(refused());
    }
    let found = image.partition_count() + usize::try_from(count - from).unwrap_or(0);
    if found > CLUSTER_PARTITIONS_MAX {
        return Err(CreateTopicError::ClusterPartitions { found }.into());
    }
    let replicas = match assignments {
        Some(given) => check_given(image, given, count - from)?,
        None => {
            let factor = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
            spread(image, from, count, i16::try_from(factor).unwrap_or(i16::MAX))?
        }
    };
    let record = |(index, replicas)| Record::Partition(new_partition(replicas).record(topic.id, PartitionIndex(index)));
    Ok((from..).zip(replicas).map(record).collect())
}

fn check_given(
    image: &Image,
    given: &[Vec<BrokerId>],
    count: i32,
) -> Result<Vec<Vec<BrokerId>>, CreatePartitionsError> {
    if i32::try_from(given.len()) != Ok(count) {
        let what = format!("{} assignments for {count} new partitions", given.len());
        return Err(CreatePartitionsError::Assignment { what });
    }
    for brokers in given {
        check_replicas(image, brokers).map_err(|what| CreatePartitionsError::Assignment { what })?;
    }
    Ok(given.to_vec())
}

#[cfg(test)]
mod tests {
    use kennet_protocol::{BrokerId, Uuid};

    use super::{CreatePartitionsError, decide};
    use crate::OFFSETS_TOPIC;
    use crate::decisions::create_topics;
    use crate::decisions::create_topics::tests::{DEFAULTS, apply, image, topic};

    #[test]
    fn a_topic_only_grows() {
        let mut image = image();
        for count in [0, 2, 3, 10_001] {
            assert!(matches!(decide(&image, "a", count, None), Err(CreatePartitionsError::Count { .. })), "{count}");
        }
        let records = decide(&image, "a", 5, None).unwrap();
        apply(&mut image, &records);
        assert_eq!(image.topic("a").unwrap().partitions.len(), 5);
    }

    #[test]
    fn the_coordinators_topic_does_not_grow() {
        let mut image = image();
        let records = create_topics::decide(&image, &topic(OFFSETS_TOPIC), DEFAULTS, Uuid::from_u128(11)).unwrap();
        apply(&mut image, &records);
        let refused = CreatePartitionsError::Internal { name: OFFSETS_TOPIC.to_owned() };
        assert_eq!(decide(&image, OFFSETS_TOPIC, 5, None), Err(refused));
    }

    #[test]
    fn an_assignment_names_each_new_partition() {
        let one = [vec![BrokerId(0)]];
        assert!(decide(&image(), "a", 4, Some(&one)).is_ok());
        assert!(matches!(decide(&image(), "a", 5, Some(&one)), Err(CreatePartitionsError::Assignment { .. })));
    }
}
