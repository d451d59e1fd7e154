//! What happens where a life begins or ends halfway.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conure_client::api::Role;
use tempfile::TempDir;

use super::core::Core;
use super::host::{HostCore, Session};
use super::start::start;
use crate::facade::{Consistency, MemberConfig, Refusal, Tuning};
use crate::identity::{Identity, State};
use crate::raft::intake::Intake;
use crate::raft::records;
use crate::raft::types::Command;
use crate::transport::message::{Failure, Response};
use crate::transport::server::Host as _;

fn config(dir: &TempDir, bootstrap: bool) -> MemberConfig {
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

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect(what);
}

async fn leading(dir: &TempDir) -> Arc<Core> {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_snapshot_leaves_the_state_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let core = leading(&dir).await;
    core.put(Bytes::from_static(b"key"), Bytes::from_static(b"value")).await.unwrap();
    let store = Arc::clone(&core.node().unwrap().store);
    let mut intake = Intake::create(store.disk()).unwrap();
    let view = store.view().unwrap();
    records::send_all(&view.read, true, |chunk| intake.push(&chunk[..chunk.len() - 1])).unwrap();
    assert!(intake.finish().is_err(), "a record is cut");
    drop((view, store));
    core.halt().await;
    let again = start(config(&dir, false)).await.unwrap();
    until("it leads", || again.leading().is_ok()).await;
    assert!(again.get(b"key", Consistency::Linearizable).await.unwrap().found.is_some());
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_member_refuses_a_snapshot_without_data_or_of_an_older_leader() {
    let dir = tempfile::tempdir().unwrap();
    let core = leading(&dir).await;
    let node = core.node().unwrap();
    let (vote, meta) = (node.metrics().vote, node.store.applied().snapshot_meta());
    let host = HostCore(Arc::clone(&core));
    let session = Session::Cluster(Arc::clone(&node));
    assert!(host.begin_snapshot(&session, vote, meta.clone(), false, None).is_err());
    let old = crate::raft::types::Vote::new(0, 1);
    let answer = host.begin_snapshot(&session, old, meta, true, None).unwrap_err();
    assert!(matches!(*answer, Response::Snapshot(newer) if newer.vote == vote));
    drop((node, session));
    core.shutdown().await;
}

/// The chunks of what `core` holds, and what they are a snapshot of.
fn snapshot_of(core: &Core) -> (crate::raft::types::SnapshotMeta, Vec<Bytes>) {
    let view = core.node().unwrap().store.view().unwrap();
    let mut chunks = Vec::new();
    let collect = |chunk| {
        chunks.push(chunk);
        Ok(())
    };
    records::send_all(&view.read, true, collect).unwrap();
    (view.applied.snapshot_meta(), chunks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_another_cluster_or_with_changed_bytes_is_not_installed() {
    let (dir, foreign_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (core, foreign) = (leading(&dir).await, leading(&foreign_dir).await);
    core.put(Bytes::from_static(b"key"), Bytes::from_static(b"own")).await.unwrap();
    foreign.put(Bytes::from_static(b"key"), Bytes::from_static(b"foreign")).await.unwrap();
    let node = core.node().unwrap();
    let host = HostCore(Arc::clone(&core));
    let session = Session::Cluster(Arc::clone(&node));
    let send = async |of: &Core, change: fn(&mut Vec<Bytes>), crc_of_changed: bool| {
        let (meta, mut chunks) = snapshot_of(of);
        let sum = |chunks: &[Bytes]| {
            let crc = chunks.iter().fold(0, |crc, chunk| crc32c::crc32c_append(crc, chunk));
            (chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>(), crc)
        };
        let before = sum(&chunks);
        change(&mut chunks);
        let (len, crc) = if crc_of_changed { sum(&chunks) } else { before };
        let mut incoming = host.begin_snapshot(&session, node.metrics().vote, meta, true, None).unwrap();
        for chunk in chunks {
            incoming.push(chunk).await.unwrap();
        }
        host.finish_snapshot(&session, incoming, len, crc).await
    };
    let told = |response: Response| match response {
        Response::Failed(Failure::Other(text)) => text,
        other => panic!("{other:?}"),
    };
    let foreign_id = foreign.identity().cluster_id;
    assert!(told(send(&foreign, |_| {}, true).await).contains(&foreign_id));
    let flip = |chunks: &mut Vec<Bytes>| {
        let mut bytes = chunks[0].to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        chunks[0] = bytes.into();
    };
    assert!(told(send(&core, flip, false).await).contains("as it was sent"));
    let cut = |chunks: &mut Vec<Bytes>| chunks[0] = chunks[0].slice(..chunks[0].len() - 1);
    assert!(told(send(&core, cut, true).await).contains("inside a record"));
    assert!(told(send(&core, Vec::clear, true).await).contains("of cluster \"\""), "an empty one");
    let read = core.get(b"key", Consistency::Linearizable).await.unwrap();
    assert_eq!(read.found.unwrap().value, Bytes::from_static(b"own"));
    drop((node, session));
    core.shutdown().await;
    foreign.shutdown().await;
}

/// A view that is sent again is the very same, and is let go of once it arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_broke_off_is_parked_and_goes_on_with_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let core = leading(&dir).await;
    core.put(Bytes::from_static(b"key"), Bytes::from_static(b"own")).await.unwrap();
    let node = core.node().unwrap();
    let host = HostCore(Arc::clone(&core));
    let session = Session::Cluster(Arc::clone(&node));
    let (meta, chunks) = snapshot_of(&core);
    let begin = |id| host.begin_snapshot(&session, node.metrics().vote, meta.clone(), true, id);
    let mut incoming = begin(Some(7)).unwrap();
    incoming.push(chunks[0].clone()).await.unwrap();
    assert!(begin(Some(8)).is_err(), "two at once");
    host.park_snapshot(&session, incoming);
    let incoming = begin(Some(7)).unwrap();
    assert_eq!(incoming.received(), chunks[0].len() as u64);
    host.park_snapshot(&session, incoming);
    // Another one takes its place.
    let incoming = begin(Some(8)).unwrap();
    assert_eq!(incoming.received(), 0);
    // One that nothing came of yet, or that cannot be named, is not worth remembering.
    host.park_snapshot(&session, incoming);
    let incoming = begin(None).unwrap();
    assert_eq!(incoming.received(), 0);
    host.park_snapshot(&session, incoming);
    assert_eq!(begin(Some(8)).unwrap().received(), 0);

    let view = Arc::new(node.store.view().unwrap());
    view.shelf.keep(&view);
    assert_eq!(node.store.shelf.take().map(|kept| kept.id), Some(view.id));
    assert_eq!(node.store.shelf.take().map(|kept| kept.id), Some(view.id));
    node.store.shelf.forget(&view);
    assert!(node.store.shelf.take().is_none());
    drop((node, session, view));
    core.shutdown().await;
}
