//! The process `conure-db`: from its command line to its exit code.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use conure_client::exit;
use conure_member::{Fault, Member, MemberConfig, STOP_MAX, StartError, Tuning};
use conure_program::say;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tracing_subscriber::EnvFilter;

use crate::commands::{self, CommandError};
use crate::config::{self, Command, Config, LogFormat};
use crate::files::{self, Connections};
use crate::http::{self, App};
use crate::signals::Signals;
use crate::{join, unreadable, wait};

/// The name of the program.
const PROGRAM: &str = "conure-db";
/// The end that users can mend: settings, the data directory.
const UNUSABLE: u8 = 2;
/// The end that they cannot: the disk failed, a task ended, the wait timed out.
const FAILED: u8 = 1;
/// How long the requests in flight keep the member from handing leadership over.
const REQUESTS_FIRST: Duration = Duration::from_secs(1);
/// Longer than the member's own bound on stopping: it is met only where that one does not hold.
const SHUTDOWN_TIMEOUT: Duration = STOP_MAX.saturating_add(Duration::from_secs(2));
/// How long the requests in flight may take to be answered once the member failed.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// How long tasks may take to end once nothing of them is wanted any more.
const TASKS_END_MAX: Duration = Duration::from_millis(500);

/// Why the process ends, other than well.
#[derive(Debug)]
struct Exit {
    code: u8,
    line: String,
}

impl Exit {
    fn unusable(reason: impl std::fmt::Display) -> Self {
        Self { code: UNUSABLE, line: reason.to_string() }
    }

    fn failed(reason: impl std::fmt::Display) -> Self {
        Self { code: FAILED, line: reason.to_string() }
    }

    /// As [`exit::DATA_DAMAGED_LINE`] says.
    fn damaged(reason: impl std::fmt::Display) -> Self {
        Self { code: exit::DATA_DAMAGED, line: format!("data damaged: {reason}") }
    }

    fn not_started(error: StartError) -> Self {
        match error {
            StartError::Damaged(_) => Self::damaged(error),
            _ => Self::unusable(error),
        }
    }
}

/// Runs a command line to its end.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    conure_program::end_on_panic(PROGRAM, FAILED.into());
    let environment: BTreeMap<String, OsString> =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
    let result = config::load(args, &environment).map_err(Exit::unusable).and_then(run);
    let code = result.unwrap_or_else(|exit| {
        say!("{PROGRAM}: {}", exit.line.replace('\n', " "));
        ExitCode::from(exit.code)
    });
    conure_program::flush();
    code
}

fn run(command: Command) -> Result<ExitCode, Exit> {
    let done = match command {
        Command::Print(text) => return Ok(conure_program::usage(PROGRAM, false, &text)),
        Command::Wait(wait) => runtime()?.block_on(run_wait(&wait)),
        Command::Tool(tool) => {
            unreadable::end_tool(FAILED);
            commands::run(&tool).map_err(|error| match error {
                CommandError::Unusable(_) => Exit::unusable(error),
                CommandError::Failed(_) => Exit::failed(error),
            })
        }
        Command::Run(config) => {
            unreadable::end_member(&config.data_dir);
            let runtime = runtime()?;
            let result = runtime.block_on(run_member(*config));
            // The reason is the last line: tasks that still log end first. A thread that hangs on a dead disk is not
            // waited for.
            runtime.shutdown_timeout(TASKS_END_MAX);
            result
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Exit::failed)
}

async fn run_wait(config: &config::WaitConfig) -> Result<(), Exit> {
    let mut signals = Signals::new().map_err(Exit::failed)?;
    tokio::select! {
        signal = signals.next() => Err(Exit::failed(format!("stopped by {signal}"))),
        result = wait::wait(config, conure_program::say_line) => result.map_err(|error| match error {
            wait::WaitError::Peers(_) => Exit::unusable(error),
            other => Exit::failed(other),
        }),
    }
}

async fn run_member(config: Config) -> Result<(), Exit> {
    init_logging(&config);
    files::raise_limit();
    let mut signals = Signals::new().map_err(Exit::failed)?;
    join::check(&config).map_err(Exit::unusable)?;
    for name in &config.unknown_variables {
        tracing::warn!(name, "this environment variable names no setting; `conure-db --help` lists them");
    }
    let app = App::new(&config).map_err(Exit::unusable)?;
    let listener = http::bind(&config.http_addr).await.map_err(Exit::unusable)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = listener.serve(app.clone(), async {
        // The other end lives until it is used.
        let _ = stopped.await;
    });
    let mut served = tokio::spawn(conure_program::named("HTTP listener", serving));
    let member = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopped before the member had started");
            return Ok(());
        }
        member = start_member(&config) => member?,
        _ = &mut served => return Err(listener_ended()),
    };
    app.set_member(member.clone());
    // Aborted where it is dropped.
    let mut joining = JoinSet::new();
    tracing::info!(
        node_id = config.node_id,
        http_addr = %config.http_addr,
        raft_addr = %config.raft_addr,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    if let Some(list) = config.join.clone() {
        joining.spawn(conure_program::named("seek", join::seek::members(list.clone(), member.clone())));
        joining.spawn(conure_program::named("join", join::join(config, list, member.clone())));
    }
    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "stopping"),
        fault = member.failed() => {
            app.stop();
            // Whoever met the failure, or waits for what will not come any more, hears why.
            let _ = stop.send(());
            let _ = tokio::time::timeout(LAST_ANSWERS, &mut served).await;
            return Err(failed(&fault));
        }
        _ = &mut served => return Err(listener_ended()),
    }
    drop(joining);
    stop_member(&app, stop, served, &member).await
}

