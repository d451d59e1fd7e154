//! Appends on one connection: who sends them, and who answers them.

// Over real sockets, which a simulation has none of.
#![cfg(not(feature = "simulation"))]

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::{StreamExt as _, iter};
use openraft::EntryPayload;
use openraft::error::RPCError;
use openraft::network::{RPCOption, RaftNetworkFactory as _, RaftNetworkV2 as _};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::acknowledged::{Acknowledged, Acknowledgements, Position};
use super::addresses::Addresses;
use super::connection::CallError;
use super::frame::{FRAME_MAX, HELLO_MAX, receive, send};
use super::incoming::Incoming;
use super::message::{Failure, Greeting, Hello, MINOR, RefusedHello, Request, Response};
use super::met::Met;
use super::network::{Dialer, Estranged, Link, Own};
use super::pipeline::APPENDS_MAX;
use super::server::{Counters, Host, serve};
use crate::raft::forks::Forks;
use crate::raft::types::{Entry, Peer, SnapshotMeta, TypeConfig, Vote, log_id};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Who sends.
const LEADER: u64 = 7;

/// An append of the entry `index`.
fn append(index: u64) -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: Vote::new_committed(3, LEADER),
        prev_log_id: index.checked_sub(1).map(|prev| log_id(3, LEADER, prev)),
        leader_commit: None,
        entries: vec![Entry { log_id: log_id(3, LEADER, index), payload: EntryPayload::Blank }],
    }
}

fn index_of(request: &Request) -> u64 {
    match request {
        Request::Append(append) => append.entries[0].log_id.index(),
        other => panic!("{other:?}"),
    }
}

/// Holds whatever others count on.
#[derive(Debug)]
struct Unasked;

impl Own for Unasked {
    fn position(&self) -> Option<Position> {
        None
    }

    fn forks(&self) -> Forks {
        Forks::default()
    }

    fn lost(&self, acknowledged: Acknowledged, _: Position) {
        panic!("it lost {acknowledged:?}");
    }
}

fn dialer() -> Dialer {
    Dialer {
        cluster_id: "c".into(),
        incarnation: 1,
        node_id: LEADER,
        boot: 1,
        raft_addr: "leader".into(),
        own: Arc::new(Unasked),
        acknowledgements: Acknowledgements::default(),
        met: Met::default(),
        estranged: Estranged::default(),
        removed: CancellationToken::new(),
        other_version: Arc::default(),
        snapshot_rate: None,
        dials: Default::default(),
        transfers: Default::default(),
        addresses: Addresses::default(),
    }
}

fn peer_at(addr: &str) -> Peer {
    Peer { raft_addr: addr.to_owned(), ..Peer::default() }
}

async fn link(addr: String) -> Link {
    dialer().new_client(8, &peer_at(&addr)).await
}

/// How each append that `link` is given ends: the index up to which the other side holds the log, or an error.
async fn ends(link: &mut Link, indexes: Range<u64>) -> Vec<Result<u64, String>> {
    let appends = iter(indexes.map(append));
    let answers = link.stream_append(appends, RPCOption::new(PATIENCE)).await.unwrap();
    let ends = answers.map(|answer| match answer {
        Ok(Ok(held)) => Ok(held.unwrap().index()),
        Ok(Err(StreamAppendError::Conflict(at))) => Err(format!("conflict at {}", at.index())),
        Ok(Err(StreamAppendError::HigherVote(vote))) => Err(format!("vote {vote}")),
        Err(RPCError::Unreachable(_)) => Err("unreachable".into()),
        Err(_) => Err("network".into()),
    });
    timeout(PATIENCE, ends.collect()).await.expect("all are answered")
}

/// A member that answers no append before it was asked for `together` of them.
struct Slow {
    together: usize,
    begun: watch::Sender<usize>,
    order: Mutex<Vec<u64>>,
}

impl Host for Slow {
    type Session = ();

    fn connections_max(&self) -> usize {
        512
    }

    async fn greet(&self, _: &Hello) -> Result<(), RefusedHello> {
        Ok(())
    }

    fn process(&self, (): &(), _: u64) -> (u64, Option<Acknowledged>) {
        (0, None)
    }

