//! Which spec of the cluster's own Kubernetes object was applied last, so that one that went back, as after a restore of a backup, is known as such.
//!
//! Set by compare-and-set, because two operators may believe that they lead; for one object it never goes down.

use kennet_contract::management::{AppliedGeneration, AppliedGenerationChange};

use crate::image::Image;
use crate::record::{AppliedGenerationRecord, Record};

/// Longest uid; Kubernetes makes them of 36 characters.
const UID_BYTES_MAX: usize = 253;

/// Why it does not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppliedGenerationError {
    /// Somebody else wrote it meanwhile.
    #[error("{} was applied last, expected {}: read it again", words(found.as_ref()), words(expected.as_ref()))]
    Moved {
        /// What is there.
        found: Option<AppliedGeneration>,
        /// What whoever asks has seen.
        expected: Option<AppliedGeneration>,
    },
    /// It would go down.
    #[error("generation {wanted} of object {uid} is older than {applied}, which was applied already")]
    WentBack {
        /// The object.
        uid: String,
        /// What was asked for.
        wanted: i64,
        /// What was applied.
        applied: i64,
    },
    /// It names no object.
    #[error("the uid has {found} bytes: expected 1 to {UID_BYTES_MAX}")]
    InvalidUid {
        /// How long it is.
        found: usize,
    },
}

fn words(applied: Option<&AppliedGeneration>) -> String {
    applied
        .map_or("nothing".to_owned(), |applied| format!("generation {} of object {}", applied.generation, applied.uid))
}

/// Decides to remember what is applied; no records when it is the case already. An object with another uid starts anew.
///
/// # Errors
/// Why not.
pub fn decide(image: &Image, change: &AppliedGenerationChange) -> Result<Vec<Record>, AppliedGenerationError> {
    let (wanted, found) = (&change.applied, image.applied());
    if wanted.uid.is_empty() || wanted.uid.len() > UID_BYTES_MAX {
        return Err(AppliedGenerationError::InvalidUid { found: wanted.uid.len() });
    }
    if found == Some(wanted) {
        return Ok(Vec::new());
    }
    if let Some(found) = found.filter(|found| found.uid == wanted.uid && found.generation > wanted.generation) {
        let (uid, wanted, applied) = (wanted.uid.clone(), wanted.generation, found.generation);
        return Err(AppliedGenerationError::WentBack { uid, wanted, applied });
    }
    if found != change.expected.as_ref() {
        return Err(AppliedGenerationError::Moved { found: found.cloned(), expected: change.expected.clone() });
    }
    let AppliedGeneration { uid, generation } = wanted.clone();
    Ok(vec![Record::AppliedGeneration(AppliedGenerationRecord { uid, generation })])
}

#[cfg(test)]
mod tests {
    use kennet_contract::management::{AppliedGeneration, AppliedGenerationChange};

    use super::{AppliedGenerationError, decide};
    use crate::decisions::create_topics::tests::{apply, image};
    use crate::image::Image;

    fn applied(uid: &str, generation: i64) -> AppliedGeneration {
        AppliedGeneration { uid: uid.to_owned(), generation }
    }

    /// How many records it takes.
    fn set(
        image: &mut Image,
        wanted: AppliedGeneration,
        expected: Option<AppliedGeneration>,
    ) -> Result<usize, AppliedGenerationError> {
        let records = decide(image, &AppliedGenerationChange { applied: wanted, expected })?;
        apply(image, &records);
        Ok(records.len())
    }

    #[test]
    fn it_rises_and_is_written_only_when_it_changes() {
        let mut image = image();
        assert_eq!(set(&mut image, applied("1", 3), None), Ok(1));
        assert_eq!(set(&mut image, applied("1", 3), Some(applied("1", 3))), Ok(0));
        // whoever repeats a request whose answer was lost expects what was there before
        assert_eq!(set(&mut image, applied("1", 3), None), Ok(0));
        assert_eq!(set(&mut image, applied("1", 7), Some(applied("1", 3))), Ok(1));
        assert_eq!(image.applied(), Some(&applied("1", 7)));
    }

    #[test]
    fn it_never_goes_down_for_one_object_and_starts_anew_for_another() {
        let mut image = image();
        set(&mut image, applied("1", 7), None).unwrap();
        let error = set(&mut image, applied("1", 6), Some(applied("1", 7))).unwrap_err();
        assert_eq!(error.to_string(), "generation 6 of object 1 is older than 7, which was applied already");
        assert_eq!(set(&mut image, applied("2", 1), Some(applied("1", 7))), Ok(1));
        assert_eq!(image.applied(), Some(&applied("2", 1)));
    }

    #[test]
    fn who_has_not_seen_what_is_there_changes_nothing() {
        let mut image = image();
        set(&mut image, applied("1", 3), None).unwrap();
        for expected in [None, Some(applied("1", 2)), Some(applied("2", 3))] {
            let error = set(&mut image, applied("1", 4), expected.clone()).unwrap_err();
            assert_eq!(error, AppliedGenerationError::Moved { found: Some(applied("1", 3)), expected });
        }
        assert_eq!(image.applied(), Some(&applied("1", 3)));
    }

    #[test]
    fn an_object_has_a_uid() {
        for uid in [String::new(), "u".repeat(254)] {
            let found = uid.len();
            let error = set(&mut image(), applied(&uid, 1), None).unwrap_err();
            assert_eq!(error, AppliedGenerationError::InvalidUid { found });
        }
    }
}
