//! Purged logs, snapshots, backups.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use conure_member::{JoinProgress, Member};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::*;
use crate::wire::Wire;

fn small(place: Place) -> Place {
    place.tuned(|tuning| {
        tuning.checkpoint_entries = 50;
        tuning.keep_entries = 10;
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lags_behind_the_purged_log_gets_a_snapshot() {
    let places =
        [small(Place::new("node1").bootstrap()), small(Place::new("node2")), small(Place::new("node3"))];
    let first = places[0].start().await;
    leads(&first).await;
    let big = "x".repeat(100_000);
    for i in 0..200 {
        put(&[&first], &format!("key{}", i % 40), &big).await;
    }
    put(&[&first], "last", "one").await;
    eventually("the log is purged", async || first.stats()["raft"]["purged_index"].as_u64() > Some(50)).await;
    // A new member, and one that was away.
    let second = places[1].start().await;
    join(&first, &places[1]).await;
    eventually("it came by a snapshot", async || second.stats()["port"]["snapshots_received"] == 1).await;
    assert_eq!(get(&second, "last").await.as_deref(), Some("one"));
    let third = places[2].start().await;
    join(&first, &places[2]).await;
    third.halt().await;
    for i in 0..200 {
        put(&[&first], &format!("more{i}"), "v").await;
    }
    eventually("the log is purged further", async || {
        first.stats()["raft"]["purged_index"].as_u64() > Some(300)
    })
    .await;
    let third = places[2].start().await;
    assert_eq!(get(&third, "more199").await.as_deref(), Some("v"));
    eventually("it came by a snapshot", async || third.stats()["port"]["snapshots_received"] == 1).await;
    let members = vec![first, second, third];
    same_state(&members).await;
    stop_all(members).await;
    // What was installed survives a restart.
    let (first, third) = (places[0].start().await, places[2].start().await);
    assert_eq!(get(&third, "key7").await.map(|value| value.len()), Some(big.len()));
    stop_all(vec![first, third]).await;
}

/// Else the member that needs it would wait for ever, and nobody would know why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_comes_upon_damage_in_what_it_sends_says_so_and_leaves() {
    let places = [small(Place::new("node1").bootstrap()), small(Place::new("node2"))];
    let first = places[0].start().await;
    leads(&first).await;
    let value = "a value that is found again ".repeat(40);
    for i in 0..200 {
        put(&[&first], &format!("key{i}"), &value).await;
    }
    eventually("the log is purged", async || first.stats()["raft"]["purged_index"].as_u64() > Some(50)).await;
    first.shutdown().await;
    let tree = places[0].dir.path().join("tree.db");
    let mut bytes = std::fs::read(&tree).unwrap();
    // All there are: one of them may be in a page that is free by now.
    let starts = 0..bytes.len() - value.len();
    let places_of_value: Vec<usize> =
        starts.filter(|at| bytes[*at..].starts_with(value.as_bytes())).collect();
    assert!(!places_of_value.is_empty());
    places_of_value.into_iter().for_each(|at| bytes[at + 500] ^= 0x10);
    std::fs::write(&tree, bytes).unwrap();

    let first = places[0].start().await;
    leads(&first).await;
    let second = places[1].start().await;
    let joining = tokio::spawn({
        let (first, request) = (first.clone(), places[1].join_request());
        async move { first.join(&request).await }
    });
    let fault = tokio::time::timeout(PATIENCE, first.failed()).await.expect("it says so");
    assert!(fault.damaged && fault.text.contains("corrupt at page"), "{fault}");
    joining.abort();
    first.halt().await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_keep_no_more_log_than_its_bytes() {
    let place = Place::new("node1").bootstrap().tuned(|tuning| {
        tuning.checkpoint_bytes = 1 << 20;
        tuning.keep_bytes = 2 << 20;
    });
    let member = place.start().await;
    leads(&member).await;
    let big = "x".repeat(1 << 20);
    for i in 0..12 {
        put(&[&member], &format!("key{i}"), &big).await;
    }
    let log = |figure: &str| member.stats()["log"][figure].as_u64().unwrap();
    eventually("the log is purged to its last two values", async || {
        log("last_index") - log("first_index") <= 2
    })
    .await;
    for i in 0..12 {
        assert_eq!(get(&member, &format!("key{i}")).await.map(|value| value.len()), Some(big.len()));
    }
    member.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_whole_and_checksummed() {
    let place = Place::new("node1").bootstrap();
    let member = place.start().await;
    leads(&member).await;
    let big = "y".repeat(3 << 20);
    put(&[&member], "big", &big).await;
    put(&[&member], "small", "1").await;
    let backup = dump(&member).await;
    assert_eq!(&backup[..8], b"CONUREBK");
    let (mut at, mut kinds, mut data) = (10, Vec::new(), Vec::new());
    while at < backup.len() {
        let word = |from: usize| u32::from_le_bytes(backup[from..from + 4].try_into().unwrap());
        let len = word(at + 1) as usize;
        let payload = &backup[at + 9..at + 9 + len];
        let crc = crc32c::crc32c_append(crc32c::crc32c(&backup[at..at + 5]), payload);
        assert_eq!(crc, word(at + 5));
        kinds.push(backup[at]);
        if backup[at] == 2 {
            data.extend_from_slice(payload);
        }
        at += 9 + len;
    }
    assert_eq!((kinds.first(), kinds.last()), (Some(&1), Some(&3)));
    let contains = |needle: &[u8]| data.windows(needle.len()).any(|window| window == needle);
    assert!(contains(b"small") && contains(&big.as_bytes()[..1000]));
    assert!(data.len() > big.len());
    member.shutdown().await;
}

/// Leads to `to`, and breaks the first connection that carries so many bytes there.
async fn breaking(to: String, bytes: usize) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let broken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&broken);
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let (to, broken) = (to.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let Ok(onward) = TcpStream::connect(to).await else { return };
                let (mut from_read, mut from_write) = from.into_split();
                let (mut onward_read, mut onward_write) = onward.into_split();
                let there = async {
                    let (mut buffer, mut carried) = (vec![0; 64 << 10], 0);
                    while let Ok(len @ 1..) = from_read.read(&mut buffer).await {
                        carried += len;
                        let first = carried > bytes && broken.swap(1, Ordering::SeqCst) == 0;
                        if first || onward_write.write_all(&buffer[..len]).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::select! {
                    () = there => {}
                    _ = tokio::io::copy(&mut onward_read, &mut from_write) => {}
                }
            });
        }
    });
    (addr, broken)
}

