//! Who looks after a topic: claimed by compare-and-set, so that two objects never fight over one topic.

use kennet_contract::management::{TopicCreation, TopicOwner, TopicOwnerAction};
use kennet_protocol::Uuid;

use crate::decisions::create_topics::{self, CreateTopicError, NewTopic, TopicDefaults};
use crate::image::{Image, Topic};
use crate::is_internal;
use crate::record::{OwnerFields, Record, TopicOwnerRecord};

/// Most config keys that one owner may manage: more than there are.
const MANAGED_KEYS_MAX: usize = 200;

/// Why ownership does not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicOwnerError {
    /// No such topic.
    #[error("there is no topic '{name}'")]
    UnknownTopic {
        /// The name.
        name: String,
    },
    /// A topic of the coordinators.
    #[error("topic '{name}' is internal and has no owner")]
    Internal {
        /// The name.
        name: String,
    },
    /// Somebody else has it.
    #[error("topic '{name}' is claimed by {owner}")]
    Claimed {
        /// The topic.
        name: String,
        /// Its owner, as namespace/name (uid).
        owner: String,
    },
    /// More keys than there are.
    #[error("{found} managed keys are more than {MANAGED_KEYS_MAX}")]
    TooManyKeys {
        /// How many.
        found: usize,
    },
}

