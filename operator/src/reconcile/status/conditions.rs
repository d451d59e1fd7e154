//! The five conditions: always all there, each with a reason that says what is the matter.

use conure_crd::MemberSuffrage;
use conure_crd::condition::{ALL, AVAILABLE, DEGRADED, PROGRESSING, QUORUM_LOST, READY};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use super::super::observe::{Observed, Trouble, UNSCHEDULABLE};
use super::super::plan::{Pod, Slot, Step, Waiting, majority};
use super::super::view;
use super::{Pass, Planned, progress};
use crate::context::Note;

/// How long a new pod may take to be scheduled before that counts as trouble.
const SCHEDULING_SECONDS: i64 = 20;
/// How long a new pod may take to answer before its member counts as down.
const STARTING_SECONDS: i64 = 60;

/// A condition without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// True, False, or Unknown.
    pub holds: Option<bool>,
    /// Why, in one word.
    pub reason: String,
    /// Why, in one line.
    pub message: String,
}

fn verdict(holds: bool, reason: &str, message: impl Into<String>) -> Verdict {
    Verdict { holds: Some(holds), reason: reason.to_owned(), message: message.into() }
}

/// The conditions in the order of [`ALL`].
pub(super) fn judge(observed: &Observed, pass: &Pass<'_>, now: &Time) -> [Verdict; 5] {
    match pass {
        Pass::Named(id) => std::array::from_fn(|_| Verdict {
            holds: None,
            reason: "Reconciling".to_owned(),
            message: format!("the cluster was given the id {id}; its objects come next"),
        }),
        Pass::Refused(refusal) => {
            let (reason, message) = (refusal.reason(), refusal.to_string());
            [
                verdict(false, reason, &message),
                verdict(false, reason, &message),
                verdict(false, reason, &message),
                verdict(true, reason, &message),
                verdict(false, "NotBootstrapped", "there is no quorum to lose yet"),
            ]
        }
        Pass::Planned(planned) => {
            let quorum = quorum(observed, planned);
            let going = going(observed, planned);
            let available = match &quorum {
                Quorum::Serves(message) => verdict(true, "QuorumServes", message),
                Quorum::Electing => verdict(false, "NoLeader", "a quorum is up and elects a leader"),
                Quorum::Lost(message) => verdict(false, "QuorumLost", message),
                Quorum::Unborn => {
                    verdict(false, "NotBootstrapped", "the first member is not bootstrapped yet")
                }
            };
            let lost = match &quorum {
                Quorum::Lost(message) => verdict(true, "QuorumLost", message),
                Quorum::Unborn => verdict(false, "NotBootstrapped", "there is no quorum to lose yet"),
                _ => verdict(false, "QuorumPresent", "a quorum of voters is up"),
            };
            let degraded = degraded(observed, planned, &quorum, now);
            [ready(planned, &going, &degraded), available, going, degraded, lost]
        }
    }
}

enum Quorum {
    Serves(String),
    Electing,
    Lost(String),
    Unborn,
}

fn quorum(observed: &Observed, planned: &Planned<'_>) -> Quorum {
    let world = planned.world;
    if !world.born {
        return Quorum::Unborn;
    }
    let cluster = observed.cluster.name_any();
    let lives = |name: &str| {
        Slot::parse(&cluster, name).and_then(|slot| world.pods.get(&slot)).is_some_and(Pod::lives)
    };
    let voters: Vec<String> = match &world.config {
        Some(config) => config.voters().map(|entry| entry.name.clone()).collect(),
        None => last_voters(observed, planned),
    };
    let missing: Vec<&str> = voters.iter().map(String::as_str).filter(|name| !lives(name)).collect();
    let live = voters.len() - missing.len();
    if live >= majority(voters.len()) {
        return match &world.config {
            Some(config) => {
                Quorum::Serves(format!("{live} of {} voters are up, {} leads", voters.len(), config.leader))
            }
            None => Quorum::Electing,
        };
    }
    Quorum::Lost(format!(
        "{live} of {} voters can be reached and {} are needed; missing: {}",
        voters.len(),
        majority(voters.len()),
        missing.join(", ")
    ))
}

/// The voters of the configuration that was last seen.
fn last_voters(observed: &Observed, planned: &Planned<'_>) -> Vec<String> {
    if let Some(config) = view::last_config(observed, &planned.identity.cluster_id) {
        let voters = config.members.iter().filter(|m| view::suffrage(m.suffrage) == MemberSuffrage::Voter);
        return voters.map(|member| member.id.clone()).collect();
    }
    let members = observed.cluster.status.iter().flat_map(|status| &status.members);
    members.filter(|m| m.suffrage == Some(MemberSuffrage::Voter)).map(|m| m.name.clone()).collect()
}

