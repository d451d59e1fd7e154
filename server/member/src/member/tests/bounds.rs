//! How long things may take that depend on others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use conure_client::api::JoinRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::{config, leading, start, until};
use crate::facade::{JoinProgress, Refusal};
use crate::member::core::STOP_MAX;
use crate::member::rounds::{IndexRound, NoIndex, Round as _};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_last_checkpoint_hangs_stops_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let core = leading(&dir).await;
    let db = core.node().unwrap().store.db().unwrap();
    // Nobody else can change the database as long as this is there; until then the member itself may be at it.
    let (held, holding) = std::sync::mpsc::channel::<()>();
    let (changes, changing) = tokio::sync::oneshot::channel();
    let holder = std::thread::spawn(move || {
        let change = loop {
            match db.begin_write() {
                Ok(change) => break change,
                Err(busy) => assert!(matches!(busy, conure_btree::Error::WriterBusy), "{busy}"),
            }
            std::thread::yield_now();
        };
        changes.send(()).unwrap();
        let _ = holding.recv();
        drop(change);
    });
    timeout(PATIENCE, changing).await.expect("the member is through with its own").unwrap();
    let begun = Instant::now();
    timeout(PATIENCE / 2, core.shutdown()).await.expect("it stops");
    assert!(begun.elapsed() <= STOP_MAX + Duration::from_secs(1), "{:?}", begun.elapsed());
    drop(held);
    holder.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_membership_change_waits_for_another_one_and_then_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let core = leading(&dir).await;
    let changing = core.change.lock().await;
    let addr = core.config.raft_addr.clone();
    let join = core.join(&JoinRequest { id: "node2".into(), raft_addr: addr }).await;
    let remove = core.remove("node2").await;
    for refused in [join.map(drop), remove] {
        assert!(matches!(&refused, Err(Refusal::Conflict { kind: "change-in-progress", .. })), "{refused:?}");
    }
    drop(changing);
    core.shutdown().await;
}

/// A network that can be told to hang: then what is sent through it gets no answer, and no end.
#[derive(Default)]
struct Hanging {
    hangs: AtomicBool,
    /// How many connections had something to carry since.
    held: AtomicUsize,
}

/// An address that leads to `to`.
async fn hanging(to: String) -> (String, Arc<Hanging>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let network = Arc::new(Hanging::default());
    let shared = Arc::clone(&network);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (to, network) = (to.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(to).await else { return };
                let ((mut from_near, mut to_near), (mut from_far, mut to_far)) =
                    (near.into_split(), far.into_split());
                let (back, hung) = (Arc::clone(&network), std::future::pending::<()>);
                tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_far, &mut to_near).await;
                    if back.hangs.load(Ordering::SeqCst) {
                        hung().await;
                    }
                });
                let mut piece = vec![0; 64 << 10];
                while let Ok(len @ 1..) = from_near.read(&mut piece).await {
                    if network.hangs.load(Ordering::SeqCst) {
                        network.held.fetch_add(1, Ordering::SeqCst);
                        hung().await;
                    }
                    if to_far.write_all(&piece[..len]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (addr, network)
}

/// Without that, a read on a follower would wait for a leader that died without a word, however soon there is another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_asks_the_next_leader_as_soon_as_there_is_one() {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut first = config(&dirs[0], true);
    let (addr, network) = hanging(first.raft_addr.clone()).await;
    first.raft_advertise_addr = addr;
    let leader = start(first).await.unwrap();
    until("it leads", || leader.leading().is_ok()).await;
    let mut followers = Vec::new();
    for (name, dir) in [("node2", &dirs[1]), ("node3", &dirs[2])] {
        let mut config = config(dir, false);
        config.node_id = name.into();
        let request = JoinRequest { id: name.into(), raft_addr: config.raft_addr.clone() };
        followers.push(start(config).await.unwrap());
        assert!(matches!(leader.join(&request).await, Ok(JoinProgress::Voter(_))));
    }
    let node = followers[0].node().unwrap();
    let mut round = IndexRound::Ask {
        raft: node.raft.clone(),
        leads: node.leads.clone(),
        dialer: node.dialer.clone(),
        connection: None,
        patience: 2 * PATIENCE,
    };
    assert!(round.run().await.is_ok(), "the leader answers");
    // It is asked, and hangs; then it is gone, so that another one comes.
    network.hangs.store(true, Ordering::SeqCst);
    let asked = tokio::spawn(async move { round.run().await });
    until("a question is on its way", || network.held.load(Ordering::SeqCst) > 0).await;
    leader.halt().await;
    let answer = timeout(PATIENCE, asked).await.expect("it is not waited for").unwrap();
    assert_eq!(answer, Err(NoIndex::Unconfirmed));
    let reads = async { followers[0].catch_up(&node).await };
    assert!(timeout(PATIENCE, reads).await.unwrap().is_ok(), "the next leader answers");
    drop(node);
    for follower in followers {
        follower.shutdown().await;
    }
}
