//! Events for changes of the conditions.

use conure_crd::condition::{AVAILABLE, DEGRADED, PROGRESSING, QUORUM_LOST, READY, RECOVERED};
use conure_crd::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::context::Note;

/// Steps that are not taken because they would cost the quorum, or data.
const REFUSED_STEPS: [&str; 4] =
    ["RemovalWouldLoseQuorum", "ReplaceWouldLoseQuorum", "DamagedMemberKept", "DamagedAgain"];

/// Which changes are worth an event: Ready and Available reached, and every new cause of trouble.
pub(super) fn notes(cluster: &str, before: &[Condition], after: &[Condition]) -> Vec<Note> {
    let mut notes = Vec::new();
    for new in after {
        let old = before.iter().find(|old| old.type_ == new.type_);
        let became = |status: &str| new.status == status && old.is_none_or(|old| old.status != status);
        let other_reason = old.is_none_or(|old| old.reason != new.reason);
        let note = |warning, reason: &str| {
            // The message begins with the object that it is about, where it is about one.
            let about = new.message.split([' ', ':', ',']).next().and_then(|word| object(cluster, word));
            Note { warning, about, ..Note::normal(reason, &new.message) }
        };
        match new.type_.as_str() {
            READY if became("True") => notes.push(note(false, "Ready")),
            AVAILABLE if became("True") => notes.push(note(false, "Available")),
            DEGRADED if new.status == "True" && (became("True") || other_reason) => {
                notes.push(note(true, &new.reason));
            }
            DEGRADED if became("False") && old.is_some_and(|old| old.status == "True") => {
                notes.push(note(false, "Recovered"));
            }
            QUORUM_LOST if became("True") && !notes.iter().any(|note| note.reason == new.reason) => {
                notes.push(note(true, &new.reason));
            }
            RECOVERED if new.status != "Unknown" && other_reason => {
                notes.push(note(new.status == "False", &new.reason));
            }
            PROGRESSING if REFUSED_STEPS.contains(&new.reason.as_str()) && other_reason => {
                notes.push(note(true, &new.reason));
            }
            _ => {}
        }
    }
    notes
}

/// Kind and name of the cluster's pod or claim of that name; `None` for any other word.
fn object(cluster: &str, word: &str) -> Option<(&'static str, String)> {
    let is_pod = |name: &str| names::parse_pod(cluster, name).is_some();
    let kind = if is_pod(word) {
        "Pod"
    } else if names::claimant(word).is_some_and(is_pod) {
        "PersistentVolumeClaim"
    } else {
        return None;
    };
    Some((kind, word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_about_the_pod_or_the_claim_that_its_text_begins_with() {
        let kind = |cluster: &str, word: &str| object(cluster, word).map(|(kind, _)| kind);
        assert_eq!(kind("conure", "conure-bootstrap-0"), Some("Pod"));
        assert_eq!(kind("conure", "data-conure-0"), Some("PersistentVolumeClaim"));
        assert_eq!(kind("data-conure", "data-conure-0"), Some("Pod"));
        assert_eq!(kind("data-conure", "data-data-conure-0"), Some("PersistentVolumeClaim"));
        for word in ["", "the", "two-thirds", "other-0", "data-other-0", "conure-admin"] {
            assert_eq!(kind("conure", word), None, "{word}");
        }
    }
}
