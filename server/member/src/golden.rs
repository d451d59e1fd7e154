//! The bytes of every message and of everything on the disk, as files in `tests/golden`: a change of the wire or the disk
//! that nobody meant shows here.
//!
//! A file is hexadecimal text. `CONURE_BLESS=1` writes those that are missing; one that is there is never overwritten, since
//! older members and older disks have it. Who changes a format on purpose raises its version and removes the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use conure_client::api::Role;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};
use openraft::{EntryPayload, Membership};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backup_format::{self, Encoder};
use crate::identity::{self, Identity, State};
use crate::raft::forks::Forks;
use crate::raft::state::Applied;
use crate::raft::types::{self, Command, Entry, LogId, Peer, SnapshotMeta, StoredMembership, Vote};
use crate::transport::acknowledged::{Acknowledged, Position};
use crate::transport::frame::{self, FRAME_MAX};
use crate::transport::message::{
    Chunk, Failure, Greeting, Hello, Identified, Introduced, Introduction, MAGIC, Opening, Purpose,
    RefusedHello, Request, Response,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn hex(bytes: &[u8]) -> String {
    let lines: Vec<String> = bytes
        .chunks(32)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
        .collect();
    lines.join("\n") + "\n"
}

fn unhex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// The kept bytes of `name`, which must be `bytes`.
fn kept(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = folder().join(format!("{name}.hex"));
    if !path.exists() && std::env::var_os("CONURE_BLESS").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, hex(bytes)).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let kept = unhex(&text);
    assert_eq!(hex(&kept), hex(bytes), "{name} is written otherwise than the file says");
    kept
}

/// All that is kept.
pub(crate) fn all() -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder()).unwrap();
    files.map(|file| unhex(&std::fs::read_to_string(file.unwrap().path()).unwrap())).collect()
}

/// `message` is encoded as kept, and what is kept decodes to it.
fn golden<T: Serialize + DeserializeOwned + Debug>(name: &str, message: &T) {
    let bytes = kept(name, &postcard::to_stdvec(message).unwrap());
    let decoded: T = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(format!("{decoded:?}"), format!("{message:?}"), "{name}");
}

fn log_id(term: u64, index: u64) -> LogId {
    types::log_id(term, 7, index)
}

fn peer(name: &str, role: Role) -> Peer {
    Peer {
        name: name.into(),
        raft_addr: format!("{name}.example:7001"),
        http_addr: format!("{name}.example:8081"),
        role,
    }
}

fn membership() -> Membership<u64, Peer> {
    let nodes = BTreeMap::from([
        (7, peer("node1", Role::Data)),
        (0xfeed_face_dead_beef, peer("node2", Role::Arbiter)),
    ]);
    Membership::new(vec![BTreeSet::from([7]), BTreeSet::from([7, 0xfeed_face_dead_beef])], nodes).unwrap()
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(log_id(3, 300)),
        last_membership: StoredMembership::new(Some(log_id(2, 200)), membership()),
    }
}

fn vote() -> Vote {
    Vote::new_committed(3, 7)
}

fn entries() -> Vec<Entry> {
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(Command::Put {
            key: Bytes::from_static(b"key"),
            value: Bytes::from_static(&[0, 255]),
        }),
        EntryPayload::Normal(Command::Delete { key: Bytes::from_static(&[255]) }),
        EntryPayload::Normal(Command::Release { by: "other".into() }),
        EntryPayload::Membership(membership()),
    ];
    (301..).zip(payloads).map(|(index, payload)| Entry { log_id: log_id(3, index), payload }).collect()
}

fn hello(purpose: Purpose) -> Hello {
    Hello {
        magic: MAGIC,
        protocol: 1,
        purpose,
        cluster_id: "cluster".into(),
        incarnation: 2,
        sender: 7,
        target: 0xfeed_face_dead_beef,
        minor: 1,
        introduction: None,
    }
}

fn acknowledged() -> Acknowledged {
    Acknowledged { vote: vote(), index: 300 }
}

fn forks() -> Forks {
    Forks::of([(2, 0xf0), (3, 0xfeed_face_dead_beef)])
}

