//! A cluster under full load for minutes: its memory, its file descriptors and its latency must stay flat.
//!
//! `cargo xtask soak` sets `CONURE_SOAK_SECONDS` and `CONURE_SOAK_MEMBERS`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests may fail as loudly as tests, and say what they saw"
)]

#[path = "server/common.rs"]
#[expect(dead_code, reason = "shared with the tests that are short")]
mod common;

use std::fs;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::Node;
use conure_client::Client;

/// Half of them write, half read.
const CLIENTS: u64 = 64;
/// Few enough that the database stops growing long before the first half is over.
const KEYS: u64 = 20_000;
const VALUE_BYTES: usize = 256;
/// So many samples are taken in all; the first third is for warming up.
const SAMPLES: usize = 30;

/// What a member may grow by over the second half of what counts: a tenth, and what an allocator keeps.
const GROWTH_BYTES: u64 = 16 << 20;
const GROWTH_DESCRIPTORS: u64 = 16;
/// Latency on a machine that others use too.
const GROWTH_LATENCY: u64 = 2;

/// One member at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    anonymous_bytes: u64,
    descriptors: u64,
}

fn sample(node: &Node) -> Sample {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let anonymous_bytes = line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
    let descriptors = fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count() as u64;
    Sample { anonymous_bytes, descriptors }
}

/// What the clients saw between two samples, in microseconds.
#[derive(Debug, Default)]
struct Seen {
    writes: Vec<u32>,
    reads: Vec<u32>,
}

/// The middle one and the one that a hundredth is above.
fn quantiles(times: &mut [u32]) -> (u64, u64) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(0).into();
    (at(50), at(99))
}

fn median(figures: &[u64]) -> u64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// The medians of the first and of the second half of what follows the first third.
fn halves(figures: &[u64]) -> (u64, u64) {
    let counted = &figures[figures.len() / 3..];
    let (first, second) = counted.split_at(counted.len() / 2);
    (median(first), median(second))
}

async fn work(
    number: u64,
    clients: Vec<Client>,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    errors: Arc<AtomicU64>,
) {
    let mut turn = number;
    while !stop.load(Ordering::Relaxed) {
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = format!("key/{:08}", (turn >> 33) % KEYS);
        let client = &clients[usize::try_from((turn >> 20) % clients.len() as u64).unwrap()];
        let (begun, writes) = (Instant::now(), number.is_multiple_of(2));
        let done = if writes {
            client.put(key.as_bytes(), vec![7; VALUE_BYTES]).await.map(drop)
        } else {
            client.get(key.as_bytes()).await.map(drop)
        };
        let took = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        match done {
            Ok(()) if writes => seen.lock().unwrap().writes.push(took),
            Ok(()) => seen.lock().unwrap().reads.push(took),
            Err(error) => {
                errors.fetch_add(1, Ordering::Relaxed);
                println!("a request failed: {error}");
            }
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_grows_under_full_load() {
    let members = usize::try_from(setting("CONURE_SOAK_MEMBERS", 3)).unwrap();
    let window = Duration::from_secs(setting("CONURE_SOAK_SECONDS", 60)) / u32::try_from(SAMPLES).unwrap();
    let nodes = common::cluster(members, &["--leader-routing=forward"]).await;
    let clients: Vec<Client> = nodes.iter().map(Node::client).collect();
    let (stop, seen, errors) =
        (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::new(AtomicU64::new(0)));
    let workers: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (stop, seen, errors) = (Arc::clone(&stop), Arc::clone(&seen), Arc::clone(&errors));
            tokio::spawn(work(number, clients.clone(), stop, seen, errors))
        })
        .collect();

    println!(
        "{members} members, {CLIENTS} clients, {KEYS} keys of {VALUE_BYTES} bytes, a line each {window:?}"
    );
    println!(
        "{:>8} {:>8}  write p50/p99 ms  read p50/p99 ms  memory MiB/descriptors of each member",
        "writes/s", "reads/s"
    );
    let (mut samples, mut write_p99, mut read_p99) = (vec![Vec::new(); members], Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        tokio::time::sleep(window).await;
        let Seen { mut writes, mut reads } = std::mem::take(&mut *seen.lock().unwrap());
        let (write, read) = (quantiles(&mut writes), quantiles(&mut reads));
        write_p99.push(write.1);
        read_p99.push(read.1);
        let ms = |us: u64| us as f64 / 1000.0;
        let rate = |count: usize| count as f64 / window.as_secs_f64();
        let mut each = String::new();
        for (node, samples) in nodes.iter().zip(&mut samples) {
            let now = sample(node);
            each += &format!("  {}/{}", now.anonymous_bytes >> 20, now.descriptors);
            samples.push(now);
        }
        println!(
            "{:>8.0} {:>8.0}  {:>7.1}/{:<8.1} {:>7.1}/{:<8.1}{each}",
            rate(writes.len()),
            rate(reads.len()),
            ms(write.0),
            ms(write.1),
            ms(read.0),
            ms(read.1)
        );
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }

    let mut grown = Vec::new();
    let mut judge = |what: String, figures: &[u64], grows: &dyn Fn(u64, u64) -> bool| {
        let (before, after) = halves(figures);
        println!("{what}: {before} in the first half, {after} in the second");
        if grows(before, after) {
            grown.push(what);
        }
    };
    for (node, samples) in nodes.iter().zip(&samples) {
        let figures = |of: fn(&Sample) -> u64| samples.iter().map(of).collect::<Vec<u64>>();
        judge(
            format!("{}: bytes of memory", node.name),
            &figures(|now| now.anonymous_bytes),
            &|before, after| after > before + before / 10 + GROWTH_BYTES,
        );
        judge(
            format!("{}: file descriptors", node.name),
            &figures(|now| now.descriptors),
            &|before, after| after > before + GROWTH_DESCRIPTORS,
        );
    }
    judge("p99 of writes in us".to_owned(), &write_p99, &|before, after| after > before * GROWTH_LATENCY);
    judge("p99 of reads in us".to_owned(), &read_p99, &|before, after| after > before * GROWTH_LATENCY);
    assert!(grown.is_empty(), "it grows: {}", grown.join(", "));
    assert_eq!(errors.load(Ordering::Relaxed), 0, "requests failed although nobody broke anything");
}