fn going(observed: &Observed, planned: &Planned<'_>) -> Verdict {
    let cluster = observed.cluster.name_any();
    if observed.cluster.spec.paused {
        return verdict(false, "Paused", "spec.paused is true: nothing is changed");
    }
    let held_up = |message: String| match &planned.held_up {
        Some(why) => format!("{message}: {}", why.message),
        None => message,
    };
    match planned.step {
        Step::Done => verdict(false, "Settled", "everything that the spec asks for is there"),
        Step::Act(action) => verdict(true, progress(action), held_up(action.sentence(&cluster))),
        Step::Wait(waiting) => {
            let (reason, message) = words(waiting, &cluster);
            verdict(!is_blocked(waiting), reason, message)
        }
    }
}

/// Whether only a person can get it going again.
fn is_blocked(waiting: &Waiting) -> bool {
    matches!(
        waiting,
        Waiting::Volumes(_) | Waiting::VolumeReplaced | Waiting::Foreign(..) | Waiting::DataGone
    )
}

/// A reason and a sentence for what is waited for.
fn words(waiting: &Waiting, cluster: &str) -> (&'static str, String) {
    match waiting {
        Waiting::BootstrapMember => {
            ("BootstrapMemberStarting", format!("{} does not answer yet", Slot::BOOTSTRAP.name(cluster)))
        }
        Waiting::Volumes(volumes) => (
            "VolumesExist",
            format!(
                "the cluster is not bootstrapped and has volumes already: {}; if nobody needs their data, delete \
                 them, else create the ConureCluster under another name",
                volumes.join(", ")
            ),
        ),
        Waiting::VolumeReplaced => (
            "BootstrapVolumeReplaced",
            "the volume on which bootstrapping was begun is gone, and whether it held data nobody knows; delete this \
             ConureCluster and its volumes and create it again"
                .to_owned(),
        ),
        Waiting::Foreign(slot, id) => {
            let pod = slot.name(cluster);
            let message = format!(
                "the volume of {pod} belongs to the cluster {id}; if nobody needs its data, kubectl delete pvc \
                 data-{pod} and pod {pod}"
            );
            ("ForeignVolume", message)
        }
        Waiting::DataGone => (
            "DataGone",
            "the cluster was bootstrapped before, and the volumes of all its members are empty now; it is not begun \
             again by itself: restore a backup, or delete this ConureCluster and its volumes and create it again"
                .to_owned(),
        ),
        Waiting::Leader => ("NoLeader", "no member leads; membership changes wait for one".to_owned()),
        Waiting::Joining(slots) => {
            ("MembersStarting", format!("{} must answer before they can join", names(slots, cluster)))
        }
        Waiting::QuorumBeforeRemoval(slot) => (
            "RemovalWouldLoseQuorum",
            format!("{} is not removed while too few of the other voters are up", slot.name(cluster)),
        ),
        Waiting::Revisions => {
            ("RollingOut", "the StatefulSets' controller has not seen the present template yet".to_owned())
        }
        Waiting::Rollout(members) => {
            ("RollingOut", format!("{} must be ready and caught up before the next pod goes", members.join(", ")))
        }
        Waiting::Ready(members) => ("MembersNotReady", format!("{} not ready or not caught up", members.join(", "))),
    }
}

fn names(slots: &[Slot], cluster: &str) -> String {
    slots.iter().map(|slot| slot.name(cluster)).collect::<Vec<_>>().join(", ")
}