    fn end(&self, (): &()) -> CancellationToken {
        CancellationToken::new()
    }

    fn frame_max(&self, (): &()) -> usize {
        FRAME_MAX
    }

    async fn answer(&self, (): &(), request: Request) -> Response {
        self.order.lock().unwrap().push(index_of(&request));
        self.begun.send_modify(|begun| *begun += 1);
        let _ = self.begun.subscribe().wait_for(|begun| *begun >= self.together).await;
        Response::Append(AppendEntriesResponse::Success)
    }

    async fn begin_snapshot(
        &self,
        (): &(),
        _: Vote,
        _: SnapshotMeta,
        _: bool,
        _: Option<u64>,
    ) -> Result<Incoming, Box<Response>> {
        Err(Box::new(Response::Failed(Failure::NotLeader)))
    }

    fn park_snapshot(&self, (): &(), _: Incoming) {}

    async fn finish_snapshot(&self, (): &(), _: Incoming, _: u64, _: u32) -> Response {
        Response::Failed(Failure::NotLeader)
    }
}

#[tokio::test]
async fn appends_are_sent_and_begun_while_others_are_unanswered_and_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut link = link(listener.local_addr().unwrap().to_string()).await;
    let slow =
        Arc::new(Slow { together: APPENDS_MAX, begun: watch::Sender::default(), order: Mutex::default() });
    let stop = CancellationToken::new();
    let counters = Arc::new(Counters::default());
    let serving = tokio::spawn(serve(listener, Arc::clone(&slow), Arc::clone(&counters), stop.clone()));
    let wanted: Vec<u64> = (0..40).collect();
    let answered = ends(&mut link, 0..40).await;
    assert_eq!(answered, wanted.iter().copied().map(Ok).collect::<Vec<_>>());
    assert_eq!(*slow.order.lock().unwrap(), wanted);
    // The link goes on with the same connection.
    assert_eq!(ends(&mut link, 40..41).await, [Ok(40)]);
    assert_eq!(counters.accepted.load(Ordering::Relaxed), 1);
    stop.cancel();
    serving.await.unwrap();
}

/// As where its disk takes longer for a sync than a heartbeat waits.
#[tokio::test]
async fn a_member_that_answers_late_is_not_dialled_again_and_hears_every_append() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut link = link(listener.local_addr().unwrap().to_string()).await;
    let slow = Arc::new(Slow { together: 12, begun: watch::Sender::default(), order: Mutex::default() });
    let stop = CancellationToken::new();
    let counters = Arc::new(Counters::default());
    let serving = tokio::spawn(serve(listener, Arc::clone(&slow), Arc::clone(&counters), stop.clone()));
    let mut begun = slow.begun.subscribe();
    for index in 0..11 {
        // Given up as soon as the other side has begun with it.
        let heard = async {
            begun.wait_for(|begun| *begun as u64 > index).await.unwrap();
        };
        tokio::select! {
            ends = ends(&mut link, index..index + 1) => panic!("{ends:?}"),
            () = heard => {}
        }
    }
    // The answers that nobody waited for are none to this one.
    assert_eq!(ends(&mut link, 11..12).await, [Ok(11)]);
    assert_eq!(ends(&mut link, 12..14).await, [Ok(12), Ok(13)]);
    assert_eq!(*slow.order.lock().unwrap(), (0..14).collect::<Vec<_>>());
    assert_eq!(counters.accepted.load(Ordering::Relaxed), 1);
    stop.cancel();
    serving.await.unwrap();
}

