//! Disks that run full or stop answering: needs root, to mount and freeze volumes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail as loudly as tests")]

#[path = "server/common.rs"]
#[expect(dead_code, reason = "shared with the tests that need no root")]
mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use common::{Node, until};
use conure_client::api::Suffrage;
use conure_client::{Client, problem};
use tempfile::TempDir;

const VOLUME_BYTES: u64 = 224 << 20;
/// As that of a larger volume; a quarter more is needed once it ran short.
const RESERVE: &str = "--disk-reserve=64MiB";
const VALUE_BYTES: usize = 64 << 10;

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {told}; this test needs root");
}

/// A small ext4 volume over a loop device, gone with its owner. Members keep their logs for people elsewhere.
struct Volume {
    folder: TempDir,
}

impl Volume {
    fn new() -> Self {
        Self::of(VOLUME_BYTES)
    }

    fn of(bytes: u64) -> Self {
        let volume = Self { folder: tempfile::tempdir().unwrap() };
        let image = volume.folder.path().join("image");
        fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        fs::create_dir(volume.mounted()).unwrap();
        run("mkfs.ext4", &["-q", "-F", "-m", "0", image.to_str().unwrap()]);
        run("mount", &["-o", "loop", image.to_str().unwrap(), volume.mounted().to_str().unwrap()]);
        symlink(volume.mounted(), volume.folder.path().join("data")).unwrap();
        volume
    }

    /// One in memory on which no more than so many files can be made.
    fn of_files(count: u32) -> Self {
        let volume = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(volume.mounted()).unwrap();
        let options = format!("size=400m,nr_inodes={count}");
        run("mount", &["-t", "tmpfs", "-o", &options, "none", volume.mounted().to_str().unwrap()]);
        symlink(volume.mounted(), volume.folder.path().join("data")).unwrap();
        volume
    }

    fn mounted(&self) -> PathBuf {
        self.folder.path().join("volume")
    }

    fn node(&self, name: &str) -> Node {
        Node::over(name, &self.folder.path().join("data"), &[RESERVE])
    }

    fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.mounted()).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Leaves no more than so many bytes free, until the file that takes them is removed.
    fn leave(&self, bytes: u64) -> PathBuf {
        let path = self.mounted().join("filler");
        let file = fs::File::create(&path).unwrap();
        let mut len = 0;
        for step in [8 << 20, 1 << 20, 64 << 10, 4 << 10] {
            while self.free_bytes() >= bytes + step {
                let flags = rustix::fs::FallocateFlags::empty();
                if rustix::fs::fallocate(&file, flags, len, step).is_err() {
                    break;
                }
                len += step;
            }
        }
        path
    }

    /// Writes to it wait until the guard is dropped.
    fn freeze(&self) -> Frozen {
        Frozen::new(self.mounted())
    }

    /// From now on writes to it wait now and then, until the guard is dropped.
    fn slow(&self) -> Slow {
        let (mounted, (stop, stopped)) = (self.mounted(), mpsc::channel::<()>());
        let pulse = move || {
            while stopped.recv_timeout(PULSE / 20) == Err(RecvTimeoutError::Timeout) {
                let _frozen = Frozen::new(mounted.clone());
                let _ = stopped.recv_timeout(PULSE);
            }
        };
        Slow { _stop: stop, pulse: Some(thread::spawn(pulse)) }
    }
}

/// How long a slow volume does not answer at a time.
const PULSE: Duration = Duration::from_millis(400);

struct Slow {
    _stop: mpsc::Sender<()>,
    pulse: Option<thread::JoinHandle<()>>,
}

impl Slow {
    fn end(mut self) {
        drop(self._stop);
        self.pulse.take().map(thread::JoinHandle::join).unwrap().unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Where it is still in use, it goes when it no longer is.
        let _ = Command::new("umount").arg("--lazy").arg(self.mounted()).output();
    }
}

/// Kept after the members that use the volume: they cannot end while it is frozen.
struct Frozen(PathBuf);

impl Frozen {
    fn new(mounted: PathBuf) -> Self {
        run("fsfreeze", &["--freeze", mounted.to_str().unwrap()]);
        Self(mounted)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        run("fsfreeze", &["--unfreeze", self.0.to_str().unwrap()]);
    }
}

fn key(number: u32) -> Vec<u8> {
    format!("key/{number:05}").into_bytes()
}