/// Why a topic is not made for an owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateOwnedError {
    /// The topic.
    #[error(transparent)]
    Topic(#[from] CreateTopicError),
    /// The ownership.
    #[error(transparent)]
    Owner(#[from] TopicOwnerError),
}

/// Decides to make a topic with this id for an owner: all of it or nothing, since a topic that was made and not claimed yet could not be
/// told from a stranger's.
///
/// # Errors
/// Why not.
pub fn create(
    image: &Image,
    wanted: &TopicCreation,
    defaults: TopicDefaults,
    topic_id: Uuid,
) -> Result<Vec<Record>, CreateOwnedError> {
    if is_internal(&wanted.topic) {
        return Err(TopicOwnerError::Internal { name: wanted.topic.clone() }.into());
    }
    if wanted.managed_keys.len() > MANAGED_KEYS_MAX {
        return Err(TopicOwnerError::TooManyKeys { found: wanted.managed_keys.len() }.into());
    }
    let topic = NewTopic {
        name: wanted.topic.clone(),
        partitions: wanted.partitions,
        replication_factor: wanted.replication_factor,
        assignments: Vec::new(),
        configs: wanted.config.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect(),
    };
    let mut records = create_topics::decide(image, &topic, defaults, topic_id)?;
    records.push(Record::TopicOwner(TopicOwnerRecord {
        topic_id,
        owner: Some(fields(&wanted.owner)),
        managed_keys: wanted.managed_keys.clone(),
        generation: wanted.generation,
        delete_after_ms: wanted.delete_after_ms.unwrap_or(-1),
        delete_at_ms: -1,
    }));
    Ok(records)
}

/// Decides on one change of ownership; no records when it is the case already.
///
/// # Errors
/// Why not.
pub fn decide(image: &Image, name: &str, action: &TopicOwnerAction) -> Result<Vec<Record>, TopicOwnerError> {
    if is_internal(name) {
        return Err(TopicOwnerError::Internal { name: name.to_owned() });
    }
    let topic = image.topic(name).ok_or_else(|| TopicOwnerError::UnknownTopic { name: name.to_owned() })?;
    let present = topic.owner_record();
    let mut wanted = present.clone();
    match action {
        TopicOwnerAction::Claim { owner, expected, managed_keys, generation, delete_after_ms } => {
            if managed_keys.len() > MANAGED_KEYS_MAX {
                return Err(TopicOwnerError::TooManyKeys { found: managed_keys.len() });
            }
            if topic.owner.as_ref() != Some(owner) && topic.owner != *expected {
                return Err(claimed(topic));
            }
            wanted.owner = Some(fields(owner));
            wanted.managed_keys.clone_from(managed_keys);
            wanted.generation = *generation;
            wanted.delete_after_ms = delete_after_ms.unwrap_or(-1);
            wanted.delete_at_ms = -1;
        }
        TopicOwnerAction::Release { owner } => {
            must_own(topic, owner)?;
            wanted.owner = None;
            wanted.managed_keys.clear();
            wanted.generation = 0;
            wanted.delete_after_ms = -1;
            wanted.delete_at_ms = -1;
        }
        TopicOwnerAction::ScheduleDeletion { owner, delete_at_ms } => {
            must_own(topic, owner)?;
            wanted.delete_at_ms = (*delete_at_ms).max(0);
        }
        TopicOwnerAction::CancelDeletion { owner } => {
            must_own(topic, owner)?;
            wanted.delete_at_ms = -1;
        }
    }
    Ok(if wanted == present { Vec::new() } else { vec![Record::TopicOwner(wanted)] })
}

fn must_own(topic: &Topic, owner: &TopicOwner) -> Result<(), TopicOwnerError> {
    if topic.owner.as_ref() == Some(owner) { Ok(()) } else { Err(claimed(topic)) }
}

fn claimed(topic: &Topic) -> TopicOwnerError {
    let owner = match &topic.owner {
        Some(owner) => format!("{}/{} ({})", owner.namespace, owner.name, owner.uid),
        None => "nobody".to_owned(),
    };
    TopicOwnerError::Claimed { name: topic.name.to_string(), owner }
}

fn fields(owner: &TopicOwner) -> OwnerFields {
    OwnerFields { namespace: owner.namespace.clone(), name: owner.name.clone(), uid: owner.uid.clone() }
}

#[cfg(test)]
mod tests {
    use kennet_contract::management::{TopicOwner, TopicOwnerAction};

    use kennet_contract::management::TopicCreation;
    use kennet_protocol::Uuid;

    use super::{CreateOwnedError, TopicOwnerError, create, decide};
    use crate::decisions::create_topics::CreateTopicError;
    use crate::decisions::create_topics::tests::{DEFAULTS, apply, image};
    use crate::decisions::delete_topics;
    use crate::image::Image;

    fn owner(uid: &str) -> TopicOwner {
        TopicOwner { namespace: "n".to_owned(), name: "a".to_owned(), uid: uid.to_owned() }
    }

    fn act(image: &mut Image, action: &TopicOwnerAction) -> Result<(), TopicOwnerError> {
        let records = decide(image, "a", action)?;
        apply(image, &records);
        Ok(())
    }

    fn claim(uid: &str, expected: Option<&str>) -> TopicOwnerAction {
        TopicOwnerAction::Claim {
            owner: owner(uid),
            expected: expected.map(owner),
            managed_keys: Vec::new(),
            generation: 1,
            delete_after_ms: None,
        }
    }

    #[test]
    fn a_second_claimant_is_told_who_was_first() {
        let mut image = image();
        act(&mut image, &claim("1", None)).unwrap();
        act(&mut image, &claim("1", None)).unwrap();
        let error = act(&mut image, &claim("2", None)).unwrap_err();
        assert_eq!(error.to_string(), "topic 'a' is claimed by n/a (1)");
        act(&mut image, &claim("2", Some("1"))).unwrap();
        assert!(act(&mut image, &TopicOwnerAction::Release { owner: owner("1") }).is_err());
    }

    #[test]
    fn a_scheduled_deletion_is_due_once_and_cancelled_by_a_claim() {
        let mut image = image();
        act(&mut image, &claim("1", None)).unwrap();
        act(&mut image, &TopicOwnerAction::ScheduleDeletion { owner: owner("1"), delete_at_ms: 100 }).unwrap();
        assert_eq!(delete_topics::due(&image, 99).len(), 0);
        assert_eq!(delete_topics::due(&image, 100).len(), 1);
        act(&mut image, &claim("1", None)).unwrap();
        assert_eq!(delete_topics::due(&image, 100).len(), 0);
    }

    #[test]
    fn a_topic_that_is_made_for_an_owner_is_never_without() {
        let mut image = image();
        let wanted = |name: &str| TopicCreation {
            topic: name.to_owned(),
            partitions: Some(2),
            replication_factor: None,
            config: [("retention.ms".to_owned(), "5".to_owned())].into(),
            owner: owner("1"),
            managed_keys: vec!["retention.ms".to_owned()],
            generation: 3,
            delete_after_ms: Some(7),
        };
        let records = create(&image, &wanted("b"), DEFAULTS, Uuid::from_u128(20)).unwrap();
        apply(&mut image, &records);
        let topic = image.topic("b").unwrap();
        assert_eq!((topic.partitions.len(), topic.owner.as_ref()), (2, Some(&owner("1"))));
        assert_eq!((topic.owner_generation, topic.delete_after_ms, topic.delete_at_ms), (3, Some(7), None));
        // a topic that is there is not touched, whoever made it
        let error = create(&image, &wanted("a"), DEFAULTS, Uuid::from_u128(21)).unwrap_err();
        assert!(matches!(error, CreateOwnedError::Topic(CreateTopicError::Exists { .. })));
    }
}