/// It hears as many as may be unanswered, then none, and is dialled again once its answers are given up.
#[tokio::test]
async fn a_member_that_does_not_answer_is_not_sent_appends_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut link = link(listener.local_addr().unwrap().to_string()).await;
    let count = u64::try_from(APPENDS_MAX).unwrap();
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let silent = tokio::spawn(async move {
        let mut first = Peerless::accept(&listener).await;
        loop {
            tokio::select! {
                request = receive(&mut first.0, FRAME_MAX) => {
                    let Ok(request) = request else { break };
                    heard.send(index_of(&request)).unwrap();
                }
                () = tokio::time::sleep(PATIENCE) => panic!("the connection stays"),
            }
        }
        let mut second = Peerless::accept(&listener).await;
        second.hears(count..count + 1).await;
        second.says(AppendEntriesResponse::Success).await;
        let _ = receive::<_, Request>(&mut second.0, FRAME_MAX).await;
    });
    for index in 0..count {
        tokio::select! {
            ends = ends(&mut link, index..index + 1) => panic!("{ends:?}"),
            heard = hears.recv() => assert_eq!(heard, Some(index)),
        }
    }
    assert_eq!(ends(&mut link, count..count + 1).await, [Ok(count)]);
    drop(link);
    silent.await.unwrap();
    assert_eq!(hears.recv().await, None, "it was sent more");
}

/// A network that swallows everything, or a name that is not found: every heartbeat would begin another dial.
#[tokio::test]
async fn a_member_that_does_not_greet_is_dialled_once_however_many_give_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let dialer = dialer();
    let first = async {
        for index in 0..5 {
            // Each a link of its own, as heartbeats, entries and votes have.
            let mut link = dialer.clone().new_client(8, &peer_at(&addr)).await;
            let given_up = timeout(Duration::from_millis(10), ends(&mut link, index..index + 1)).await;
            assert!(given_up.is_err(), "{given_up:?}");
        }
    };
    first.await;
    // The one connection that there is serves whoever comes next.
    let mut link = dialer.clone().new_client(8, &peer_at(&addr)).await;
    let other = async {
        let mut peer = Peerless::accept(&listener).await;
        peer.hears(5..6).await;
        peer.says(AppendEntriesResponse::Success).await;
        peer
    };
    let (answered, _peer) = tokio::join!(ends(&mut link, 5..6), other);
    assert_eq!(answered, [Ok(5)]);
    let another = timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(another.is_err(), "it was dialled more than once");
}

#[tokio::test]
async fn a_member_that_is_not_there_is_dialled_again_after_a_pause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    drop(listener);
    let dialer = dialer();
    let open = async || dialer.open(8, &addr, PATIENCE).await;
    assert!(matches!(open().await, Err(CallError::Connect(_))));
    let (mut rested, mut tried) = (0, 0);
    // Now and then a try is let through, and fails as the first one.
    while rested == 0 || tried == 0 {
        match open().await {
            Err(CallError::Rests) => rested += 1,
            _ => tried += 1,
        }
        tokio::task::yield_now().await;
    }
    let listener = TcpListener::bind(&addr).await.unwrap();
    let opened = async {
        loop {
            match open().await {
                Err(CallError::Rests) => tokio::task::yield_now().await,
                opened => break opened,
            }
        }
    };
    let (opened, _peer) = tokio::join!(opened, Peerless::accept(&listener));
    assert!(opened.is_ok());
    // Not so another member at the same address.
    assert!(!matches!(dialer.open(9, "127.0.0.1:1", PATIENCE).await, Err(CallError::Rests)));
}

/// The other end of a connection, told what to do.
struct Peerless(BufReader<TcpStream>);

impl Peerless {
    async fn accept(listener: &TcpListener) -> Self {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        let _: Hello = receive(&mut stream, HELLO_MAX).await.unwrap();
        send(&mut stream, &Greeting::Welcome { minor: MINOR }, HELLO_MAX).await.unwrap();
        Self(stream)
    }

    async fn hears(&mut self, indexes: Range<u64>) {
        for index in indexes {
            assert_eq!(index_of(&receive(&mut self.0, FRAME_MAX).await.unwrap()), index);
        }
    }

    async fn says(&mut self, answer: AppendEntriesResponse<TypeConfig>) {
        send(&mut self.0, &Response::Append(answer), FRAME_MAX).await.unwrap();
    }
}

/// What a link sends to `other`, and how it ends there.
async fn between(indexes: Range<u64>, other: impl AsyncFnOnce(TcpListener)) -> Vec<Result<u64, String>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut link = link(listener.local_addr().unwrap().to_string()).await;
    // The link goes once it has its answers, which the other end notices.
    let sending = async move { ends(&mut link, indexes).await };
    let (answered, heard) = tokio::join!(sending, timeout(PATIENCE, other(listener)));
    heard.expect("the other end is through");
    answered
}