/// Whether a put is refused because of the disk; any other refusal fails the test.
async fn refused(client: &Client, number: u32) -> bool {
    match client.put(&key(number), vec![7; VALUE_BYTES]).await {
        Ok(_) => false,
        Err(error) => {
            let told = error.problem().unwrap_or_else(|| panic!("{error}"));
            assert_eq!((told.status, told.kind.as_str()), (507, problem::DISK_NEARLY_FULL), "{error}");
            true
        }
    }
}

async fn health(client: &Client) -> String {
    client.status().await.unwrap().health
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_takes_no_puts_on_a_nearly_full_disk_and_takes_them_again() {
    let volume = Volume::new();
    let mut node = volume.node("node1");
    node.restart().await;
    node.until_ready().await;
    let client = node.client();
    for number in 0..10 {
        assert!(!refused(&client, number).await);
    }
    let filler = volume.leave(40 << 20);
    until("it refuses", async || refused(&client, 10).await).await;
    assert!(client.readyz(None).await.unwrap().ok);
    assert_eq!(client.get(&key(3)).await.unwrap().unwrap().bytes, vec![7; VALUE_BYTES]);
    assert!(client.delete(&key(4)).await.unwrap().deleted);
    assert!(health(&client).await.contains("nearly full"));
    assert_eq!(node.metric("conure_disk_nearly_full").await, 1);
    assert!(node.metric("conure_disk_free_bytes").await < 64 << 20);

    // A little more than the reserve is not enough yet.
    fs::remove_file(&filler).unwrap();
    let filler = volume.leave(72 << 20);
    assert!(refused(&client, 10).await);
    fs::remove_file(filler).unwrap();
    assert!(!refused(&client, 10).await);
    until("it is well again", async || health(&client).await == "ok").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_make_room_on_a_disk_that_its_own_data_filled() {
    let volume = Volume::new();
    let mut node = volume.node("node1");
    node.restart().await;
    node.until_ready().await;
    let client = node.client();
    let mut written = 0;
    while !refused(&client, written).await {
        written += 1;
        assert!(u64::from(written) * (VALUE_BYTES as u64) < VOLUME_BYTES, "it never refused");
    }
    assert!(written > 200, "it refused after {written} values");
    for number in 1..written {
        assert!(client.delete(&key(number)).await.unwrap().deleted);
    }
    until("there is room again", async || !refused(&client, 1).await).await;
    assert_eq!(client.get(&key(0)).await.unwrap().unwrap().bytes, vec![7; VALUE_BYTES]);
    node.stop().await;
    node.restart().await;
    node.until_ready().await;
    assert_eq!(client.get(&key(1)).await.unwrap().unwrap().bytes, vec![7; VALUE_BYTES]);
    assert!(client.get(&key(2)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_takes_no_puts_on_a_disk_with_hardly_any_inodes_and_takes_them_again() {
    let volume = Volume::of_files(400);
    let mut node = volume.node("node1");
    node.restart().await;
    node.until_ready().await;
    let client = node.client();
    assert!(!refused(&client, 0).await);
    let fillers = volume.mounted().join("fillers");
    fs::create_dir(&fillers).unwrap();
    let free = || rustix::fs::statvfs(volume.mounted()).unwrap().f_favail;
    for number in 0.. {
        if free() < 40 {
            break;
        }
        fs::File::create(fillers.join(number.to_string())).unwrap();
    }
    until("it refuses", async || refused(&client, 1).await).await;
    let told = client.put(&key(1), "1").await.unwrap_err();
    let detail = &told.problem().unwrap().detail;
    assert!(detail.contains("out of inodes") && detail.contains("df -i"), "{detail}");
    assert!(health(&client).await.contains("df -i"));
    assert_eq!(node.metric("conure_disk_nearly_full").await, 1);
    assert_eq!(client.get(&key(0)).await.unwrap().unwrap().bytes, vec![7; VALUE_BYTES]);
    assert!(client.delete(&key(0)).await.unwrap().deleted);
    fs::remove_dir_all(fillers).unwrap();
    assert!(!refused(&client, 1).await);
    until("it is well again", async || health(&client).await == "ok").await;
    node.stop().await;
}

/// As a claim of 64Mi may be: the usual reserve leaves most of it to the data.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_64_mib_is_of_use_refuses_in_time_and_recovers() {
    let volume = Volume::of(64 << 20);
    let mut node = Node::over("node1", &volume.folder.path().join("data"), &[]);
    node.restart().await;
    node.until_ready().await;
    let client = node.client();
    // Many times what the volume holds, over keys that do not fill it. Where they come faster than checkpoints, some are
    // refused for a moment.
    for number in 0..2_000 {
        until("it is taken", async || !refused(&client, number % 100).await).await;
    }
    // Then more keys than it holds.
    let mut written = 100;
    while !refused(&client, written).await {
        written += 1;
        assert!(u64::from(written) * (VALUE_BYTES as u64) < 64 << 20, "it never refused");
    }
    println!("{written} values of 64 KiB");
    for number in 1..written {
        assert!(client.delete(&key(number)).await.unwrap().deleted);
    }
    until("there is room again", async || !refused(&client, 1).await).await;
    node.stop().await;
    node.restart().await;
    node.until_ready().await;
    assert_eq!(client.get(&key(0)).await.unwrap().unwrap().bytes, vec![7; VALUE_BYTES]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_any_room_ends_the_process_with_a_clear_message() {
    let volume = Volume::new();
    let mut node = volume.node("node1");
    node.restart().await;
    node.until_ready().await;
    let client = node.client();
    for number in 0..2_000 {
        client.put(&key(number), vec![7; 100]).await.unwrap();
    }
    let filler = volume.leave(0);
    // Deletes are taken, of absent keys too, as long as the log has room that it took ahead.
    let mut deleted = 0;
    while client.delete(&key(deleted)).await.is_ok() {
        deleted += 1;
        assert!(deleted < 20_000, "{} bytes are free", volume.free_bytes());
    }
    let status = node.left().await;
    assert_eq!(status.code(), Some(1), "{}", node.log());
    let log = node.log();
    let last = log.lines().last().unwrap();
    assert!(last.starts_with("conure-db: the storage failed") && last.contains("No space left"), "{last}");

    fs::remove_file(filler).unwrap();
    node.restart().await;
    node.until_ready().await;
    for number in 0..deleted {
        assert!(client.get(&key(number)).await.unwrap().is_none(), "an acknowledged delete is lost");
    }
    // Of the one that failed nothing is known.
    for number in deleted + 1..2_000 {
        assert_eq!(client.get(&key(number)).await.unwrap().unwrap().bytes, vec![7; 100]);
    }
}

/// Three members, each on a volume of its own; the first leads.
async fn three() -> (Vec<Volume>, Vec<Node>) {
    let volumes: Vec<Volume> = (0..3).map(|_| Volume::new()).collect();
    let mut nodes: Vec<Node> =
        volumes.iter().zip(1..).map(|(volume, number)| volume.node(&format!("node{number}"))).collect();
    for at in 0..3 {
        nodes[at].restart().await;
        if at > 0 {
            let address = nodes[at].raft_address();
            let joined = nodes[0].client().join(&nodes[at].name, &address).await.unwrap();
            assert_eq!(joined.suffrage, Suffrage::Voter);
        }
        nodes[at].until_ready().await;
    }
    (volumes, nodes)
}

async fn leader(node: &Node) -> String {
    node.client().status().await.unwrap().leader
}

async fn all_hold(nodes: &[Node], count: u32) {
    for node in nodes {
        node.until_ready().await;
        for number in 0..count {
            assert!(node.client().get(&key(number)).await.unwrap().is_some(), "{} lacks {number}", node.name);
        }
    }
}

/// How long 300 puts take, one after another.
async fn puts(client: &Client) -> Duration {
    let begun = Instant::now();
    for number in 0..300 {
        client.put(&key(number), vec![7; 1_000]).await.unwrap();
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_disk_is_slow_or_does_not_answer_holds_nobody_up() {
    let (volumes, nodes) = three().await;
    let term = nodes[0].client().status().await.unwrap().term;
    let client = nodes[0].client();
    let well = puts(&client).await;
    let slow = volumes[2].slow();
    let beside_slow = puts(&client).await;
    slow.end();
    let frozen = volumes[2].freeze();
    let beside_frozen = puts(&client).await;
    println!(
        "300 puts took {well:?}, {beside_slow:?} beside a slow disk, {beside_frozen:?} beside a dead one"
    );
    // Each that waited for the slow one would have waited for some tenths of a second.
    let bound = 5 * well + 10 * PULSE;
    assert!(beside_slow < bound && beside_frozen < bound);
    let status = nodes[0].client().status().await.unwrap();
    assert_eq!((status.leader.as_str(), status.term), ("node1", term));
    drop(frozen);
    all_hold(&nodes, 300).await;
}

/// How long a sync on a slow disk takes.
const SLOW_SYNC: Duration = Duration::from_millis(700);

/// Each sync takes so long that the average says more than half a second in the end, and none of them two: only the average
/// tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_is_slow_lets_another_lead() {
    let (volumes, nodes) = three().await;
    let syncs = async || nodes[0].client().raft_stats().await.unwrap()["log"]["syncs"].as_u64().unwrap();
    let (mut pulses, mut longest) = (0, Duration::ZERO);
    while leader(&nodes[1]).await == "node1" {
        pulses += 1;
        assert!(pulses < 60, "node1 still leads");
        let before = syncs().await;
        let begun = Instant::now();
        let frozen = volumes[0].freeze();
        // Answered once the leader's disk does, or refused where it leads no more.
        let client = nodes[1].client();
        let put = tokio::spawn(async move { client.put(&key(pulses), "v").await });
        tokio::time::sleep(SLOW_SYNC).await;
        drop(frozen);
        longest = longest.max(begun.elapsed());
        let _ = put.await.unwrap();
        until("the leader's disk has it too", async || syncs().await > before).await;
    }
    println!("{pulses} slow syncs, of which the longest took {longest:?}");
    assert!(longest < Duration::from_secs(2), "this machine is too slow to tell: {longest:?}");
    until("it says why", async || nodes[0].log().contains("the log's disk is slow")).await;
    until("another one leads", async || {
        let now = leader(&nodes[1]).await;
        !now.is_empty() && now != "node1"
    })
    .await;
    nodes[1].client().put(b"after", "1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_does_not_answer_lets_another_lead() {
    let (volumes, nodes) = three().await;
    let frozen = volumes[0].freeze();
    let servers = nodes[1..].iter().map(Node::address);
    let client = servers.fold(Client::builder(), |builder, address| builder.server(address)).build().unwrap();
    let mut number = 0;
    until("another one leads", async || {
        // Followers send it to whoever leads; of unknown outcome is what the change of leaders broke off.
        let _ = client.put(&key(number), vec![7; 1_000]).await;
        number += 1;
        let now = leader(&nodes[1]).await;
        !now.is_empty() && now != "node1"
    })
    .await;
    for number in 0..50 {
        client.put(&key(number), "of the new leader").await.unwrap();
    }
    drop(frozen);
    all_hold(&nodes, 50).await;
    until("the old one follows", async || leader(&nodes[0]).await == leader(&nodes[1]).await).await;
}

/// How long the disk does not answer: longer than any probe would wait.
const STALL: Duration = Duration::from_secs(120);

/// Asks the member every second for as long as the disk stalls whether it lives.
async fn is_alive_throughout(node: &Node) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < STALL {
        let answer = client.get(node.url("/livez")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{} after {:?}: {}", node.name, begun.elapsed(), node.log());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_disk_does_not_answer_for_two_minutes_is_alive() {
    let volume = Volume::new();
    let mut node = volume.node("node1");
    node.restart().await;
    node.until_ready().await;
    let client = node.client();
    client.put(&key(0), "before").await.unwrap();
    let frozen = volume.freeze();
    // Some that wait for the log's disk, until they are told that their outcome is unknown.
    let waiting: Vec<_> = (1..50)
        .map(|number| {
            let client = node.client();
            tokio::spawn(async move { client.put(&key(number), vec![7; VALUE_BYTES]).await })
        })
        .collect();
    is_alive_throughout(&node).await;
    drop(frozen);
    for put in waiting {
        let _ = put.await.unwrap();
    }
    until("it takes puts again", async || client.put(&key(1), "after").await.is_ok()).await;
    assert_eq!(client.get(&key(0)).await.unwrap().unwrap().bytes, "before");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_without_a_quorum_whose_disks_do_not_answer_are_alive() {
    let (volumes, mut nodes) = three().await;
    nodes[2].kill();
    nodes[1].kill();
    let frozen = volumes[0].freeze();
    let client = nodes[0].client();
    let put = tokio::spawn(async move { client.put(&key(1), "1").await });
    is_alive_throughout(&nodes[0]).await;
    drop(frozen);
    let _ = put.await.unwrap();
    for node in &mut nodes[1..] {
        node.restart().await;
    }
    until("it takes puts again", async || nodes[0].client().put(&key(1), "1").await.is_ok()).await;
}