/// Starts the member on its directory.
async fn start_member(config: &Config) -> Result<Member, Exit> {
    let bootstrap = join::bootstraps(config).await;
    let settings = MemberConfig { bootstrap, ..member_config(config) };
    let member = Member::start(settings).await.map_err(Exit::not_started)?;
    if let Err(error) = join::check_started(config, &member) {
        member.halt().await;
        return Err(Exit::unusable(error));
    }
    Ok(member)
}

/// Ends what is in flight, hands over, syncs.
async fn stop_member(
    app: &App,
    stop: oneshot::Sender<()>,
    mut served: JoinHandle<()>,
    member: &Member,
) -> Result<(), Exit> {
    app.stop();
    let _ = stop.send(());
    // Most requests end at once. Leadership does not wait for those that do not, such as a backup.
    let ended = tokio::time::timeout(REQUESTS_FIRST, &mut served).await;
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, member.shutdown()).await.is_err() {
        return Err(Exit::failed(format!("the member did not stop within {SHUTDOWN_TIMEOUT:?}")));
    }
    let ended = match ended {
        Ok(ended) => ended,
        Err(_) => served.await,
    };
    if let Err(error) = ended {
        tracing::error!(%error, "the HTTP API broke off");
    }
    if let Err(fault) = member.alive() {
        tracing::error!(error = fault.text, damaged = fault.damaged, "the member failed while it stopped");
    }
    tracing::info!("stopped");
    Ok(())
}

/// How the process ends after the member failed.
fn failed(fault: &Fault) -> Exit {
    let what = if fault.task { "the member failed" } else { "the storage failed" };
    tracing::error!(error = fault.text, damaged = fault.damaged, "{what}; the process must be restarted");
    let line = format!("{what}: {fault}; the member stops rather than go on with it");
    if fault.damaged { Exit::damaged(line) } else { Exit::failed(line) }
}

/// Nobody stopped it: without it the member would go on unseen.
fn listener_ended() -> Exit {
    Exit::failed("the task \"HTTP listener\" ended; the member stops rather than go on without it")
}

/// What the settings say of the member.
pub(crate) fn member_config(config: &Config) -> MemberConfig {
    MemberConfig {
        node_id: config.node_id.clone(),
        data_dir: config.data_dir.clone(),
        raft_addr: config.raft_addr.to_string(),
        raft_advertise_addr: config.raft_advertise_addr.to_string(),
        http_advertise_addr: config.http_advertise_addr.to_string(),
        bootstrap: config.bootstrap,
        barrier_timeout: config.barrier_timeout,
        role: config.role,
        cluster_id: config.cluster_id.clone(),
        tuning: Tuning {
            checkpoint_entries: config.checkpoint_entries,
            keep_entries: config.log_keep_entries,
            heartbeat: config.heartbeat_interval,
            election_timeout_min: config.election_timeout / 2,
            election_timeout_max: config.election_timeout,
            snapshot_rate: config.snapshot_rate,
            disk_reserve: config.disk_reserve,
            raft_connections_max: Connections::allowed().raft,
            ..Tuning::default()
        },
    }
}

fn init_logging(config: &Config) {
    // The level was checked when the settings were read. openraft's own lines are for its developers: they name members by
    // number, warn of each heartbeat that is missed, and call what is normal while a member starts or stops an error. The
    // member says itself what its operators want to know; only who names openraft gets more.
    let quiet = if config.log_level.contains("openraft") { "" } else { ",openraft=off" };
    let filter = EnvFilter::builder().parse_lossy(format!("{}{quiet}", config.log_level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(conure_program::log_line)
        .log_internal_errors(false);
    let result = match config.log_format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if let Err(error) = result {
        say!("{PROGRAM}: no log: {error}");
    }
    conure_program::report_losses(|lines| {
        tracing::warn!(lines, "log lines were lost: standard error did not take them");
    });
}
