//! Where the other members are, while no leader is found: all of them may have moved.

use std::time::Duration;

use conure_client::api::Status;
use conure_member::Member;

use super::ask::look;
use crate::config::Join;

/// Between two looks at the listed servers.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells the member where the listed servers say that they are dialled, as long as it knows no leader.
pub async fn members(join: Join, member: Member) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let own = member.status();
        if !own.leader.is_empty() || own.cluster_id.is_empty() {
            continue;
        }
        for seen in look(&join.servers, false).await {
            if let Ok((status, _)) = &seen.answer
                && is_of(&own, status)
            {
                member.hint_address(&status.node_id, &status.raft_addr);
            }
        }
    }
}

/// Whether `other` is another member of the same cluster, and says where it is.
fn is_of(own: &Status, other: &Status) -> bool {
    other.cluster_id == own.cluster_id
        && other.incarnation == own.incarnation
        && other.node_id != own.node_id
        && !other.raft_addr.is_empty()
}