fn introduction() -> Introduction {
    Introduction {
        boot: 0xb007,
        raft_addr: "node1.example:7001".into(),
        forks: forks(),
        acknowledged: Some(acknowledged()),
    }
}

#[test]
fn handshakes_are_as_kept() {
    for (name, purpose) in
        [("identify", Purpose::Identify), ("invite", Purpose::Invite), ("cluster", Purpose::Cluster)]
    {
        golden(&format!("hello-{name}"), &hello(purpose));
    }
    // As from minor version 3 on.
    let introduced = Hello { minor: 3, introduction: Some(introduction()), ..hello(Purpose::Cluster) };
    let bytes = postcard::to_stdvec(&(&introduced, &introduced.introduction.as_ref().unwrap())).unwrap();
    let bytes = kept("hello-introduced", &bytes);
    assert_eq!(Hello::decode(&bytes).unwrap(), introduced);
    assert!(Hello::decode(&bytes[..bytes.len() - 1]).is_err());
    golden(
        "greeting-recognized",
        &Greeting::Recognized { minor: 3, boot: 0xb007, acknowledged: Some(acknowledged()) },
    );
    golden("greeting-welcome", &Greeting::Welcome { minor: 1 });
    for why in [
        RefusedHello::Protocol(1),
        RefusedHello::Cluster("cluster".into(), 2),
        RefusedHello::Target(7),
        RefusedHello::Removed,
        RefusedHello::NotServing,
        RefusedHello::Fork(2),
        RefusedHello::LostEntries,
        RefusedHello::Copied("node1.example:7001".into()),
        RefusedHello::Moved("node1.example:7001".into()),
    ] {
        let name = match &why {
            RefusedHello::Protocol(_) => "protocol",
            RefusedHello::Cluster(..) => "cluster",
            RefusedHello::Target(_) => "target",
            RefusedHello::Removed => "removed",
            RefusedHello::NotServing => "not-serving",
            RefusedHello::Fork(_) => "fork",
            RefusedHello::LostEntries => "lost-entries",
            RefusedHello::Copied(_) => "copied",
            RefusedHello::Moved(_) => "moved",
        };
        golden(&format!("greeting-refused-{name}"), &Greeting::Refused(why));
    }
    let framed = frame::encode(&hello(Purpose::Cluster), FRAME_MAX).unwrap();
    kept("frame", &framed);
}

/// Who is a minor version newer may say more in its hello, and who speaks another major one may say anything behind its
/// version.
#[test]
fn a_hello_of_another_version_is_understood_as_far_as_it_must_be() {
    let newer = Hello { minor: 9, ..hello(Purpose::Cluster) };
    let mut longer = postcard::to_stdvec(&(newer, introduction())).unwrap();
    longer.extend_from_slice(b"and more");
    let read = Hello::decode(&longer).unwrap();
    assert_eq!((read.minor, read.target), (9, 0xfeed_face_dead_beef));
    assert_eq!(read.introduction, Some(introduction()));
    // As members up to minor version 2 read it.
    let read: Hello = postcard::from_bytes(&longer).unwrap();
    assert_eq!((read.minor, read.target), (9, 0xfeed_face_dead_beef));
    let (opening, _): (Opening, _) = postcard::take_from_bytes(b"CNRD\x02\xff\xff\xff").unwrap();
    assert_eq!(opening, Opening { magic: MAGIC, protocol: 2 });
}

