//! What happens where a life begins or ends halfway.

mod agreed;
mod bounds;
mod membership;
mod snapshots;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conure_client::api::Role;
use tempfile::TempDir;

use super::core::Core;
use super::start::start;
use crate::facade::{Consistency, MemberConfig, Refusal, Tuning};
use crate::identity::{Identity, State};
use crate::raft::types::Command;
use crate::transport::message::{Failure, Response};

pub(super) fn config(dir: &TempDir, bootstrap: bool) -> MemberConfig {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    MemberConfig {
        node_id: "node1".into(),
        data_dir: dir.path().to_owned(),
        raft_addr: addr.clone(),
        raft_advertise_addr: addr,
        http_advertise_addr: "node1:8081".into(),
        bootstrap,
        barrier_timeout: Duration::from_secs(5),
        role: Role::Data,
        cluster_id: None,
        tuning: Tuning::default(),
    }
}

pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect(what);
}

pub(super) async fn leading(dir: &TempDir) -> Arc<Core> {
    let core = start(config(dir, true)).await.unwrap();
    until("it leads", || core.leading().is_ok()).await;
    core
}

fn refused_for_data(response: &Response) -> bool {
    matches!(response, Response::Failed(Failure::Conflict { kind, .. }) if kind == "foreign-cluster")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_holds_through_a_crash_between_its_entry_and_the_identity() {
    let dir = tempfile::tempdir().unwrap();
    let core = leading(&dir).await;
    let release = Command::Release { by: "other".into() };
    // Only the entry: the process dies before anything else.
    core.node().unwrap().raft.client_write(release).await.unwrap();
    core.halt().await;
    for _ in 0..2 {
        let again = start(config(&dir, true)).await.unwrap();
        until("it let go", || again.identity().state == State::Released).await;
        until("it serves nobody", || matches!(again.node(), Err(Refusal::NotInCluster(_)))).await;
        again.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_data_or_a_change_under_way_is_not_released() {
    let dir = tempfile::tempdir().unwrap();
    let core = leading(&dir).await;
    let changing = core.change.lock().await;
    assert!(refused_for_data(&core.release("other").await));
    drop(changing);
    core.put(Bytes::from_static(b"key"), Bytes::from_static(b"value")).await.unwrap();
    assert!(refused_for_data(&core.release("other").await));
    assert!(refused_for_data(&core.adopt("other", 1, "node1").await));
    let read = core.get(b"key", Consistency::Linearizable).await.unwrap();
    assert_eq!(read.found.unwrap().value, Bytes::from_static(b"value"));
    core.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_member_is_adopted_under_a_new_node_id() {
    let dir = tempfile::tempdir().unwrap();
    let core = leading(&dir).await;
    let before = core.identity();
    assert!(matches!(core.release("other").await, Response::Released));
    assert!(matches!(core.release("other").await, Response::Released));
    let Response::Adopted { node_id } = core.adopt("other", 7, "node1").await else {
        panic!("it was not adopted");
    };
    let after = core.identity();
    assert_ne!(node_id, before.node_id);
    assert_eq!((after.node_id, after.cluster_id.as_str(), after.incarnation), (node_id, "other", 7));
    assert_eq!(
        core.node().unwrap().log.wal().unwrap().last_index(),
        None,
        "nothing of the earlier life is left"
    );
    core.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founding_that_was_broken_off_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut identity = Identity::fresh("node1", Role::Data);
    identity.state = State::Founding;
    identity.cluster_id = "c1".into();
    identity.incarnation = 1;
    identity.store(dir.path()).unwrap();
    let core = start(config(&dir, false)).await.unwrap();
    until("it leads", || core.leading().is_ok()).await;
    assert_eq!((core.identity().state, core.identity().cluster_id.as_str()), (State::Member, "c1"));
    core.shutdown().await;
}
