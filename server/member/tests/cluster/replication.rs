//! Writes, reads, failover, restarts.

use crate::harness::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_replicate() {
    let (_places, members) = three().await;
    for i in 0..20 {
        put(&[&members[0]], &format!("key{i}"), &format!("value{i}")).await;
    }
    for member in &members {
        for i in 0..20 {
            assert_eq!(get(member, &format!("key{i}")).await, Some(format!("value{i}")));
        }
    }
    assert_eq!(members[1].raft_config().members.len(), 3);
    stop_all(members).await;
}