/// The sender takes the receiver for an older one, and the other way round: what only newer ones know is not said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_older_minor_versions_take_entries_and_snapshots() {
    for minor in [0, 1] {
        let (first, mut second) = (small(Place::new("node1").bootstrap()), small(Place::new("node2")));
        let leader = first.start().await;
        leads(&leader).await;
        for i in 0..150 {
            put(&[&leader], &format!("key{i}"), "v").await;
        }
        eventually("the log is purged", async || leader.stats()["raft"]["purged_index"].as_u64() > Some(50))
            .await;
        let wire = Wire::of_minor(second.config.raft_addr.clone(), minor).await;
        second.config.raft_advertise_addr = wire.addr.clone();
        let member = second.start().await;
        join(&leader, &second).await;
        let port = |figure: &str| member.stats()["port"][figure].as_u64().unwrap();
        assert_eq!(port("snapshots_received"), 1, "minor {minor}");
        put(&[&leader], "after", "1").await;
        assert_eq!(get(&member, "after").await.as_deref(), Some("1"));
        // As the messages are numbered: a snapshot, one that can be resumed, and a sign of life.
        let (snapshot, resumable, installing) = (7, 12, 13);
        assert_eq!(wire.asked(snapshot), minor == 0, "minor {minor}");
        assert_eq!(wire.asked(resumable), minor == 1, "minor {minor}");
        assert!(!wire.answered(installing), "minor {minor}");
        let members = vec![leader, member];
        same_state(&members).await;
        stop_all(members).await;
    }
}