#[test]
fn requests_are_as_kept() {
    let append = AppendEntriesRequest {
        vote: vote(),
        prev_log_id: Some(log_id(3, 300)),
        entries: entries(),
        leader_commit: Some(log_id(3, 299)),
    };
    let ask =
        VoteRequest { vote: Vote::new(4, 7), last_log_id: Some(log_id(3, 300)), leadership_transfer: true };
    for request in [
        Request::Identify,
        Request::Release { by: "other".into() },
        Request::Adopt { cluster_id: "cluster".into(), incarnation: 2, name: "node1".into() },
        Request::Append(append),
        Request::Vote(ask.clone()),
        Request::PreVote(ask),
        Request::Transfer(TransferLeaderRequest::new(vote(), 9, Some(log_id(3, 300)))),
        Request::Snapshot { vote: vote(), meta: meta(), with_data: true },
        Request::ReadIndex,
        Request::Remove { id: "node1".into() },
        Request::Farewell,
        Request::HeldByAll,
        Request::ResumableSnapshot { vote: vote(), meta: meta(), with_data: false, id: 0xfeed },
        Request::Introduce,
        Request::Readdress { node_id: 7, boot: 0xb007, raft_addr: "node1.example:7001".into() },
    ] {
        // A new request needs a sample above.
        let name = match &request {
            Request::Identify => "identify",
            Request::Release { .. } => "release",
            Request::Adopt { .. } => "adopt",
            Request::Append(_) => "append",
            Request::Vote(_) => "vote",
            Request::PreVote(_) => "pre-vote",
            Request::Transfer(_) => "transfer",
            Request::Snapshot { .. } => "snapshot",
            Request::ReadIndex => "read-index",
            Request::Remove { .. } => "remove",
            Request::Farewell => "farewell",
            Request::HeldByAll => "held-by-all",
            Request::ResumableSnapshot { .. } => "resumable-snapshot",
            Request::Introduce => "introduce",
            Request::Readdress { .. } => "readdress",
        };
        golden(&format!("request-{name}"), &request);
    }
}

#[test]
fn responses_are_as_kept() {
    let identified = Identified {
        name: "node1".into(),
        node_id: 7,
        state: State::Member,
        cluster_id: "cluster".into(),
        incarnation: 2,
        role: Role::Data,
        raft_addr: "node1.example:7001".into(),
        http_addr: "node1.example:8081".into(),
        revision: 1 << 33,
    };
    let granted =
        VoteResponse { vote: Vote::new(4, 7), vote_granted: true, last_log_id: Some(log_id(3, 300)) };
    for response in [
        Response::Identified(identified.clone()),
        Response::Released,
        Response::Adopted { node_id: 7 },
        Response::Append(AppendEntriesResponse::PartialSuccess(Some(log_id(3, 300)))),
        Response::Vote(granted),
        Response::Transferred(Ok(())),
        Response::Proceed,
        Response::Snapshot(SnapshotResponse::new(vote())),
        Response::ReadIndex(300),
        Response::Done,
        Response::HeldByAll(Some(300)),
        Response::Failed(Failure::NotLeader),
        Response::ProceedFrom(1 << 20),
        Response::Installing,
        Response::Introduced(Box::new(Introduced {
            who: identified,
            boot: 0xb007,
            forks: forks(),
            position: Some(Position { index: Some(300), vote: Some(vote()) }),
        })),
    ] {
        let name = match &response {
            Response::Identified(_) => "identified",
            Response::Released => "released",
            Response::Adopted { .. } => "adopted",
            Response::Append(_) => "append",
            Response::Vote(_) => "vote",
            Response::Transferred(_) => "transferred",
            Response::Proceed => "proceed",
            Response::Snapshot(_) => "snapshot",
            Response::ReadIndex(_) => "read-index",
            Response::Done => "done",
            Response::HeldByAll(_) => "held-by-all",
            Response::Failed(_) => "failed",
            Response::ProceedFrom(_) => "proceed-from",
            Response::Installing => "installing",
            Response::Introduced(_) => "introduced",
        };
        golden(&format!("response-{name}"), &response);
    }
    for append in [
        AppendEntriesResponse::Success,
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::HigherVote(Vote::new(4, 9)),
    ] {
        let name = match &append {
            AppendEntriesResponse::Success => "success",
            AppendEntriesResponse::PartialSuccess(_) => "partial",
            AppendEntriesResponse::Conflict => "conflict",
            AppendEntriesResponse::HigherVote(_) => "higher-vote",
        };
        golden(&format!("response-append-{name}"), &Response::Append(append));
    }
    for failure in [
        Failure::Stopped("why".into()),
        Failure::Conflict { kind: "no-quorum".into(), detail: "why".into() },
        Failure::UnknownMember("node1".into()),
        Failure::Other("why".into()),
    ] {
        let name = match &failure {
            Failure::NotLeader => "not-leader",
            Failure::Stopped(_) => "stopped",
            Failure::Conflict { .. } => "conflict",
            Failure::UnknownMember(_) => "unknown-member",
            Failure::Other(_) => "other",
        };
        golden(&format!("response-failed-{name}"), &Response::Failed(failure));
    }
    golden("chunk-data", &Chunk::Data(Bytes::from_static(b"records")));
    golden("chunk-end", &Chunk::End { len: 7, crc: 0xdead_beef });
}

