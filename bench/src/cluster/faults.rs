//! What happens to clients when members are killed, start again or come in.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::http::Connection;
use super::latency::Outcome;
use super::load::{Kind, Until, key};
use super::system::{Cluster, System, Work};

/// After so long without an answer a client asks another member.
const PATIENCE: Duration = Duration::from_millis(250);
/// Between two attempts of a client that was refused.
const AGAIN: Duration = Duration::from_millis(2);
/// So long a client writes before the kill, and after it was served again.
const CALM: Duration = Duration::from_secs(1);
/// A pause that is longer is no result.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Clients beside a member that catches up.
const WRITERS: usize = 16;
/// How often each of them begins a write.
const WRITES_EVERY: Duration = Duration::from_millis(20);
/// The length of the values that a member catches up with.
const LARGE_VALUE: u64 = 64 << 10;

/// Kills the leader under a client that writes all the time, and gives the longest time in which no write of it was
/// answered. The killed member is back at the end.
///
/// # Errors
///
/// The cluster did not come back.
pub fn pause(cluster: &mut Cluster<'_>) -> Result<Duration> {
    let clients = cluster.clients()?;
    let leader = cluster.leader()?;
    let (system, stop) = (cluster.system, AtomicBool::new(false));
    let request = system.put_request(&key(0), &[b'v'; 256]);
    let paused = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_on(&clients, &request, &stop));
        std::thread::sleep(CALM);
        let killed = cluster.kill(leader);
        // The client decides when it is served again: it stops by itself.
        stop.store(true, Ordering::Relaxed);
        let paused = writer.join().ok().context("the client panicked");
        killed.and(paused)
    })??;
    cluster.restart(leader)?;
    cluster.wait_for_member(leader, &key(0))?;
    Ok(paused)
}

/// Writes until some time after `stop`, at whoever answers; gives the longest pause between two answers.
fn write_on(members: &[SocketAddr], request: &[u8], stop: &AtomicBool) -> Result<Duration> {
    let (mut at, mut open) = (0, None::<Connection>);
    let (mut last, mut longest, mut stopped) = (Instant::now(), Duration::ZERO, None::<Instant>);
    loop {
        if stop.load(Ordering::Relaxed) && stopped.is_none() {
            stopped = Some(Instant::now());
        }
        let member = *members.get(at % members.len().max(1)).context("no members")?;
        let mut connection = match open.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(member, PATIENCE),
        };
        let answered = connection.as_mut().ok().and_then(|connection| connection.ask(request).ok());
        if answered.is_some_and(|(status, _)| status == 200) {
            open = connection.ok();
            longest = longest.max(last.elapsed());
            last = Instant::now();
            if stopped.is_some_and(|stopped| last > stopped + CALM) {
                return Ok(longest);
            }
        } else {
            anyhow::ensure!(last.elapsed() < PAUSE_MAX, "no write was answered for {PAUSE_MAX:?}");
            at += 1;
            std::thread::sleep(AGAIN);
        }
    }
}

/// Kills a follower and starts it again: the time until it answers a linearizable read.
///
/// # Errors
///
/// It did not.
pub fn restart(cluster: &mut Cluster<'_>) -> Result<Duration> {
    let follower = usize::from(cluster.leader()? == 0);
    cluster.kill(follower)?;
    let begun = Instant::now();
    cluster.restart(follower)?;
    cluster.wait_for_member(follower, &key(0))?;
    Ok(begun.elapsed())
}

/// How a new member caught up.
#[derive(Debug, Clone, Copy)]
pub struct CaughtUp {
    /// From its start until it answered a linearizable read.
    pub took: Duration,
    /// What writers saw meanwhile.
    pub writes: Outcome,
    /// What they saw in as long a time before.
    pub before: Outcome,
}

/// Fills a cluster with so many bytes, and brings in a fourth member under writers that write at a fixed pace.
///
/// # Errors
///
/// It did not come in.
pub fn catch_up(cluster: &mut Cluster<'_>, bytes: u64) -> Result<CaughtUp> {
    let value_len = usize::try_from(LARGE_VALUE)?;
    let until = Until::Requests(bytes.div_ceil(LARGE_VALUE));
    cluster.bear(&Work { kind: Kind::Put, clients: 16, value_len, until })?;
    // A key that the load does not write, so that it is known to be there.
    let last = "caughtup";
    cluster.store(last, b"v")?;
    let leader = *cluster.clients()?.first().context("no members")?;
    let system = cluster.system;
    let (before, ()) = beside_writers(system, leader, || {
        std::thread::sleep(CALM * 5);
        Ok(())
    })?;
    let (writes, took) = beside_writers(system, leader, || {
        let begun = Instant::now();
        cluster.add()?;
        cluster.wait_for_member(3, last)?;
        Ok(begun.elapsed())
    })?;
    Ok(CaughtUp { took, writes, before })
}

/// Does `work` while writers write at a fixed pace; gives how long their writes took.
fn beside_writers<T>(
    system: &dyn System,
    leader: SocketAddr,
    work: impl FnOnce() -> Result<T>,
) -> Result<(Outcome, T)> {
    let stop = AtomicBool::new(false);
    let requests: Vec<_> =
        (0..WRITERS).map(|writer| system.put_request(&format!("writer{writer:02}"), &[b'v'; 256])).collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let stop = &stop;
        let writers: Vec<_> =
            requests.iter().map(|request| scope.spawn(move || write_paced(leader, request, stop))).collect();
        let done = work();
        stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for writer in writers {
            times.extend(writer.join().ok().context("a writer panicked")??);
        }
        Ok((Outcome::of(times, begun.elapsed()), done?))
    })
}

fn write_paced(leader: SocketAddr, request: &[u8], stop: &AtomicBool) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(leader, PAUSE_MAX)?;
    let (mut times, mut due) = (Vec::new(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // From when it was due: a writer that was held up does not forgive it.
        let (status, body) = connection.ask(request)?;
        anyhow::ensure!(status == 200, "status {status}: {}", String::from_utf8_lossy(&body));
        times.push(due.elapsed());
        due += WRITES_EVERY;
    }
    Ok(times)
}
