//! Deleting a topic, by name or id. Its id is never used again, so nothing can take a new topic of that name for it.

use kennet_protocol::Uuid;

use crate::image::Image;
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
}

/// Decides to delete the topic of that name.
///
/// # Errors
/// When there is none.
pub fn by_name(image: &Image, name: &str) -> Result<Vec<Record>, DeleteTopicError> {
    let topic = image.topic(name).ok_or_else(|| DeleteTopicError::UnknownName { name: name.to_owned() })?;
    Ok(vec![Record::RemoveTopic(RemoveTopicRecord { topic_id: topic.id })])
}

/// Decides to delete the topic of that id.
///
/// # Errors
/// When there is none.
pub fn by_id(image: &Image, id: Uuid) -> Result<Vec<Record>, DeleteTopicError> {
    let topic = image.topic_by_id(id).ok_or(DeleteTopicError::UnknownId { id })?;
    Ok(vec![Record::RemoveTopic(RemoveTopicRecord { topic_id: topic.id })])
}

/// Topics whose scheduled deletion is due at this time, milliseconds since 1970.
#[must_use]
pub fn due(image: &Image, now_ms: i64) -> Vec<Record> {
    let is_due = |at: Option<i64>| at.is_some_and(|at| at <= now_ms);
    let due = image.topics().filter(|topic| is_due(topic.delete_at_ms));
    due.map(|topic| Record::RemoveTopic(RemoveTopicRecord { topic_id: topic.id })).collect()
}

#[cfg(test)]
mod tests {
    use kennet_protocol::Uuid;

    use super::{by_id, by_name};
    use crate::decisions::create_topics::tests::{apply, image};

    #[test]
    fn a_deleted_topic_is_gone_by_name_and_by_id() {
        let mut image = image();
        let records = by_name(&image, "a").unwrap();
        apply(&mut image, &records);
        assert!(by_name(&image, "a").is_err());
        assert!(by_id(&image, Uuid::from_u128(10)).is_err());
    }
}
