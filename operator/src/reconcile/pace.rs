//! When to look again, where nothing that is watched would tell: members are not objects of the API server.

use std::time::Duration;

use conure_crd::{ConureCluster, condition};
use k8s_openapi::jiff::Timestamp;

use super::plan::{Step, Waiting};
use super::validate::Refusal;

/// After a change: the next one may be due.
pub(super) const AT_ONCE: Duration = Duration::from_millis(50);
/// While something is on its way.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// While all is well, or only a person can change something.
const IDLE: Duration = Duration::from_secs(10);
/// Where only a person can change something, and nobody has for long.
const LONG: Duration = Duration::from_mins(5);

/// What a person mends is mostly watched; objects of others are not. A refused cluster is looked at less often the longer it is.
pub(super) fn refused(refusal: &Refusal, cluster: &ConureCluster) -> Duration {
    match refusal {
        Refusal::OldObjectsLeaving(_) => SOON,
        // No resource gets another name.
        Refusal::Name(..) => LONG,
        _ => (lasting(cluster) / 20).clamp(IDLE, LONG),
    }
}

/// What waits is looked at often while that is new, and ever less often while it lasts.
pub(super) fn of(step: &Step, cluster: &ConureCluster) -> Duration {
    match step {
        Step::Done | Step::Act(_) => IDLE,
        Step::Record(_) => SOON,
        // No member is there that could answer otherwise.
        Step::Wait(Waiting::Suspended | Waiting::Volumes(_) | Waiting::VolumeReplaced) => {
            (lasting(cluster) / 20).clamp(IDLE, LONG)
        }
        Step::Wait(Waiting::Foreign(..) | Waiting::LeftBehind(_) | Waiting::DataGone) => IDLE,
        Step::Wait(_) => (lasting(cluster) / 20).clamp(SOON / 4, IDLE),
    }
}

/// How long the cluster has not been ready.
fn lasting(cluster: &ConureCluster) -> Duration {
    let conditions = cluster.status.iter().flat_map(|status| &status.conditions);
    let since = conditions
        .filter(|condition| condition.type_ == condition::READY)
        .map(|condition| condition.last_transition_time.0)
        .next();
    let seconds = since.map_or(0, |since| Timestamp::now().as_second() - since.as_second());
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A cluster that has not been ready for so many seconds.
    fn unready(seconds: i64) -> ConureCluster {
        let mut cluster = ConureCluster::new("conure", Default::default());
        let since = Timestamp::from_second(Timestamp::now().as_second() - seconds).unwrap();
        let ready = json!({"type": "Ready", "status": "False", "reason": "R", "message": "", "lastTransitionTime": since});
        cluster.status = Some(serde_json::from_value(json!({"conditions": [ready]})).unwrap());
        cluster
    }

    #[test]
    fn a_refused_cluster_costs_less_the_longer_nobody_mends_it() {
        let others = Refusal::ObjectsNotOurs(vec!["Service conure".into()]);
        let paces = [0, 60, 600, 3_600, 86_400].map(|since| refused(&others, &unready(since)).as_secs());
        assert_eq!(paces, [10, 10, 30, 180, 300]);
        let leaving = Refusal::OldObjectsLeaving(vec!["Service conure".into()]);
        assert_eq!(refused(&leaving, &unready(86_400)), SOON);
        assert_eq!(refused(&Refusal::Name("a-peers".into(), String::new()), &unready(0)), LONG);
    }

    #[test]
    fn a_suspended_cluster_is_hardly_looked_at_and_one_whose_members_run_still_is() {
        let pace = |waiting, since| of(&Step::Wait(waiting), &unready(since)).as_secs();
        assert_eq!(pace(Waiting::Suspended, 0), 10);
        assert_eq!(pace(Waiting::Suspended, 86_400), 300);
        let foreign = || Waiting::Foreign(super::super::plan::Slot::BOOTSTRAP, "other".into());
        assert_eq!(pace(foreign(), 86_400), 10);
        assert_eq!(pace(Waiting::Leader, 86_400), 10);
    }
}
