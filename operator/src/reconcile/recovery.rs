//! Whether the cluster goes on with one of its members after its quorum was lost: what is asked for, against what there is.
//! Pure.
//!
//! **Invariant:** a request does nothing unless it names the cluster and its present incarnation, and never while a quorum
//! could be there; the member is in the status before anything is done with it.

use conure_crd::{Recovery, RecoveryStatus};
use kube::ResourceExt;

use super::build::Identity;
use super::observe::{MemberAnswer, Observed};
use super::plan::{Slot, majority};
use super::view;

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    /// Nobody asks, and none was made.
    None,
    /// The request does nothing. The reason, and why with the mend.
    Inert(&'static str, String),
    /// The request is good and has to be put on record.
    Accepted(RecoveryStatus),
    /// The member on record is to go on.
    UnderWay(RecoveryStatus),
    /// It went on.
    Done(RecoveryStatus),
}

/// How the recovery stands.
pub fn stand(observed: &Observed, identity: &Identity) -> Stand {
    let status = observed.cluster.status.clone().unwrap_or_default();
    let present = view::incarnation(observed, &identity.cluster_id).unwrap_or(0);
    let led = view::leader(observed, &identity.cluster_id).is_some();
    let asked = observed.cluster.spec.recovery.as_ref();
    match (status.recovery, asked) {
        (Some(record), asked) if record.incarnation >= present => {
            let other = asked.filter(|asked| {
                asked.incarnation == record.incarnation && asked.member_name != record.member_name
            });
            match other {
                // Somebody has to know that the other member is not what goes on.
                Some(other) => Stand::Inert(
                    "RecoveryUnderWay",
                    format!(
                        "{} was chosen before and may have gone on already: set spec.recovery.memberName from {} back to it",
                        record.member_name, other.member_name
                    ),
                ),
                // A quorum that came back at the last moment needs no recovery, and would be left behind by one.
                None if led => Stand::Inert(
                    "QuorumPresent",
                    format!(
                        "a leader is back, so {} does not go on alone: remove spec.recovery",
                        record.member_name
                    ),
                ),
                None => Stand::UnderWay(record),
            }
        }
        (Some(record), Some(asked)) if asked.incarnation == record.incarnation => Stand::Done(record),
        (record, Some(asked)) => match judge(observed, identity, asked, present, led) {
            Ok(accepted) => Stand::Accepted(accepted),
            Err((reason, why)) => match record {
                Some(record) if reason == "IncarnationDiffers" && asked.incarnation < present => {
                    Stand::Done(record)
                }
                _ => Stand::Inert(reason, why),
            },
        },
        (Some(record), None) => Stand::Done(record),
        (None, None) => Stand::None,
    }
}

fn judge(
    observed: &Observed,
    identity: &Identity,
    asked: &Recovery,
    present: i64,
    led: bool,
) -> Result<RecoveryStatus, (&'static str, String)> {
    let cluster_id = &identity.cluster_id;
    if asked.cluster_id != *cluster_id {
        let why = format!("spec.recovery names the cluster {}, and this is {cluster_id}", asked.cluster_id);
        return Err(("ClusterIDDiffers", why));
    }
    if asked.incarnation != present {
        let why = format!(
            "spec.recovery names incarnation {}, and the cluster is at {present}: set spec.recovery.incarnation to that to \
             recover it, or remove spec.recovery",
            asked.incarnation
        );
        return Err(("IncarnationDiffers", why));
    }
    let voters = view::last_voters(observed, cluster_id);
    let lives =
        |name: &String| observed.answers.get(name).is_some_and(|answer| belongs(answer, cluster_id, present));
    let live: Vec<&String> = voters.iter().filter(|name| lives(name)).collect();
    if led || voters.is_empty() || live.len() >= majority(voters.len()) {
        let why = format!(
            "{} of {} voters can be reached, which is a quorum or may become one: remove spec.recovery",
            live.len(),
            voters.len()
        );
        return Err(("QuorumPresent", why));
    }
    let cluster = observed.cluster.name_any();
    let holds_data = |name: &str| Slot::parse(&cluster, name).is_some_and(Slot::holds_data);
    let position = |name: &str| observed.answers.get(name).and_then(|answer| answer.last_log);
    let reachable = observed
        .answers
        .iter()
        .filter(|(name, answer)| holds_data(name) && belongs(answer, cluster_id, present));
    let best = reachable.filter_map(|(name, answer)| Some((answer.last_log?, name))).max();
    let Some((most, best)) = best else {
        return Err((
            "NoMemberReachable",
            "no data member of the cluster can be reached: restore a backup".to_owned(),
        ));
    };
    let others = |survivor| {
        let same = |(name, answer): &(&String, &MemberAnswer)| {
            **name != asked.member_name
                && belongs(answer, cluster_id, present)
                && answer.last_log.is_some_and(|own| own <= survivor)
        };
        observed.answers.iter().filter(same).map(|(name, _)| name.clone()).collect()
    };
    let position =
        position(&asked.member_name).filter(|_| holds_data(&asked.member_name) && lives(&asked.member_name));
    match position {
        Some(position) if position == most => Ok(RecoveryStatus {
            member_name: asked.member_name.clone(),
            incarnation: present,
            last_log_term: i64::try_from(position.0).unwrap_or(i64::MAX),
            last_log_index: i64::try_from(position.1).unwrap_or(i64::MAX),
            held_no_more: others(position),
        }),
        Some(position) => Err((
            "OtherMemberHoldsMore",
            format!(
                "{} holds the log up to term {}, index {}, and {best} up to term {}, index {}: set spec.recovery.memberName to \
                 {best}",
                asked.member_name, position.0, position.1, most.0, most.1
            ),
        )),
        None => Err((
            "MemberNotReachable",
            format!(
                "{} is no data member that can be reached: set spec.recovery.memberName to {best}, which holds the most of \
                 those that can",
                asked.member_name
            ),
        )),
    }
}

fn belongs(answer: &MemberAnswer, cluster_id: &str, present: i64) -> bool {
    answer.status.cluster_id == cluster_id && i64::try_from(answer.status.incarnation) == Ok(present)
}

/// What a request would have to say, for whoever reads that the quorum is lost.
pub fn advice(observed: &Observed, identity: &Identity) -> Option<String> {
    let cluster = observed.cluster.name_any();
    let present = view::incarnation(observed, &identity.cluster_id)?;
    let able = observed.answers.iter().filter(|(name, answer)| {
        Slot::parse(&cluster, name).is_some_and(Slot::holds_data)
            && belongs(answer, &identity.cluster_id, present)
    });
    let (_, best) = able.filter_map(|(name, answer)| Some((answer.last_log?, name))).max()?;
    Some(format!(
        "if they never come back, spec.recovery {{memberName: {best}, clusterID: {}, incarnation: {present}}} goes on with \
         {best} alone",
        identity.cluster_id
    ))
}

#[cfg(test)]
mod tests;