#[test]
fn what_is_on_the_disk_is_as_kept() {
    for entry in entries() {
        let name = match &entry.payload {
            EntryPayload::Blank => "blank",
            EntryPayload::Normal(Command::Put { .. }) => "put",
            EntryPayload::Normal(Command::Delete { .. }) => "delete",
            EntryPayload::Normal(Command::Release { .. }) => "release",
            EntryPayload::Membership(_) => "membership",
        };
        golden(&format!("log-entry-{name}"), &entry);
    }
    golden("log-vote", &vote());
    golden("log-purge-marker", &log_id(3, 300));
    let applied = Applied {
        cluster_id: "cluster".into(),
        incarnation: 2,
        log_id: Some(log_id(3, 300)),
        membership: StoredMembership::new(Some(log_id(2, 200)), membership()),
        revision: 1 << 33,
        released_for: Some("other".into()),
        removed: BTreeSet::from([1, 2]),
        forks: Forks::default(),
    };
    golden("tree-applied", &applied);
    let forked = Applied { forks: forks(), ..applied.clone() };
    let bytes = kept("tree-applied-forked", &forked.encode().unwrap());
    assert_eq!(Applied::decode(&bytes).unwrap(), forked);
    // As earlier versions read it.
    assert_eq!(postcard::from_bytes::<Applied>(&bytes).unwrap(), applied);
    for (name, state, role) in [
        ("fresh", State::Fresh, Role::Data),
        ("founding", State::Founding, Role::Data),
        ("member", State::Member, Role::Data),
        ("released", State::Released, Role::Data),
        ("removed", State::Removed, Role::Data),
        ("adopted", State::Adopted, Role::Data),
        ("arbiter", State::Member, Role::Arbiter),
    ] {
        let identity = Identity {
            name: "node1".into(),
            node_id: 7,
            cluster_id: "cluster".into(),
            incarnation: 2,
            state,
            role,
        };
        let bytes = kept(&format!("identity-{name}"), &identity.encode().unwrap());
        assert_eq!(identity::decode(&bytes).unwrap(), identity);
    }
    let header =
        backup_format::Header { cluster_id: "cluster".into(), incarnation: 2, revision: 9, log_index: 300 };
    let mut encoder = Encoder::default();
    let mut backup = encoder.begin(&header).unwrap().to_vec();
    // The state, then one key with its revision in front of its value.
    let state = Applied { revision: 9, ..applied }.encode().unwrap();
    let state_len = u32::try_from(state.len()).unwrap().to_le_bytes();
    let mut records = [&[2, 7, 0, 0, 0][..], &state_len, b"applied", &state].concat();
    records.extend_from_slice(
        &[&[1, 3, 0, 0, 0, 11, 0, 0, 0][..], b"key", &9_u64.to_le_bytes(), b"abc"].concat(),
    );
    backup.extend_from_slice(&encoder.data(&records).unwrap());
    backup.extend_from_slice(&encoder.end().unwrap());
    let bytes = kept("backup", &backup);
    let mut decoder = backup_format::Decoder::default();
    let mut found = Vec::new();
    decoder
        .push(&bytes, &mut |record: backup_format::Record<'_>| {
            found.push((record.key.to_vec(), record.revision, record.value.to_vec()));
            Ok(())
        })
        .unwrap();
    let (read, _) = decoder.finish().unwrap();
    assert_eq!((read, found), (header, vec![(b"key".to_vec(), 9, b"abc".to_vec())]));
}

/// A file that no sample belongs to is a format that nobody looks at any more.
#[test]
fn every_kept_file_has_a_sample() {
    let source = include_str!("golden.rs");
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.strip_suffix(".hex").unwrap();
        let known = |stem: &str| source.contains(&format!("\"{stem}\""));
        let parts: Vec<usize> = stem.match_indices('-').map(|(at, _)| at).collect();
        let named = known(stem) || parts.iter().any(|at| known(&stem[at + 1..]));
        assert!(named, "{name}");
    }
}
