//! A cluster's refusals in the words of this program: what is wrong with which object, and which command helps.
//!
//! Only codes that an ordinary mistake leads to; everything else is said as the client says it, with Kafka's code.

use kennet_client::{ClientError, ErrorCode};

/// The sentence for a failure.
pub(crate) fn sentence(error: &ClientError) -> String {
    match error {
        ClientError::Refused { object, code, message, .. } => {
            refusal(object, *code, message.as_deref()).unwrap_or_else(|| error.to_string())
        }
        ClientError::NoBroker { .. } => format!("{error}: --bootstrap or KENNET_BOOTSTRAP names another address"),
        other => other.to_string(),
    }
}

fn refusal(object: &str, code: ErrorCode, message: Option<&str>) -> Option<String> {
    Some(match code {
        ErrorCode::UnknownTopicOrPartition => {
            format!(
                "{object} does not exist: kennet topics list shows what there is, kennet topics create makes a topic"
            )
        }
        ErrorCode::TopicAlreadyExists => format!("{object} exists already: kennet topics alter changes it"),
        ErrorCode::GroupIdNotFound => no_group(object),
        ErrorCode::NonEmptyGroup => {
            format!("{object} has members: end its consumers first, kennet groups describe shows them")
        }
        ErrorCode::InvalidConfig => {
            let message = message?;
            let page = "docs/configuration.md";
            match message.contains(page) {
                true => format!("{object}: {message}"),
                false => format!("{object}: {message}: {page} lists the keys and their values"),
            }
        }
        ErrorCode::InvalidTopicException => {
            let name = "the name is invalid: expected 1 to 249 letters, digits, '.', '_' and '-'";
            format!("{object}: {}", message.unwrap_or(name))
        }
        _ => return None,
    })
}

/// For a group that nobody has heard of.
pub(crate) fn no_group(object: &str) -> String {
    format!("{object} does not exist: kennet groups list shows those that do")
}

#[cfg(test)]
mod tests {
    use kennet_client::{ClientError, ErrorCode};

    use super::sentence;

    fn refused(object: &str, code: ErrorCode, message: Option<&str>) -> String {
        let (object, message) = (object.to_owned(), message.map(str::to_owned));
        sentence(&ClientError::Refused { api: "SomeApi", object, code, message })
    }

    #[test]
    fn an_ordinary_mistake_is_told_without_kafkas_words_and_with_a_remedy() {
        for (said, remedy) in [
            (refused("topic 't'", ErrorCode::UnknownTopicOrPartition, Some("none")), "kennet topics list"),
            (refused("topic 't'", ErrorCode::TopicAlreadyExists, None), "kennet topics alter"),
            (refused("group 'g'", ErrorCode::GroupIdNotFound, None), "kennet groups list"),
            (refused("group 'g'", ErrorCode::NonEmptyGroup, None), "end its consumers"),
            (refused("topic 't'", ErrorCode::InvalidConfig, Some("there is no config 'x'")), "docs/configuration.md"),
        ] {
            assert!(said.contains(remedy), "'{remedy}' is not in: {said}");
            assert!(!said.contains("SomeApi") && !said.contains("failed with"), "{said}");
        }
    }

    #[test]
    fn a_name_that_no_topic_can_have_is_told_with_those_that_it_can() {
        let said = refused("topic 'b/ad'", ErrorCode::InvalidTopicException, None);
        assert!(said.starts_with("topic 'b/ad': the name is invalid: expected") && said.contains("letters"), "{said}");
        let said = refused("topic 'b/ad'", ErrorCode::InvalidTopicException, Some("topic name 'b/ad' has a slash"));
        assert_eq!(said, "topic 'b/ad': topic name 'b/ad' has a slash");
    }

    #[test]
    fn the_page_of_configs_is_named_once() {
        for message in ["there is no config 'x': expected a key that docs/configuration.md lists", "expected a number"]
        {
            let said = refused("topic 't'", ErrorCode::InvalidConfig, Some(message));
            assert_eq!(said.matches("docs/configuration.md").count(), 1, "{said}");
        }
    }

    #[test]
    fn a_code_without_advice_is_told_as_it_is() {
        let said = refused("topic 't'", ErrorCode::PolicyViolation, Some("it is too much"));
        assert!(said.contains("SomeApi") && said.contains("too much"), "{said}");
    }
}
