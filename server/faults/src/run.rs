//! One run, from an empty network to a verdict.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use conure_e2e::workload::Recorder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::arguments::Arguments;
use crate::clients::{Counts, Shared, Worker};
use crate::cluster::Cluster;
use crate::faults::{Fault, Lane, Log, Scene, run_lane};
use crate::member::Start;
use crate::report::{Outcome, progress};
use crate::{judge, keys, last_reads, possible};

/// How many times as long as asked for a run goes on that waits for a fault to happen.
const EXTENSION_MAX: u64 = 3;

/// How often a line says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Small, so that members that stay away come back by a snapshot.
const SETTINGS: [(&str, &str); 2] =
    [("CONURE_CHECKPOINT_ENTRIES", "700"), ("CONURE_LOG_KEEP_ENTRIES", "100")];

#[expect(clippy::print_stdout, reason = "what happens and the verdict are this program's answer")]
fn say(line: &str) {
    println!("{line}");
}

/// Runs it; what is wrong is an exit code of 1.
pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..=u64::from(u32::MAX)));
    let topology = arguments.topology();
    let (faults, left_out) = possible::sift(arguments.faults()?, topology.voters());
    left_out.iter().for_each(|line| say(line));
    let folder = arguments.folder.join(format!("{seed}-{}", fastrand::u32(..)));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    say(&format!("seed {seed}, {topology}, {} s, in {}", arguments.seconds, folder.display()));

    let log = Arc::new(Log::default());
    let (seen, mut problems) = drive(arguments, seed, &faults, &folder, &log).await?;
    say("judging");
    let counts = seen.counts;
    problems.extend(unseen(arguments, &faults, left_out, &counts, &log));
    let history = folder.join("history.jsonl");
    let verdict = tokio::task::block_in_place(|| judge::judge(&arguments.judge, &history))?;
    problems.sort_unstable();
    for line in verdict.violations.iter().chain(&problems) {
        say(line);
    }
    let outcome = Outcome {
        seed,
        topology,
        seconds: seen.seconds,
        counts: &counts,
        faults: &log,
        verdict: &verdict,
        problems: &problems,
    };
    if outcome.passed() && !arguments.keep {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    } else {
        say(&format!("history and logs are in {}", folder.display()));
    }
    say(&outcome.line());
    Ok(if outcome.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn never_happened(faults: &[Fault], log: &Log) -> Vec<Fault> {
    let happened = log.counts();
    // A member that was away long enough may still be on its way back.
    let installed = |fault: &Fault| *fault != Fault::Snapshot || log.snapshots() > 0;
    faults.iter().copied().filter(|fault| !happened.contains_key(fault) || !installed(fault)).collect()
}

/// What a verdict would say nothing of.
fn unseen(
    arguments: &Arguments,
    faults: &[Fault],
    left_out: Vec<String>,
    counts: &Counts,
    log: &Log,
) -> Vec<String> {
    let mut unseen = Vec::new();
    if counts.acknowledged.load(Ordering::Relaxed) == 0 {
        unseen.push("no write was acknowledged".to_owned());
    }
    if arguments.strict {
        unseen.extend(never_happened(faults, log).iter().map(|fault| format!("{fault} never happened")));
        unseen.extend(left_out);
    }
    unseen
}

/// What all clients did, and for how long.
struct Seen {
    counts: Counts,
    seconds: u64,
}

/// Cluster, clients and faults, until the last read is answered and everything is down again.
async fn drive(
    arguments: &Arguments,
    seed: u64,
    faults: &[Fault],
    folder: &Path,
    log: &Arc<Log>,
) -> Result<(Seen, Vec<String>)> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let start = start(arguments, faults);
    let topology = arguments.topology();
    let sync = Duration::from_millis(arguments.fsync_ms);
    let cluster = Arc::new(Cluster::start(topology, &start, folder, sync).await?);
    let (recorder, file) = Recorder::start(&folder.join("history.jsonl"))?;
    let stop = CancellationToken::new();
    let shared = Arc::new(Shared {
        recorder,
        places: Arc::clone(&cluster.places),
        counts: Counts::default(),
        stop: stop.clone(),
    });

    let mut clients = JoinSet::new();
    let pace = Duration::from_secs_f64(f64::from(arguments.clients) / arguments.rate as f64);
    for number in 0..arguments.clients {
        let worker = Worker::new(Arc::clone(&shared), number + 1)?;
        clients.spawn(worker.run(rng.fork(), pace));
    }
    let mut lanes = JoinSet::new();
    let over = CancellationToken::new();
    for lane in [Lane::Network, Lane::Process, Lane::Storage] {
        let scene = Scene {
            cluster: Arc::clone(&cluster),
            log: Arc::clone(log),
            rng: rng.fork(),
            stop: over.clone(),
        };
        lanes.spawn(run_lane(scene, lane, faults.to_vec()));
    }
    let began = Instant::now();
    let watched = watch(arguments, faults, &cluster, &shared, log, &mut lanes).await;
    let seconds = began.elapsed().as_secs();
    over.cancel();
    note(&cluster, watched);
    while let Some(ended) = lanes.join_next().await {
        note(&cluster, ended.context("a fault ended badly").and_then(|done| done));
    }
    // Clients see the cluster come back.
    note(&cluster, cluster.heal().await);
    note(&cluster, cluster.until_ready().await);
    stop.cancel();
    while let Some(ended) = clients.join_next().await {
        ended.context("a client ended badly")?;
    }
    let names = keys::all(shared.recorder.now());
    say(&format!("reading {} keys on {} members", names.len(), topology.data));
    note(&cluster, last_reads::run(&shared, topology.data, &names, arguments.clients + 1).await);
    cluster.supervise()?;
    for line in cluster.panics().await {
        cluster.problem(line);
    }
    let problems = cluster.problems();
    drop(cluster);
    let shared = Arc::into_inner(shared).context("a client is left")?;
    drop(shared.recorder);
    file.await.context("the history's writer ended badly")??;
    Ok((Seen { counts: shared.counts, seconds }, problems))
}

