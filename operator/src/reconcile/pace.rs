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

pub(super) fn refused(refusal: &Refusal) -> Duration {
    match refusal {
        Refusal::OldObjectsLeaving(_) => SOON,
        _ => IDLE,
    }
}

/// What waits is looked at often while that is new, and ever less often while it lasts.
pub(super) fn of(step: &Step, cluster: &ConureCluster) -> Duration {
    match step {
        Step::Done | Step::Act(_) => IDLE,
        Step::Wait(
            Waiting::Suspended
            | Waiting::Volumes(_)
            | Waiting::VolumeReplaced
            | Waiting::Foreign(..)
            | Waiting::LeftBehind(_)
            | Waiting::DataGone,
        ) => IDLE,
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
