//! A gigabyte of data on little memory: needs root, for control groups.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail as loudly as tests")]

#[path = "server/common.rs"]
#[expect(dead_code, reason = "shared with the tests that need no root")]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::Node;
use conure_client::Client;
use conure_client::api::Suffrage;

const LIMIT_BYTES: u64 = 256 << 20;
const VALUE_BYTES: usize = 64 << 10;
const VALUES: u32 = 16 << 10;
const WRITERS: u32 = 8;

/// A control group that limits memory, page cache included; gone with its owner.
struct Limited {
    path: PathBuf,
}

impl Limited {
    fn new(name: &str) -> Self {
        let legacy = Path::new("/sys/fs/cgroup/memory");
        let (parent, file) = if legacy.is_dir() {
            (legacy, "memory.limit_in_bytes")
        } else {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        };
        let path = parent.join(format!("conuredb-test-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap_or_else(|e| panic!("{}: {e}; this test needs root", path.display()));
        let limited = Self { path };
        limited.write(file, &LIMIT_BYTES.to_string());
        limited
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path.join(file);
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    fn take(&self, node: &Node) {
        self.write("cgroup.procs", &node.pid().to_string());
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // Its process was ended just before and leaves the group when it is gone.
        let began = std::time::Instant::now();
        while fs::remove_dir(&self.path).is_err() && began.elapsed() < common::DEADLINE {
            std::thread::yield_now();
        }
    }
}

/// Bytes that differ from value to value and do not compress.
fn value(number: u32) -> Vec<u8> {
    let mut state = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).take(VALUE_BYTES / 8).flatten().collect()
}

fn key(number: u32) -> Vec<u8> {
    format!("value/{number:08}").into_bytes()
}

async fn fill(client: &Client) {
    let next = Arc::new(AtomicU32::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (client, next) = (client.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= VALUES {
                        return;
                    }
                    client.put(&key(number), value(number)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Anonymous memory, which cannot be given back as the map of the tree can, in bytes.
fn anonymous_bytes(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_reaches_a_new_member_with_a_quarter_of_its_memory() {
    let (small_leader, small_learner) = (Limited::new("leader"), Limited::new("learner"));
    let leader = Node::ready("node1", &[]).await;
    small_leader.take(&leader);
    fill(&leader.client()).await;
    let stats = leader.client().raft_stats().await.unwrap();
    let purged = stats["raft"]["purged_index"].as_u64().unwrap_or(0);
    assert!(purged > 0, "the leader still holds the whole log: {stats}");

    let learner = Node::start("node2", &[]).await;
    small_learner.take(&learner);
    let mut joined = leader.client().join("node2", &learner.raft_address()).await.unwrap();
    let began = std::time::Instant::now();
    while joined.suffrage != Suffrage::Voter {
        assert!(began.elapsed() < 3 * common::DEADLINE, "it does not catch up: {joined:?}");
        joined = leader.client().join("node2", &learner.raft_address()).await.unwrap();
    }
    learner.until_ready().await;
    let received = learner.client().raft_stats().await.unwrap()["port"]["snapshots_received"].as_u64();
    assert!(received.is_some_and(|count| count > 0), "no snapshot was received");

    for number in (0..VALUES).step_by(97).chain([VALUES - 1]) {
        let found = learner.client().get(&key(number)).await.unwrap().unwrap();
        assert!(found.bytes == value(number), "value {number} arrived changed");
    }
    for node in [&leader, &learner] {
        let anonymous = anonymous_bytes(node);
        println!("{}: {} MiB of anonymous memory", node.name, anonymous >> 20);
        assert!(anonymous < LIMIT_BYTES, "{} holds {anonymous} bytes", node.name);
    }
}
