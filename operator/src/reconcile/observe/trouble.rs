//! Why a pod or a volume does not come up, as Kubernetes tells it, and a Secret without its token.

use std::fmt;

use conure_crd::names::CLUSTER_LABEL;
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;

use super::super::build::{REPLACE_MEMBER, TOKEN_KEY};
use super::super::plan::{Slot, Wish};
use super::super::view;
use super::{Observed, damage};

/// Messages are cut to this length: a condition is no place for a stack trace.
const MESSAGE_MAX: usize = 512;
/// Restarts after which a container that is down counts as crashing.
const RESTARTS_MIN: i32 = 2;

/// The reason of a pod that no node takes.
pub const UNSCHEDULABLE: &str = "Unschedulable";

/// Something that keeps a member from running or from being administered. The reason is what conditions and events carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble {
    /// A word that stays the same for the same cause.
    pub reason: &'static str,
    /// The Secret, pod or claim.
    pub object: String,
    /// What happened, and what to do.
    pub message: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A Secret of ours without a token. It is never written over: whoever changed it may still have the token.
pub fn secret_trouble(observed: &Observed) -> Option<Trouble> {
    let name = observed.secret.as_ref()?.name_any();
    if observed.token().is_some() {
        return None;
    }
    let message = format!(
        "the Secret {name} holds no token under the key {TOKEN_KEY:?}, without which no member can join, go or be told \
         anything; put the token back under that key, or kubectl delete secret {name} and a new one is made, which \
         reaches the members within some two minutes"
    );
    Some(Trouble { reason: "AdminTokenMissing", message: cut(&message), object: name })
}

/// A request to replace a member that cannot be one.
pub fn replace_trouble(observed: &Observed) -> Option<Trouble> {
    let asked = view::replace_asked(observed)?;
    let cluster = observed.cluster.name_any();
    let wish = Wish::of(&observed.cluster);
    let known = Slot::parse(&cluster, asked).is_some_and(|slot| wish.wants(slot));
    if known {
        return None;
    }
    let members: Vec<String> = wish.slots().into_iter().map(|slot| slot.name(&cluster)).collect();
    let message = format!(
        "the annotation {REPLACE_MEMBER} names {asked:?}, which is no member; name one of {}, or remove it: \
         kubectl annotate conure {cluster} {REPLACE_MEMBER}-",
        members.join(", ")
    );
    Some(Trouble { reason: "ReplaceMemberUnknown", message: cut(&message), object: cluster })
}

/// The command with which somebody makes a member start over.
pub fn ask_to_replace(cluster: &str, member: &str) -> String {
    format!("kubectl annotate conure {cluster} {REPLACE_MEMBER}={member}")
}

/// What keeps a pod from running, if anything does.
pub fn pod_trouble(pod: &Pod) -> Option<Trouble> {
    let name = pod.name_any();
    let status = pod.status.as_ref()?;
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    if let Some(said) = damage(pod) {
        let cluster = pod.labels().get(CLUSTER_LABEL).map_or("NAME", String::as_str);
        let message = format!(
            "{name}: its data is damaged; where spec.repair.automatic is true, a member starts over on a new volume once all other \
             members are well; to ask for it: {}; it said: {said}",
            ask_to_replace(cluster, &name)
        );
        return Some(Trouble { reason: "DataDamaged", message: cut(&message), object: name });
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    if let Some((reason, message)) = containers.filter_map(container_trouble).next() {
        return Some(Trouble { reason, message: cut(&format!("{name}: {message}")), object: name });
    }
    let unscheduled = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    let message = unscheduled.message.as_deref().unwrap_or("no node takes it");
    Some(Trouble {
        reason: UNSCHEDULABLE,
        message: cut(&format!("{name} cannot be scheduled: {message}")),
        object: name,
    })
}

fn container_trouble(container: &ContainerStatus) -> Option<(&'static str, String)> {
    let state = container.state.as_ref()?;
    let waiting = state.waiting.as_ref();
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let said = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError" => Some((
            "ImagePullFailed",
            format!(
                "the image {} cannot be pulled ({reason}: {said}); set spec.image to one that can, or \
                 spec.imagePullSecrets",
                container.image
            ),
        )),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Some((
            "ContainerNotCreated",
            format!(
                "its container {} cannot be created: {said}; see that {} is an image of the server",
                container.name, container.image
            ),
        )),
        _ => {
            let down = state.running.is_none() && container.restart_count >= RESTARTS_MIN;
            let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
            let last = last.or(state.terminated.as_ref()).filter(|_| down || reason == "CrashLoopBackOff")?;
            let said = last.message.as_deref().map(|said| format!(": {}", said.trim())).unwrap_or_default();
            // The runtime did not find the program, or the image's entrypoint did not.
            let started = !matches!(last.reason.as_deref(), Some("StartError" | "ContainerCannotRun"));
            if !started || matches!(last.exit_code, 126 | 127) {
                let message = format!(
                    "its container {} cannot be started{said}; see that {} is an image of the server",
                    container.name, container.image
                );
                return Some(("ContainerNotStarted", message));
            }
            Some((
                "CrashLooping",
                format!(
                    "its container {} ended {} times, last with code {}{said}; see kubectl logs --previous",
                    container.name, container.restart_count, last.exit_code
                ),
            ))
        }
    }
}

