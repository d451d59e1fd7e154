//! Snapshots that come in: whole, cut, foreign, impossible, old.

use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::raft::AppendEntriesRequest;

use super::{config, leading, start, until};
use crate::facade::Consistency;
use crate::member::core::Core;
use crate::member::host::{HostCore, Session, held_by_all};
use crate::platform;
use crate::raft::intake::Intake;
use crate::raft::records;
use crate::raft::types::{Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig, Vote};
use crate::transport::message::{CHUNK_MAX, Failure, Request, Response};
use crate::transport::server::Host as _;

const KEY: &[u8] = b"key";

/// The leader that snapshots of these tests come from.
const SENDER: u64 = 99;

fn log_id(term: u64, index: u64) -> LogId {
    use openraft::vote::RaftLeaderId as _;
    type Id = openraft::alias::LeaderIdOf<TypeConfig>;
    LogId::new(Id::new(term, SENDER).to_committed(), index)
}

/// One member that leads its own cluster, and what others see of it.
struct Alone {
    dir: tempfile::TempDir,
    core: Arc<Core>,
    host: HostCore,
    session: Session,
    /// Of a later leader than the member itself.
    vote: Vote,
}

impl Alone {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let core = leading(&dir).await;
        core.put(KEY.into(), Bytes::from_static(b"own")).await.unwrap();
        let node = core.node().unwrap();
        let vote = Vote::new_committed(node.metrics().current_term + 1, SENDER);
        Self { dir, host: HostCore(Arc::clone(&core)), session: Session::Cluster(node), core, vote }
    }

    /// What it holds, under a name that promises news.
    fn news(&self) -> (SnapshotMeta, Vec<Bytes>) {
        let (mut meta, chunks) = snapshot_of(&self.core);
        let last = meta.last_log_id.unwrap();
        meta.last_log_id = Some(log_id(self.vote.leader_id.term, last.index() + 100));
        (meta, chunks)
    }

    async fn begin(
        &self,
        meta: &SnapshotMeta,
        id: Option<u64>,
    ) -> Result<crate::transport::incoming::Incoming, Box<Response>> {
        self.host.begin_snapshot(&self.session, self.vote, meta.clone(), true, id).await
    }

    /// The files that snapshots come into.
    fn incoming(&self) -> Vec<String> {
        let names = platform::directory(self.dir.path()).unwrap().list().unwrap();
        names.into_iter().filter(|name| name.starts_with("incoming")).collect()
    }

    fn refused(&self) -> u64 {
        self.core.stats()["port"]["snapshots_refused"].as_u64().unwrap()
    }

    async fn end(self) {
        until("no snapshot left a file", || self.incoming().is_empty()).await;
        let read = self.core.get(KEY, Consistency::Linearizable).await.unwrap();
        assert_eq!(read.found.unwrap().value, Bytes::from_static(b"own"));
        assert_eq!(self.core.stats()["port"]["snapshots_received"], 0);
        drop(self.session);
        self.core.shutdown().await;
    }
}

/// The chunks of what `core` holds, and what they are a snapshot of.
fn snapshot_of(core: &Core) -> (SnapshotMeta, Vec<Bytes>) {
    let view = core.node().unwrap().store.view().unwrap();
    let mut chunks = Vec::new();
    let collect = |chunk| {
        chunks.push(chunk);
        Ok(())
    };
    records::send_all(&view.read, true, collect).unwrap();
    (view.applied.snapshot_meta(), chunks)
}

fn sum(chunks: &[Bytes]) -> (u64, u32) {
    let crc = chunks.iter().fold(0, |crc, chunk| crc32c::crc32c_append(crc, chunk));
    (chunks.iter().map(|chunk| chunk.len() as u64).sum(), crc)
}

