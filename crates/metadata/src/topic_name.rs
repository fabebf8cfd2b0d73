//! Which names a topic may have (Kafka's `Topic.validate`).

/// Kafka's limit: a partition's directory name must fit 255 bytes.
const LENGTH_MAX: usize = 249;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// Empty.
    #[error("a topic name can't be empty")]
    Empty,
    /// `.` or `..`.
    #[error("a topic name can't be '.' or '..'")]
    Dots,
    /// Too long.
    #[error("topic name of {length} characters is longer than {LENGTH_MAX}")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// A character that is not allowed.
    #[error("topic name '{name}' has a character other than letters, digits, '.', '_' and '-'")]
    Character {
        /// The name, cut to a readable length.
        name: String,
    },
}

/// Checks a name.
///
/// # Errors
/// What is wrong with it.
pub fn check_topic_name(name: &str) -> Result<(), TopicNameError> {
    if name.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(TopicNameError::Dots);
    }
    if name.len() > LENGTH_MAX {
        return Err(TopicNameError::TooLong { length: name.chars().count() });
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.bytes().all(legal) {
        return Err(TopicNameError::Character { name: name.chars().take(60).collect() });
    }
    Ok(())
}

/// Whether two names differ only in `.` and `_`, which metric names can't tell apart.
#[must_use]
pub fn collides(left: &str, right: &str) -> bool {
    let plain = |name: &str| name.replace('.', "_");
    left != right && plain(left) == plain(right)
}

#[cfg(test)]
mod tests {
    use super::{check_topic_name, collides};

    #[test]
    fn names_that_kafka_refuses_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", "\u{e4}", &"x".repeat(250)] {
            assert!(check_topic_name(name).is_err(), "{name}");
        }
        for name in ["a", "orders.v1", "A-b_c.9", &"x".repeat(249)] {
            assert!(check_topic_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert!(collides("a.b", "a_b"));
        assert!(!collides("a.b", "a.b"));
        assert!(!collides("a.b", "a-b"));
    }
}