fn degraded(observed: &Observed, planned: &Planned<'_>, quorum: &Quorum, now: &Time) -> Verdict {
    let cluster = observed.cluster.name_any();
    if let Step::Wait(waiting) = planned.step
        && is_blocked(waiting)
    {
        let (reason, message) = words(waiting, &cluster);
        return verdict(true, reason, message);
    }
    // A pod waits for its volume at first, and nothing is wrong with that.
    let passes = |trouble: &&Trouble| {
        trouble.reason != UNSCHEDULABLE || !is_younger(observed, &trouble.object, SCHEDULING_SECONDS, now)
    };
    let troubles: Vec<&Trouble> = observed.troubles.iter().filter(passes).collect();
    if let Some(first) = troubles.first() {
        let all: Vec<&str> = troubles.iter().map(|trouble| trouble.message.as_str()).take(3).collect();
        return verdict(true, first.reason, all.join(" · "));
    }
    if let Quorum::Lost(message) = quorum {
        return verdict(true, "QuorumLost", message);
    }
    if let Some(why) = planned.held_up.as_ref().filter(|why| why.wrong) {
        return verdict(true, why.reason, &why.message);
    }
    let world = planned.world;
    let voters = world.config.iter().flat_map(|config| config.voters());
    let down: Vec<&str> = voters
        .filter(|entry| !world.lives(entry) && !is_younger(observed, &entry.name, STARTING_SECONDS, now))
        .map(|entry| entry.name.as_str())
        .collect();
    if !down.is_empty() {
        return verdict(true, "MembersDown", format!("{} cannot be reached", down.join(", ")));
    }
    if let Some(message) = volume_mismatch(observed) {
        return verdict(true, "VolumeSizeDiffers", message);
    }
    verdict(false, "AsExpected", "nothing is wrong")
}

/// Whether the pod is being replaced: about to be gone, gone just now, or there for less than so many seconds.
fn is_younger(observed: &Observed, pod: &str, seconds: i64, now: &Time) -> bool {
    let recent = |then: &Time| now.0.as_second() - then.0.as_second() < seconds;
    let Some(pod) = observed.pods.get(pod) else {
        let conditions = observed.cluster.status.iter().flat_map(|status| &status.conditions);
        let mut ready = conditions.filter(|condition| condition.type_ == READY);
        return ready.any(|ready| ready.status == "True" || recent(&ready.last_transition_time));
    };
    // A pod's deletion timestamp is when its grace ends.
    match &pod.metadata.deletion_timestamp {
        Some(end) => recent(end),
        None => pod.metadata.creation_timestamp.as_ref().is_some_and(recent),
    }
}

/// A StatefulSet's claims never change, so a larger size in the spec is not reached.
fn volume_mismatch(observed: &Observed) -> Option<String> {
    use conure_crd::names::Component;
    let spec = &observed.cluster.spec;
    view::claims(observed).into_iter().find_map(|(component, claim)| {
        let wanted = if component == Component::Arbiter { &spec.arbiter.pvc.size } else { &spec.voters.pvc.size };
        (claim.size != *wanted).then(|| {
            format!(
                "the volumes of StatefulSet {} are {} and the spec asks for {}; this version does not grow volumes",
                component.stateful_set(&observed.cluster.name_any()),
                claim.size.0,
                wanted.0
            )
        })
    })
}

fn ready(planned: &Planned<'_>, going: &Verdict, degraded: &Verdict) -> Verdict {
    let failed = planned.held_up.as_ref().is_some_and(|why| why.wrong);
    if *planned.step == Step::Done && planned.world.revisions_known && !failed {
        return verdict(true, "Ready", "the spec is fully reached");
    }
    // What is wrong says more than what is being done about it.
    let why = if degraded.holds == Some(true) { degraded } else { going };
    verdict(false, &why.reason, &why.message)
}

/// The conditions with their times: a transition only where the status changed.
pub(super) fn merge(
    before: &[Condition],
    verdicts: [Verdict; 5],
    generation: Option<i64>,
    now: Time,
) -> Vec<Condition> {
    ALL.iter()
        .zip(verdicts)
        .map(|(type_, verdict)| {
            let status = match verdict.holds {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let same = before.iter().find(|old| old.type_ == *type_ && old.status == status);
            Condition {
                type_: (*type_).to_owned(),
                status: status.to_owned(),
                reason: verdict.reason,
                message: verdict.message,
                observed_generation: generation,
                last_transition_time: same
                    .map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
            }
        })
        .collect()
}

/// Which changes are worth an event: Ready and Available reached, and every new cause of trouble.
pub(super) fn notes(before: &[Condition], after: &[Condition]) -> Vec<Note> {
    let mut notes = Vec::new();
    for new in after {
        let old = before.iter().find(|old| old.type_ == new.type_);
        let became = |status: &str| new.status == status && old.is_none_or(|old| old.status != status);
        let other_reason = old.is_none_or(|old| old.reason != new.reason);
        let note = |warning, reason: &str| {
            // The message begins with the pod that it is about, where it is about one.
            let about = new.message.split([' ', ':', ',']).next().filter(|word| word.contains('-'));
            let about = about.map(|name| ("Pod", name.to_owned()));
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
            PROGRESSING if new.reason == "RemovalWouldLoseQuorum" && other_reason => {
                notes.push(note(true, &new.reason));
            }
            _ => {}
        }
    }
    notes
}