/// Whether the pod cannot come up as it is: replacing it loses nothing.
pub fn is_stuck(pod: &Pod) -> bool {
    pod_trouble(pod).is_some()
}

/// What keeps an unbound claim from being bound, by the newest event that says so.
pub fn claim_trouble(claim: &PersistentVolumeClaim, events: &[Event]) -> Option<Trouble> {
    let name = claim.name_any();
    let failure = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some("ProvisioningFailed"))
        .max_by_key(|event| {
            let last = event.series.as_ref().map(|series| series.last_observed_time.0);
            last.or(event.deprecated_last_timestamp.as_ref().map(|time| time.0))
                .or(event.event_time.as_ref().map(|time| time.0))
        })?;
    let said = failure.note.as_deref().unwrap_or("its provisioner does not say why");
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or("");
    if said.contains("storageclass") && said.contains("not found") {
        let message = format!(
            "{name}: there is no storage class {class:?} ({said}); create it, or delete this ConureCluster and its \
             volumes and create it with a class that exists"
        );
        return Some(Trouble { reason: "StorageClassNotFound", message: cut(&message), object: name });
    }
    Some(Trouble {
        reason: "VolumeProvisioningFailed",
        message: cut(&format!("{name}: the volume cannot be made: {said}")),
        object: name,
    })
}