#[tokio::test]
async fn a_member_of_another_major_version_refuses_with_its_version_and_is_told_of_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let dialer = dialer();
    let refusing = async {
        for _ in 0..2 {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            let _: Hello = receive(&mut stream, HELLO_MAX).await.unwrap();
            send(&mut stream, &Greeting::Refused(RefusedHello::Protocol(2)), HELLO_MAX).await.unwrap();
        }
    };
    let asking = async {
        let mut answers = Vec::new();
        for _ in 0..2 {
            answers.push(loop {
                match dialer.ask(8, &addr, &Request::ReadIndex, PATIENCE).await {
                    Err(CallError::Rests) => tokio::task::yield_now().await,
                    answer => break answer,
                }
            });
        }
        answers
    };
    let (answers, ()) = tokio::join!(asking, refusing);
    for answer in answers {
        let error = answer.expect_err("it was refused").to_string();
        assert!(error.contains("protocol 2"), "{error}");
    }
    assert!(dialer.other_version.load(Ordering::Relaxed));
    assert!(!dialer.removed.is_cancelled(), "only a member of the same version can say that");
}

#[tokio::test]
async fn no_more_appends_than_allowed_are_unanswered() {
    let count = u64::try_from(APPENDS_MAX).unwrap();
    let answered = between(0..count + 2, async |listener| {
        let mut peer = Peerless::accept(&listener).await;
        peer.hears(0..count).await;
        for next in count..count + 2 {
            let more =
                timeout(Duration::from_millis(50), receive::<_, Request>(&mut peer.0, FRAME_MAX)).await;
            assert!(more.is_err(), "{more:?}");
            peer.says(AppendEntriesResponse::Success).await;
            peer.hears(next..next + 1).await;
        }
        for _ in 0..count {
            peer.says(AppendEntriesResponse::Success).await;
        }
        // Until the other end has read them.
        let _ = receive::<_, Request>(&mut peer.0, FRAME_MAX).await;
    });
    assert_eq!(answered.await, (0..count + 2).map(Ok).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_unanswered_where_a_connection_breaks_is_sent_again_once() {
    let answered = between(0..4, async |listener| {
        let mut first = Peerless::accept(&listener).await;
        first.hears(0..1).await;
        first.says(AppendEntriesResponse::Success).await;
        first.hears(1..3).await;
        drop(first);
        let mut second = Peerless::accept(&listener).await;
        second.hears(1..3).await;
        second.says(AppendEntriesResponse::Success).await;
        second.hears(3..4).await;
        drop(second);
        // It answered since, so it may have restarted again; the third does not answer at all.
        let mut third = Peerless::accept(&listener).await;
        third.hears(2..4).await;
    });
    assert_eq!(answered.await, [Ok(0), Ok(1), Err("network".into())]);
}

#[tokio::test]
async fn answers_other_than_success_end_the_appends() {
    let conflict = async |listener: TcpListener| {
        let mut peer = Peerless::accept(&listener).await;
        let _: Request = receive(&mut peer.0, FRAME_MAX).await.unwrap();
        peer.says(AppendEntriesResponse::Conflict).await;
        let _ = receive::<_, Request>(&mut peer.0, FRAME_MAX).await;
    };
    assert_eq!(between(5..6, conflict).await, [Err("conflict at 4".into())]);
    // Nothing is before the first entry.
    assert_eq!(between(0..1, conflict).await, [Err("network".into())]);
    let vote = async |listener: TcpListener| {
        let mut peer = Peerless::accept(&listener).await;
        peer.hears(5..7).await;
        peer.says(AppendEntriesResponse::HigherVote(Vote::new(4, 9))).await;
        let _ = receive::<_, Request>(&mut peer.0, FRAME_MAX).await;
    };
    assert_eq!(between(5..8, vote).await, [Err(format!("vote {}", Vote::new(4, 9)))]);
    let nobody = async |listener: TcpListener| drop(listener);
    assert_eq!(between(0..1, nobody).await.len(), 1);
}