fn told(response: Response) -> String {
    match response {
        Response::Failed(Failure::Other(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_snapshot_leaves_the_state_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let core = leading(&dir).await;
    core.put(KEY.into(), Bytes::from_static(b"value")).await.unwrap();
    let store = Arc::clone(&core.node().unwrap().store);
    let mut intake = Intake::create(store.disk(), store.try_incoming().unwrap()).unwrap();
    let view = store.view().unwrap();
    records::send_all(&view.read, true, |chunk| intake.push(&chunk[..chunk.len() - 1])).unwrap();
    assert!(intake.finish().is_err(), "a record is cut");
    drop((view, store));
    core.halt().await;
    // What a crash in the midst of one leaves, of this version and of an older one.
    for left in ["incoming-0000000000000007.db", "incoming.db"] {
        std::fs::write(dir.path().join(left), b"half").unwrap();
    }
    let again = start(config(&dir, false)).await.unwrap();
    until("it leads", || again.leading().is_ok()).await;
    assert!(again.get(KEY, Consistency::Linearizable).await.unwrap().found.is_some());
    for left in ["incoming-0000000000000007.db", "incoming.db"] {
        assert!(!dir.path().join(left).exists(), "{left} is still there");
    }
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_member_refuses_a_snapshot_without_data_or_of_an_older_leader() {
    let alone = Alone::new().await;
    let (meta, _) = alone.news();
    assert!(alone.host.begin_snapshot(&alone.session, alone.vote, meta.clone(), false, None).await.is_err());
    let known = alone.core.node().unwrap().metrics().vote;
    let old = Vote::new(0, SENDER);
    let answer = alone.host.begin_snapshot(&alone.session, old, meta, true, None).await.unwrap_err();
    assert!(matches!(*answer, Response::Snapshot(newer) if newer.vote == known));
    alone.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_another_cluster_or_with_changed_bytes_or_another_end_is_not_installed() {
    let (alone, foreign) = (Alone::new().await, Alone::new().await);
    let send = async |of: &Alone, change: fn(&mut Vec<Bytes>), crc_of_changed: bool| {
        let (meta, mut chunks) = of.news();
        let before = sum(&chunks);
        change(&mut chunks);
        let (len, crc) = if crc_of_changed { sum(&chunks) } else { before };
        let mut incoming = alone.begin(&meta, None).await.unwrap();
        for chunk in chunks {
            incoming.push(chunk).await.unwrap();
        }
        told(alone.host.finish_snapshot(&alone.session, incoming, len, crc).await)
    };
    let foreign_id = foreign.core.identity().cluster_id;
    assert!(send(&foreign, |_| {}, true).await.contains(&foreign_id));
    let flip = |chunks: &mut Vec<Bytes>| {
        let mut bytes = chunks[0].to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        chunks[0] = bytes.into();
    };
    assert!(send(&alone, flip, false).await.contains("as it was sent"));
    let cut = |chunks: &mut Vec<Bytes>| chunks[0] = chunks[0].slice(..chunks[0].len() - 1);
    assert!(send(&alone, cut, true).await.contains("inside a record"));
    assert!(send(&alone, Vec::clear, true).await.contains("of cluster \"\""), "an empty one");
    // Its own state, announced as that of a later entry.
    assert!(send(&alone, |_| {}, true).await.contains("it ends with entry"));
    assert_eq!(alone.refused(), 5);
    let mut incoming = alone.begin(&alone.news().0, None).await.unwrap();
    let too_long = incoming.push(vec![0; CHUNK_MAX + 1].into()).await.unwrap_err();
    assert!(too_long.is_malformed(), "{too_long}");
    drop(incoming);
    until("nothing is left of them", || alone.incoming().is_empty()).await;
    alone.end().await;
    foreign.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_cannot_be_is_refused_before_it_is_sent_and_an_old_one_is_not_needed() {
    let alone = Alone::new().await;
    let (old, _) = snapshot_of(&alone.core);
    let last = old.last_log_id.unwrap();
    let term = alone.vote.leader_id.term;
    let impossible = [
        // Of a later leader than its sender, and in the place of what was agreed on.
        SnapshotMeta { last_log_id: Some(log_id(term + 1, last.index() + 1)), ..old.clone() },
        SnapshotMeta { last_log_id: Some(log_id(term, last.index())), ..old.clone() },
        SnapshotMeta { last_log_id: None, ..old.clone() },
        SnapshotMeta {
            last_log_id: Some(log_id(term, last.index() + 1)),
            last_membership: StoredMembership::new(
                Some(log_id(term, last.index() + 2)),
                old.last_membership.membership().clone(),
            ),
        },
    ];
    for meta in &impossible {
        told(*alone.begin(meta, None).await.unwrap_err());
    }
    assert_eq!(alone.refused(), impossible.len() as u64);
    // A replayed one.
    let answer = *alone.begin(&old, Some(7)).await.unwrap_err();
    assert!(matches!(answer, Response::Snapshot(_)), "{answer:?}");
    assert_eq!(alone.refused(), impossible.len() as u64);
    assert!(alone.incoming().is_empty());
    alone.end().await;
}

/// What came is in a file, and another one would make its own in the same place: until the first is in the tree's place or
/// gone there is no turn for a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_second_snapshot_begins_between_the_end_of_one_and_its_installation() {
    let alone = Alone::new().await;
    let (meta, chunks) = alone.news();
    let (len, crc) = sum(&chunks);
    let mut incoming = alone.begin(&meta, Some(1)).await.unwrap();
    for chunk in chunks {
        incoming.push(chunk).await.unwrap();
    }
    let (_, _, whole) = incoming.finish(len, crc).await.unwrap();
    assert!(told(*alone.begin(&meta, Some(2)).await.unwrap_err()).contains("another snapshot"));
    assert_eq!(alone.incoming().len(), 1);
    // Raft may find that it needs it no more.
    drop(whole);
    assert!(alone.incoming().is_empty(), "it is still there");
    drop(alone.begin(&meta, Some(2)).await.unwrap());
    until("the second is gone too", || alone.incoming().is_empty()).await;
    alone.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_broke_off_is_parked_and_goes_on_with_its_turn() {
    let alone = Alone::new().await;
    let (meta, chunks) = alone.news();
    let mut incoming = alone.begin(&meta, Some(7)).await.unwrap();
    incoming.push(chunks[0].clone()).await.unwrap();
    assert!(alone.begin(&meta, Some(8)).await.is_err(), "two at once");
    alone.host.park_snapshot(&alone.session, incoming);
    let incoming = alone.begin(&meta, Some(7)).await.unwrap();
    assert_eq!(incoming.received(), chunks[0].len() as u64);
    alone.host.park_snapshot(&alone.session, incoming);
    // Another one takes its place.
    let incoming = alone.begin(&meta, Some(8)).await.unwrap();
    assert_eq!(incoming.received(), 0);
    until("the parked one's file is gone", || alone.incoming().len() <= 1).await;
    // One that nothing came of yet, or that cannot be named, is not worth remembering.
    alone.host.park_snapshot(&alone.session, incoming);
    let incoming = alone.begin(&meta, None).await.unwrap();
    assert_eq!(incoming.received(), 0);
    alone.host.park_snapshot(&alone.session, incoming);
    assert_eq!(alone.begin(&meta, Some(8)).await.unwrap().received(), 0);
    until("all are gone", || alone.incoming().is_empty()).await;
    alone.end().await;
}

/// Its connection is dead and says nothing of it: whoever sends one again need not wait until that is found out. Simulated
/// clusters waited a minute for it (seed 70046).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_makes_way_for_the_same_on_another_connection() {
    let alone = Alone::new().await;
    let (meta, chunks) = alone.news();
    let mut incoming = alone.begin(&meta, Some(7)).await.unwrap();
    incoming.push(chunks[0].clone()).await.unwrap();
    let superseded = incoming.superseded.clone();
    let connection = async {
        superseded.cancelled().await;
        alone.host.park_snapshot(&alone.session, incoming);
    };
    let (again, ()) = tokio::join!(alone.begin(&meta, Some(7)), connection);
    let again = again.unwrap();
    assert_eq!(again.received(), chunks[0].len() as u64);
    assert!(!again.superseded.is_cancelled());
    drop(again);
    until("it is gone", || alone.incoming().is_empty()).await;
    alone.end().await;
}

/// A view that is sent again is the very same, and is let go of once it arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_shelved_until_it_arrived() {
    let dir = tempfile::tempdir().unwrap();
    let core = leading(&dir).await;
    let node = core.node().unwrap();
    let view = Arc::new(node.store.view().unwrap());
    view.shelf.keep(&view);
    assert_eq!(node.store.shelf.take().map(|kept| kept.id), Some(view.id));
    assert_eq!(node.store.shelf.take().map(|kept| kept.id), Some(view.id));
    node.store.shelf.forget(&view);
    assert!(node.store.shelf.take().is_none());
    drop((node, view));
    core.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_do_not_follow_are_refused_and_the_member_goes_on() {
    let alone = Alone::new().await;
    let (meta, _) = snapshot_of(&alone.core);
    let prev_log_id = meta.last_log_id;
    let last = prev_log_id.unwrap().index();
    let term = alone.vote.leader_id.term;
    for indexes in [&[last + 2][..], &[last + 1, last + 3], &[last]] {
        let entry = |index: &u64| Entry { log_id: log_id(term, *index), payload: EntryPayload::Blank };
        let append = AppendEntriesRequest {
            vote: alone.vote,
            prev_log_id,
            entries: indexes.iter().map(entry).collect(),
            leader_commit: None,
        };
        told(alone.host.answer(&alone.session, Request::Append(append)).await);
    }
    assert_eq!(alone.core.stats()["port"]["appends_refused"], 3);
    alone.end().await;
}

/// What a leader has applied others may have made durable: its own disk need not hold it yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_says_of_itself_only_what_its_own_log_holds_durably() {
    let alone = Alone::new().await;
    let node = alone.core.node().unwrap();
    let durable = node.log.wal().unwrap().durable_index();
    assert!(durable.is_some());
    assert_eq!(held_by_all(&node), durable);
    node.log.close();
    assert!(node.metrics().last_applied.is_some());
    assert_eq!(held_by_all(&node), None);
    drop((node, alone.session));
    alone.core.halt().await;
}