/// No faster than it is told to be: the time is what the bytes take at least.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_sent_no_faster_than_its_rate() {
    let rate = 4 << 20;
    let slow = |place: Place| small(place).tuned(|tuning| tuning.snapshot_rate = Some(rate));
    let (first, second) = (slow(Place::new("node1").bootstrap()), slow(Place::new("node2")));
    let leader = first.start().await;
    leads(&leader).await;
    let big = "x".repeat(100_000);
    for i in 0..120 {
        put(&[&leader], &format!("key{i}"), &big).await;
    }
    eventually("the log is purged", async || leader.stats()["raft"]["purged_index"].as_u64() > Some(50))
        .await;
    let member = second.start().await;
    let begun = Instant::now();
    join(&leader, &second).await;
    let took = begun.elapsed();
    assert_eq!(member.stats()["port"]["snapshots_received"], 1);
    let bytes = member.stats()["port"]["snapshot_bytes"].as_u64().unwrap();
    assert!(bytes > 11 << 20, "{bytes}");
    // The first chunk goes at once, and a tenth of a second may be made up for.
    let least = Duration::from_millis((bytes - (1 << 20)) * 1_000 / rate - 100);
    assert!(took >= least, "{bytes} bytes took {took:?}, less than {least:?}");
    stop_all(vec![leader, member]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_whose_connection_breaks_goes_on_at_its_last_whole_chunk() {
    let (first, mut second) = (small(Place::new("node1").bootstrap()), small(Place::new("node2")));
    let leader = first.start().await;
    leads(&leader).await;
    let big = "x".repeat(100_000);
    for i in 0..200 {
        put(&[&leader], &format!("key{i}"), &big).await;
    }
    eventually("the log is purged", async || leader.stats()["raft"]["purged_index"].as_u64() > Some(50))
        .await;
    let (addr, broken) = breaking(second.config.raft_addr.clone(), 12 << 20).await;
    second.config.raft_advertise_addr = addr;
    let member = second.start().await;
    join(&leader, &second).await;
    assert_eq!(broken.load(Ordering::SeqCst), 1, "nothing broke");
    let port = |figure: &str| member.stats()["port"][figure].as_u64().unwrap();
    assert_eq!((port("snapshots_received"), port("snapshots_resumed")), (1, 1));
    let whole = dump(&leader).await.len() as u64;
    assert!(port("snapshot_bytes") < whole + (1 << 20), "{} of {whole} bytes came", port("snapshot_bytes"));
    let members = vec![leader, member];
    same_state(&members).await;
    stop_all(members).await;
}

/// Puts through `leader` as fast as they go, until it is dropped.
struct Load(tokio::task::JoinHandle<()>);

impl Load {
    fn new(leader: &Member, value_bytes: usize) -> Self {
        let (leader, value) = (leader.clone(), bytes("v".repeat(value_bytes)));
        Self(tokio::spawn(async move {
            for number in 0_u64.. {
                leader.put(bytes(format!("load{}", number % 100)), value.clone()).await.unwrap();
            }
        }))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A leader with about 8 MB, which take more than a second for each that it sends them to.
async fn slow_sender(tune: impl Fn(&mut conure_member::Tuning)) -> (Place, Member) {
    let place = small(Place::new("node1").bootstrap()).tuned(|tuning| {
        tuning.snapshot_rate = Some(4 << 20);
        tune(tuning);
    });
    let leader = place.start().await;
    leads(&leader).await;
    let big = "x".repeat(50_000);
    for i in 0..160 {
        put(&[&leader], &format!("key{i}"), &big).await;
    }
    eventually("the log is purged", async || leader.stats()["raft"]["purged_index"].as_u64() > Some(50))
        .await;
    (place, leader)
}

/// The log that would be kept lasts for some milliseconds of such a load, and a snapshot takes two seconds: whoever got one would
/// need the next one, and so on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_joins_under_load_however_little_log_is_kept_and_however_slowly_a_snapshot_comes() {
    let (_first, leader) = slow_sender(|_| ()).await;
    let load = Load::new(&leader, 100);
    let second = Place::new("node2");
    let member = second.start().await;
    join(&leader, &second).await;
    drop(load);
    assert_eq!(member.stats()["port"]["snapshots_received"], 1);
    assert_eq!(leader.status().health, "ok");
    // What was kept for it goes.
    let held = || {
        let stats = leader.stats();
        let figure = |part: &str, name: &str| stats[part][name].as_u64().unwrap();
        figure("raft", "checkpoint_index") - figure("raft", "purged_index")
    };
    eventually("the log is as short as it was", async || held() <= 10).await;
    let members = vec![leader, member];
    same_state(&members).await;
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_cannot_keep_the_log_for_a_snapshot_says_so_and_what_to_change() {
    let (_first, leader) = slow_sender(|tuning| tuning.keep_bytes = 1 << 20).await;
    let load = Load::new(&leader, 10_000);
    let second = Place::new("node2");
    let member = second.start().await;
    let joining = tokio::spawn({
        let (leader, request) = (leader.clone(), second.join_request());
        async move { leader.join(&request).await }
    });
    eventually("it says so", async || {
        let health = leader.status().health;
        health.contains("node2") && health.contains("--snapshot-rate")
    })
    .await;
    // Less is written: the join ends, and all is well.
    drop(load);
    assert!(matches!(joining.await.unwrap(), Ok(JoinProgress::Voter(_))));
    eventually("it is well again", async || leader.status().health == "ok").await;
    stop_all(vec![leader, member]).await;
}
