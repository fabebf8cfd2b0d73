//! Deleting a topic, by name or id. Its id is never used again, so nothing can take a new topic of that name for it.

use kennet_protocol::Uuid;

use crate::image::{Image, Topic};
use crate::is_internal;
use crate::record::{Record, RemoveTopicRecord};

/// Why a topic is not deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTopicError {
    /// No topic of that name.
    #[error("there is no topic '{name}'")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// No topic of that id.
    #[error("there is no topic with id {id}")]
    UnknownId {
        /// The id.
        id: Uuid,
    },
    /// The coordinators keep their state in it.
    #[error("topic '{name}' holds the state of all groups, so clients can't delete it: delete groups instead")]
    Internal {
        /// The name.
        name: String,
    },
}

/// Decides to delete the topic of that name.
///
/// # Errors
/// When there is none, or it is the coordinators'.
pub fn by_name(image: &Image, name: &str) -> Result<Vec<Record>, DeleteTopicError> {
    let topic = image.topic(name).ok_or_else(|| DeleteTopicError::UnknownName { name: name.to_owned() })?;
    remove(topic)
}

/// Decides to delete the topic of that id.
///
/// # Errors
/// When there is none, or it is the coordinators'.
pub fn by_id(image: &Image, id: Uuid) -> Result<Vec<Record>, DeleteTopicError> {
    let topic = image.topic_by_id(id).ok_or(DeleteTopicError::UnknownId { id })?;
    remove(topic)
}

/// Without its topic the coordinator would go on in a log that is gone, and a new one would know no group.
fn remove(topic: &Topic) -> Result<Vec<Record>, DeleteTopicError> {
    if is_internal(&topic.name) {
        return Err(DeleteTopicError::Internal { name: topic.name.to_string() });
    }
    Ok(vec![Record::RemoveTopic(RemoveTopicRecord { topic_id: topic.id })])
}

/// Topics whose scheduled deletion is due at this time, milliseconds since 1970.
#[must_use]
pub fn due(image: &Image, now_ms: i64) -> Vec<Record> {
    let is_due = |at: Option<i64>| at.is_some_and(|at| at <= now_ms);
    let due = image.topics().filter(|topic| is_due(topic.delete_at_ms) && !is_internal(&topic.name));
    due.map(|topic| Record::RemoveTopic(RemoveTopicRecord { topic_id: topic.id })).collect()
}

#[cfg(test)]
mod tests {
    use kennet_protocol::Uuid;

    use super::{DeleteTopicError, by_id, by_name};
    use crate::OFFSETS_TOPIC;
    use crate::decisions::create_topics;
    use crate::decisions::create_topics::tests::{DEFAULTS, apply, image, topic};

    #[test]
    fn a_deleted_topic_is_gone_by_name_and_by_id() {
        let mut image = image();
        let records = by_name(&image, "a").unwrap();
        apply(&mut image, &records);
        assert!(by_name(&image, "a").is_err());
        assert!(by_id(&image, Uuid::from_u128(10)).is_err());
    }

    #[test]
    fn the_coordinators_topic_is_not_deleted() {
        let mut image = image();
        let id = Uuid::from_u128(11);
        let records = create_topics::decide(&image, &topic(OFFSETS_TOPIC), DEFAULTS, id).unwrap();
        apply(&mut image, &records);
        let refused = Err(DeleteTopicError::Internal { name: OFFSETS_TOPIC.to_owned() });
        assert_eq!((by_name(&image, OFFSETS_TOPIC), by_id(&image, id)), (refused.clone(), refused));
    }
}
