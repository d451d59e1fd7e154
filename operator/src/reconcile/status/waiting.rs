//! What is waited for, in words.

use conure_crd::names::{selector_labels, volume_claim};

use super::super::observe::ask_to_replace;
use super::super::plan::{Cause, Slot, Waiting};

pub(super) const SUSPENDED: &str = "spec.suspend is true: there are no pods, and the volumes are kept";

/// Whether only a person can get it going again.
pub(super) fn is_blocked(waiting: &Waiting) -> bool {
    matches!(
        waiting,
        Waiting::Suspended
            | Waiting::Volumes(_)
            | Waiting::VolumeReplaced
            | Waiting::Foreign(..)
            | Waiting::LeftBehind(_)
            | Waiting::StrangeVolumes(_)
            | Waiting::DataGone
    )
}

/// A reason and a sentence for what is waited for.
pub(super) fn words(waiting: &Waiting, cluster: &str) -> (&'static str, String) {
    match waiting {
        Waiting::Suspended => ("Suspended", SUSPENDED.to_owned()),
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
        Waiting::Recovery(slot) => {
            ("Recovering", format!("{} restarts, and the cluster goes on with it alone", slot.name(cluster)))
        }
        Waiting::LeftBehind(slot) => {
            let pod = slot.name(cluster);
            let message = format!(
                "{pod} was left behind by the recovery and may hold changes that the cluster went on without; it is kept as it \
                 is: copy its data if somebody needs that, then {}",
                ask_to_replace(cluster, &pod)
            );
            ("MemberLeftBehind", message)
        }
        Waiting::Leader => ("NoLeader", "no member leads; membership changes wait for one".to_owned()),
        Waiting::DataLeader => {
            ("NoLeader", "the arbiter leads, and serves nobody until a data member does".to_owned())
        }
        Waiting::Joining(slots) => {
            ("MembersStarting", format!("{} must answer before they can join", names(slots, cluster)))
        }
        Waiting::QuorumBeforeRemoval(slot, down) => (
            "RemovalWouldLoseQuorum",
            format!(
                "{} is not removed while too few of the other voters are up; waits for {}",
                slot.name(cluster),
                down.join(", ")
            ),
        ),
        Waiting::OthersBeforeReplace(slot, cause, others) => others_first(*slot, *cause, &others.join(", "), cluster),
        Waiting::DamagedAgain(slot) => {
            let pod = slot.name(cluster);
            let message = format!(
                "{pod} started over less than a day ago as its data was damaged, and what it has now is damaged too: see to \
                 its node and its disk; it starts over again when that day is over, or at once when asked to: {}",
                ask_to_replace(cluster, &pod)
            );
            ("DamagedAgain", message)
        }
        Waiting::DamagedComers(slots) => {
            let asks: Vec<String> =
                slots.iter().map(|slot| ask_to_replace(cluster, &slot.name(cluster))).collect();
            let message = format!(
                "{} must join and its data is damaged; as it is no member yet, nobody can say whose data that is, and it is \
                 kept: copy it if somebody needs it, then {}",
                names(slots, cluster),
                asks.join("; ")
            );
            ("DamagedMemberKept", message)
        }
        Waiting::VolumesLeaving(slots) => (
            "OldVolumesLeaving",
            format!("{} come when the volumes from before under their names are gone", names(slots, cluster)),
        ),
        Waiting::StrangeVolumes(slots) => {
            let claims: Vec<String> =
                slots.iter().map(|slot| volume_claim(&slot.name(cluster))).collect();
            let claims = claims.join(" ");
            let labels: Vec<String> =
                selector_labels(cluster).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
            let message = format!(
                "{claims} would become the volumes of members to come and are not this cluster's: kubectl delete pvc {claims} if \
                 nobody needs their data; to have them used, kubectl label pvc {claims} {}",
                labels.join(" ")
            );
            ("VolumesNotOurs", message)
        }
        Waiting::PodsLeaving(slots) => (
            "Scaling",
            format!("the pods {} end, then their volumes are deleted", names(slots, cluster)),
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

/// Why a member is not replaced now.
fn others_first(slot: Slot, cause: Cause, others: &str, cluster: &str) -> (&'static str, String) {
    let pod = slot.name(cluster);
    if cause == Cause::Damaged {
        let message = format!(
            "{pod} has damaged data and is kept as it is; it starts over on a new volume once all others are ready and caught \
             up, and a quorum without it; waits for {others}"
        );
        return ("DamagedMemberKept", message);
    }
    let mut message = format!("{pod} starts over on a new volume once these are up: {others}");
    if cause == Cause::Asked {
        let claim = volume_claim(&pod);
        message += &format!("; to take the request back: kubectl annotate pvc {claim} conuredb.dev/replace-");
    }
    ("ReplaceWouldLoseQuorum", message)
}

fn names(slots: &[Slot], cluster: &str) -> String {
    slots.iter().map(|slot| slot.name(cluster)).collect::<Vec<_>>().join(", ")
}