fn cut(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_MAX) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "conure-0"}, "status": status})).unwrap()
    }

    fn claim() -> PersistentVolumeClaim {
        serde_json::from_value(
            json!({"metadata": {"name": "data-conure-0"}, "spec": {"storageClassName": "nope"}}),
        )
        .unwrap()
    }

    fn event(reason: &str, note: &str) -> Event {
        Event { reason: Some(reason.into()), note: Some(note.into()), ..Event::default() }
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named() {
        let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "not there"}});
        let container = json!({"name": "conure-db", "image": "no/such:1", "imageID": "", "ready": false,
            "restartCount": 0, "state": waiting});
        let trouble = pod_trouble(&pod(json!({"containerStatuses": [container]}))).unwrap();
        assert_eq!(trouble.reason, "ImagePullFailed");
        assert!(trouble.message.contains("no/such:1") && trouble.message.contains("not there"), "{trouble}");
    }

    #[test]
    fn a_pod_that_no_node_takes_says_why() {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available"});
        let trouble = pod_trouble(&pod(json!({"conditions": [condition]}))).unwrap();
        assert_eq!(trouble.reason, "Unschedulable");
        assert!(trouble.message.contains("0/3 nodes"), "{trouble}");
    }

    #[test]
    fn a_container_that_keeps_ending_is_crashing_and_one_restart_is_not() {
        let container = |restarts: i32| {
            json!({"name": "conure-db", "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
                "state": {"terminated": {"exitCode": 2}},
                "lastState": {"terminated": {"exitCode": 2, "message": "bad flag\n"}}})
        };
        let crashing = pod_trouble(&pod(json!({"containerStatuses": [container(3)]}))).unwrap();
        assert_eq!(crashing.reason, "CrashLooping");
        assert!(crashing.message.contains("code 2: bad flag;"), "{crashing}");
        assert_eq!(pod_trouble(&pod(json!({"containerStatuses": [container(1)]}))), None);
    }

    #[test]
    fn an_image_without_the_server_in_it_is_told_from_a_server_that_ends() {
        let waits = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
        let ended = |code: i32, reason: &str, message: &str| json!({"terminated": {"exitCode": code, "reason": reason, "message": message}});
        let absent = "exec: \"conure-db\": executable file not found in $PATH";
        let off = waits("CrashLoopBackOff", "back-off");
        for (reason, state, last) in [
            ("ContainerNotCreated", waits("RunContainerError", absent), json!({})),
            ("ContainerNotCreated", waits("CreateContainerError", "no command specified"), json!({})),
            ("ContainerNotStarted", off.clone(), ended(128, "StartError", absent)),
            ("ContainerNotStarted", off.clone(), ended(127, "Error", "sh: wait: not found")),
            ("CrashLooping", off, ended(2, "Error", "a flag that nobody knows")),
        ] {
            let container = json!({"name": "conure-db", "image": "nginx:1", "imageID": "", "ready": false,
                "restartCount": 3, "state": state, "lastState": last});
            let trouble = pod_trouble(&pod(json!({"containerStatuses": [container]}))).unwrap();
            assert_eq!(trouble.reason, reason, "{trouble}");
            let named = trouble.message.contains("see that nginx:1 is an image of the server");
            assert_eq!(named, reason != "CrashLooping", "{trouble}");
        }
    }

    #[test]
    fn damaged_data_is_told_from_crashing_with_the_mend_and_what_was_said() {
        let last =
            json!({"terminated": {"exitCode": 3, "message": "conure-db: data damaged: page 7 is wrong\n"}});
        let container = json!({"name": "conure-db", "image": "i", "imageID": "", "ready": false, "restartCount": 7,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": last});
        let mut pod = pod(json!({"containerStatuses": [container]}));
        pod.labels_mut().insert("app.kubernetes.io/instance".into(), "conure".into());
        let trouble = pod_trouble(&pod).unwrap();
        assert_eq!(trouble.reason, "DataDamaged");
        let asks = "kubectl annotate conure conure conuredb.dev/replace-member=conure-0";
        for part in ["conure-0: its data is damaged", asks, "page 7 is wrong"] {
            assert!(trouble.message.contains(part), "{trouble}");
        }
    }

    #[test]
    fn a_running_pod_has_no_trouble() {
        let container = json!({"name": "conure-db", "image": "i", "imageID": "", "ready": true, "restartCount": 9,
            "state": {"running": {}}});
        assert_eq!(pod_trouble(&pod(json!({"containerStatuses": [container]}))), None);
    }

    #[test]
    fn an_absent_storage_class_is_named() {
        let events = [
            event("WaitForFirstConsumer", "waiting"),
            event("ProvisioningFailed", "storageclass.storage.k8s.io \"nope\" not found"),
        ];
        let trouble = claim_trouble(&claim(), &events).unwrap();
        assert_eq!(trouble.reason, "StorageClassNotFound");
        assert!(trouble.message.contains("\"nope\""), "{trouble}");
        assert_eq!(claim_trouble(&claim(), &events[..1]), None);
    }

    #[test]
    fn a_secret_without_its_token_is_named_with_the_key_and_the_mend() {
        let mut observed = Observed::new(conure_crd::ConureCluster::new("conure", Default::default()));
        assert_eq!(secret_trouble(&observed), None, "the operator makes one that is not there");
        for (data, wrong) in [
            (json!({"token": "c2VzYW1l"}), false),
            (json!({"token": "c2VzYW1lCg=="}), false),
            (json!({}), true),
            (json!({"tokn": "c2VzYW1l"}), true),
            (json!({"token": ""}), true),
            (json!({"token": "Cg=="}), true),
        ] {
            let secret = json!({"metadata": {"name": "conure-admin"}, "data": data});
            observed.secret = Some(serde_json::from_value(secret).unwrap());
            let trouble = secret_trouble(&observed);
            assert_eq!(trouble.is_some(), wrong, "{data}");
            let message = trouble.map(|trouble| trouble.message).unwrap_or_default();
            let names_all =
                ["conure-admin", "\"token\"", "kubectl delete secret"].map(|it| message.contains(it));
            assert_eq!(names_all, [wrong; 3], "{message}");
        }
        assert_eq!(observed.token(), None);
    }

    #[test]
    fn a_request_to_replace_who_is_no_member_names_the_members() {
        let mut observed = Observed::new(conure_crd::ConureCluster::new("conure", Default::default()));
        let asked = |name: &str| Some([(REPLACE_MEMBER.to_owned(), name.to_owned())].into());
        observed.cluster.metadata.annotations = asked("conure-1");
        assert_eq!(replace_trouble(&observed), None);
        for name in ["conure-2", "conure-arbiter-0", "other", ""] {
            observed.cluster.metadata.annotations = asked(name);
            let trouble = replace_trouble(&observed).expect(name);
            assert_eq!(trouble.reason, "ReplaceMemberUnknown");
            assert!(
                trouble.message.contains("one of conure-bootstrap-0, conure-0, conure-1, or"),
                "{trouble}"
            );
        }
    }

    #[test]
    fn long_messages_are_cut_to_one_line() {
        let events = [event("ProvisioningFailed", &"x\n".repeat(2_000))];
        let message = claim_trouble(&claim(), &events).unwrap().message;
        assert!(message.chars().count() <= MESSAGE_MAX + 1 && !message.contains('\n'), "{message}");
    }
}