/// What the members are started with.
fn start(arguments: &Arguments, faults: &[Fault]) -> Start {
    let mut environment: Vec<(String, String)> =
        SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    environment.extend(arguments.planted.iter().map(|bug| ("PLANTED_BUG".to_owned(), bug.clone())));
    Start {
        program: arguments.conure_db.clone(),
        environment,
        arbiter: false,
        faketime: possible::faketime().filter(|_| faults.contains(&Fault::Clock)),
    }
}

fn note(cluster: &Cluster, result: Result<()>) {
    if let Err(error) = result {
        cluster.problem(format!("{error:#}"));
    }
}

/// Says how far it is until the time is over, somebody interrupts, or something goes wrong.
async fn watch(
    arguments: &Arguments,
    faults: &[Fault],
    cluster: &Cluster,
    shared: &Shared,
    log: &Log,
    lanes: &mut JoinSet<Result<()>>,
) -> Result<()> {
    let began = Instant::now();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut tell = tokio::time::interval(TELL_EVERY);
    let mut look = tokio::time::interval(Duration::from_millis(200));
    let end = tokio::time::sleep(Duration::from_secs(arguments.seconds));
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => {
                let waits = arguments.strict && !never_happened(faults, log).is_empty();
                if !waits || began.elapsed().as_secs() >= arguments.seconds.saturating_mul(EXTENSION_MAX) {
                    return Ok(());
                }
                end.as_mut().reset(tokio::time::Instant::now() + TELL_EVERY);
            }
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = tell.tick() => say(&progress(began.elapsed().as_secs(), &shared.counts, log)),
            _ = look.tick() => {
                cluster.supervise()?;
                if !cluster.problems().is_empty() {
                    return Ok(());
                }
            }
            Some(ended) = lanes.join_next() => ended.context("a fault ended badly")??,
        }
    }
}
