//! Whether this operator is older than what runs: then it changes nothing of that cluster, because what it does not know it would undo. Pure.

use kennet_contract::CONTRACT;
use serde_json::Value;

use crate::cluster::build::INPUTS_VERSION;

/// What to say about a broker or a template that this operator is too old for; none when it is not. `inputs` is the annotation with the restart
/// inputs, `contract` what the broker says of itself.
pub(crate) fn too_old(inputs: Option<&str>, contract: Option<u32>) -> Option<String> {
    let message = |what: &str, there: u64, known: u32| {
        format!(
            "{what} version {there}, and this operator knows {known}: it is of a newer release; nothing is changed until the operator is \
             upgraded to that release or a later one"
        )
    };
    let there = inputs.and_then(version).unwrap_or(0);
    if there > u64::from(INPUTS_VERSION) {
        return Some(message("the broker's restart inputs have", there, INPUTS_VERSION));
    }
    let contract = contract.filter(|contract| *contract > CONTRACT)?;
    Some(message("the broker that runs speaks the contract in", u64::from(contract), CONTRACT))
}

/// The version of restart inputs; none when they have none, which nobody who is newer would write.
fn version(inputs: &str) -> Option<u64> {
    serde_json::from_str::<Value>(inputs).ok()?.get("version")?.as_u64()
}

#[cfg(test)]
mod tests {
    use kennet_contract::CONTRACT;

    use super::{INPUTS_VERSION, too_old};

    #[test]
    fn a_version_above_ours_says_which_is_there_which_is_known_and_what_to_do() {
        let inputs = |version: u32| format!("{{\"image\": \"i\", \"version\": {version}}}");
        let message = too_old(Some(&inputs(INPUTS_VERSION + 1)), None).unwrap();
        let versions = format!("version {}, and this operator knows {INPUTS_VERSION}", INPUTS_VERSION + 1);
        assert!(message.contains(&versions) && message.contains("until the operator is upgraded"), "{message}");
        let message = too_old(Some(&inputs(INPUTS_VERSION)), Some(CONTRACT + 1)).unwrap();
        assert!(
            message.contains(&format!("version {}, and this operator knows {CONTRACT}", CONTRACT + 1)),
            "{message}"
        );
    }

    #[test]
    fn what_is_ours_or_older_or_not_known_is_no_reason_to_stop() {
        assert_eq!(too_old(None, None), None);
        assert_eq!(too_old(Some("{\"version\": 1}"), Some(CONTRACT)), None);
        assert_eq!(too_old(Some("{}"), Some(0)), None);
        assert_eq!(too_old(Some("no JSON"), None), None);
    }
}
