//! The five conditions: always all there, each with a reason that says what is the matter.

use conure_crd::condition::{AVAILABLE, READY};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use super::super::observe::{Observed, Trouble, UNSCHEDULABLE, secret_trouble};
use super::super::plan::{Pod, Slot, Step, majority};
use super::super::{recovery, view};
use super::waiting::{SUSPENDED, is_blocked, words};
use super::{Objects, Pass, Planned, progress, volumes};

/// How long a new pod may take to be scheduled before that counts as trouble.
const SCHEDULING_SECONDS: i64 = 20;
/// How long a new pod may take to answer before its member counts as down.
const STARTING_SECONDS: i64 = 60;
/// How long an arbiter may lead, with no writes served, before that is a lost quorum: it hands over within moments
/// wherever a data member has what it has.
const HANDING_OVER_SECONDS: i64 = 15;

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

/// The conditions in the order of [`conure_crd::condition::ALL`].
pub(super) fn judge(observed: &Observed, pass: &Pass<'_>, now: &Time) -> [Verdict; 5] {
    match pass {
        // Nothing is judged in such a pass.
        Pass::Chosen(_) => std::array::from_fn(|_| Verdict {
            holds: None,
            reason: "Reconciling".to_owned(),
            message: String::new(),
        }),
        Pass::Named(id) | Pass::TakenOver(id) => std::array::from_fn(|_| Verdict {
            holds: None,
            reason: "Reconciling".to_owned(),
            message: format!("the cluster has the id {id}; its objects come next"),
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
            let quorum = quorum(observed, planned, now);
            let going = going(observed, planned);
            let available = match &quorum {
                Quorum::Serves(message) => verdict(true, "QuorumServes", message),
                Quorum::Electing(message) => verdict(false, "NoLeader", message),
                Quorum::Lost(message) => verdict(false, "QuorumLost", message),
                Quorum::Suspended => verdict(false, "Suspended", SUSPENDED),
                Quorum::Unborn => {
                    verdict(false, "NotBootstrapped", "the first member is not bootstrapped yet")
                }
            };
            let lost = match &quorum {
                Quorum::Lost(message) => verdict(true, "QuorumLost", message),
                Quorum::Suspended => verdict(false, "Suspended", SUSPENDED),
                Quorum::Unborn => verdict(false, "NotBootstrapped", "there is no quorum to lose yet"),
                _ => verdict(false, "QuorumPresent", "a quorum of voters is up"),
            };
            let degraded = degraded(observed, planned, &quorum, now);
            [ready(observed, planned, &going, &degraded), available, going, degraded, lost]
        }
    }
}

enum Quorum {
    Suspended,
    Serves(String),
    Electing(String),
    Lost(String),
    Unborn,
}

fn quorum(observed: &Observed, planned: &Planned<'_>, now: &Time) -> Quorum {
    let world = planned.world;
    if world.suspended {
        return Quorum::Suspended;
    }
    if !world.born {
        return Quorum::Unborn;
    }
    let cluster = observed.cluster.name_any();
    let lives = |name: &str| {
        Slot::parse(&cluster, name).and_then(|slot| world.pods.get(&slot)).is_some_and(Pod::lives)
    };
    let voters: Vec<String> = match &world.config {
        Some(config) => config.voters().map(|entry| entry.name.clone()).collect(),
        None => view::last_voters(observed, &planned.identity.cluster_id),
    };
    let missing: Vec<&str> = voters.iter().map(String::as_str).filter(|name| !lives(name)).collect();
    let live = voters.len() - missing.len();
    if live >= majority(voters.len()) {
        return match &world.config {
            Some(config) if config.arbiter_leads() => arbiter_leads(observed, &config.leader, &missing, now),
            Some(config) => {
                Quorum::Serves(format!("{live} of {} voters are up, {} leads", voters.len(), config.leader))
            }
            None => Quorum::Electing("a quorum is up and elects a leader".to_owned()),
        };
    }
    let advice = recovery::advice(observed, planned.identity).map(|advice| format!("; {advice}"));
    Quorum::Lost(format!(
        "{live} of {} voters can be reached and {} are needed; missing: {}{}",
        voters.len(),
        majority(voters.len()),
        missing.join(", "),
        advice.unwrap_or_default()
    ))
}

/// An arbiter serves nobody. It hands over at once, unless no data member that is up has all that it acknowledged.
fn arbiter_leads(observed: &Observed, arbiter: &str, missing: &[&str], now: &Time) -> Quorum {
    let conditions = observed.cluster.status.iter().flat_map(|status| &status.conditions);
    let mut lasting = conditions
        .filter(|condition| condition.type_ == AVAILABLE && condition.status == "False")
        .map(|condition| now.0.as_second() - condition.last_transition_time.0.as_second());
    if lasting.next().is_none_or(|seconds| seconds < HANDING_OVER_SECONDS) {
        return Quorum::Electing(format!("{arbiter} leads for a moment and hands over to a data member"));
    }
    let missing = if missing.is_empty() { "none".to_owned() } else { missing.join(", ") };
    Quorum::Lost(format!(
        "{arbiter} leads, which holds no data, and no data member that is up has everything that was acknowledged; \
         bring the missing members back with their volumes; missing: {missing}"
    ))
}

fn going(observed: &Observed, planned: &Planned<'_>) -> Verdict {
    let cluster = observed.cluster.name_any();
    if let Objects::Failed(why) = &planned.objects {
        return verdict(true, why.reason, &why.message);
    }
    if observed.cluster.spec.paused {
        return verdict(false, "Paused", paused(planned, &cluster));
    }
    let held_up = |message: String| match &planned.held_up {
        Some(why) => format!("{message}: {}", why.message),
        None => message,
    };
    match planned.step {
        Step::Done => match (&planned.unmet, volumes::growing(observed, planned.world)) {
            (Some(why), _) => verdict(!why.wrong, why.reason, &why.message),
            (None, Some(message)) => verdict(true, "VolumesGrowing", message),
            (None, None) => verdict(false, "Settled", "there is nothing left to change"),
        },
        Step::Act(action) => verdict(true, progress(action), held_up(action.sentence(&cluster))),
        Step::Record(slot) => {
            let message = format!(
                "{} starts over on a new volume as soon as it is on record that its data is damaged",
                slot.name(&cluster)
            );
            verdict(true, "MemberReplacing", message)
        }
        Step::Wait(waiting) => {
            let (reason, message) = words(waiting, &cluster);
            verdict(!is_blocked(waiting), reason, message)
        }
    }
}

/// What would be changed, were it not for the pause.
fn paused(planned: &Planned<'_>, cluster: &str) -> String {
    let mut message = "spec.paused is true: nothing is changed".to_owned();
    if let Objects::Left(missing) = &planned.objects {
        message += &format!("; not as the spec asks: {}", missing.join(", "));
    }
    if let Step::Act(action) = planned.step {
        message += &format!("; not done: {}", action.sentence(cluster));
    }
    message
}

fn degraded(observed: &Observed, planned: &Planned<'_>, quorum: &Quorum, now: &Time) -> Verdict {
    let cluster = observed.cluster.name_any();
    if planned.world.suspended {
        return verdict(false, "Suspended", SUSPENDED);
    }
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
    let failed = match &planned.objects {
        Objects::Failed(why) => Some(why),
        Objects::AsAsked | Objects::Left(_) => planned.held_up.as_ref(),
    };
    if let Some(why) = failed.filter(|why| why.wrong) {
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
    let silent = silent(observed, planned, now);
    if !silent.is_empty() {
        let message = format!(
            "{} run and do not answer; see their logs, and that {} is an image of the server",
            silent.join(", "),
            planned.image
        );
        return verdict(true, "MembersSilent", message);
    }
    if let Some(why) = planned.unmet.as_ref().filter(|why| why.wrong) {
        return verdict(true, why.reason, &why.message);
    }
    verdict(false, "AsExpected", "nothing is wrong")
}

/// Pods that run for long under names that are no voters' yet, and whose member does not answer.
fn silent(observed: &Observed, planned: &Planned<'_>, now: &Time) -> Vec<String> {
    let world = planned.world;
    let votes = |slot: Slot| world.config.as_ref().is_some_and(|config| config.votes(slot));
    let cluster = observed.cluster.name_any();
    let running = |name: &str| {
        let status = observed.pods.get(name).and_then(|pod| pod.status.as_ref());
        status.and_then(|status| status.phase.as_deref()) == Some("Running")
    };
    let pods = world.pods.iter().filter(|(slot, pod)| pod.answer.is_none() && !votes(**slot));
    let names = pods.map(|(slot, _)| slot.name(&cluster));
    names.filter(|name| running(name) && !is_younger(observed, name, STARTING_SECONDS, now)).collect()
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

/// Ready says that the spec of this generation is reached: no step is left, every object is as it asks, and nothing of
/// it is beyond this operator.
fn ready(observed: &Observed, planned: &Planned<'_>, going: &Verdict, degraded: &Verdict) -> Verdict {
    let reached = *planned.step == Step::Done
        && planned.world.revisions_known
        && planned.objects == Objects::AsAsked
        && planned.held_up.is_none()
        && planned.unmet.is_none()
        && volumes::growing(observed, planned.world).is_none()
        && secret_trouble(observed).is_none();
    if reached {
        let idle = view::idle_arbiter(&observed.cluster).map(|why| format!("; {why}")).unwrap_or_default();
        return verdict(true, "Ready", format!("the spec is fully reached{idle}"));
    }
    // What is wrong says more than what is being done about it.
    let why = if degraded.holds == Some(true) { degraded } else { going };
    verdict(false, &why.reason, &why.message)
}

/// The conditions with their times: a transition only where the status changed.
pub(super) fn merge<const N: usize>(
    before: &[Condition],
    types: &[&str; N],
    verdicts: [Verdict; N],
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    types
        .iter()
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
