//! Starts the operator and stops it gracefully.

#![warn(clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use conure_operator::config::Config;
use conure_operator::context::Context;
use conure_operator::election::Candidacy;
use conure_operator::http::{Health, bind, serve};
use conure_operator::metrics::Metrics;
use conure_operator::{controller, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long the API server may be silent on a connection with a request under way.
const READ_TIMEOUT: Duration = Duration::from_secs(300);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The name of the program.
const PROGRAM: &str = "conure-operator";
/// The exit code of a failure; settings that cannot be used end with 2.
const FAILED: i32 = 1;
/// How long the requests for health and figures may take to be answered when the process ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    conure_program::end_on_panic(PROGRAM, FAILED);
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(error) => return conure_program::usage(PROGRAM, error.use_stderr(), &error.render().to_string()),
    };
    let code = start(&config);
    conure_program::flush();
    code
}

#[tokio::main]
async fn start(config: &Config) -> ExitCode {
    if let Err(error) = telemetry::init(config) {
        conure_program::say!("{PROGRAM}: {error}");
        return ExitCode::from(2);
    }
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the operator ends");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: &Config) -> Result<(), Failure> {
    let stop = stop_on_signal()?;
    let mut api = kube::Config::infer().await?;
    // A watch ends after 290 s at the latest; one that is silent for longer has lost its connection.
    api.read_timeout = Some(READ_TIMEOUT);
    api.reset_reader_on_write = true;
    let client = kube::Client::try_from(api)?;
    let metrics = Metrics::default();
    let context =
        Arc::new(Context::new(client.clone(), config.server_image.clone(), metrics, config.instance.clone()));
    let listener = bind(config.http_addr)
        .await
        .map_err(|error| format!("{} cannot be listened on: {error}; set --http-addr", config.http_addr))?;
    let health = Health { context: Arc::clone(&context), ready: Arc::default(), ended: Arc::default() };
    let mut http = tokio::spawn(conure_program::named("HTTP", serve(listener, health.clone(), stop.clone())));

    let result = tokio::select! {
        result = conure_program::named("controller", work(client, config, &health, &stop)) => result,
        ended = &mut http => return http_ended(ended, &stop),
    };
    stop.cancel();
    // What is left of them is not worth a process that does nothing else any more.
    let _ = tokio::time::timeout(LAST_ANSWERS, http).await;
    result
}

/// Whether it was stopped: without it the operator would go on unseen.
fn http_ended(
    ended: Result<std::io::Result<()>, tokio::task::JoinError>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    ended??;
    if stop.is_cancelled() { Ok(()) } else { Err("the task \"HTTP\" ended".into()) }
}

/// Works until `stop`. An error names what ended before that.
async fn work(
    client: kube::Client,
    config: &Config,
    health: &Health,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let context = &health.context;
    let version = client.apiserver_version().await?;
    tracing::info!(kubernetes = version.git_version, image = config.server_image, "the operator starts");
    health.ready.store(true, Ordering::Relaxed);
    let result = if config.leader_election {
        lead(client, config, context, stop).await
    } else {
        context.metrics.set_leading(true);
        control(context, config, stop).await
    };
    if let Err(error) = &result {
        // Nobody else sets it.
        let _ = health.ended.set(error.to_string());
    }
    result
}

/// Runs the controller, which ends only when it is stopped.
async fn control(context: &Arc<Context>, config: &Config, stop: &CancellationToken) -> Result<(), Failure> {
    controller::run(Arc::clone(context), config, stop.clone()).await;
    if stop.is_cancelled() { Ok(()) } else { Err("the task \"controller\" ended".into()) }
}

/// Waits for the lease, works while it is held, and ends with an error when it is lost: whatever is half done then is
/// the next holder's, and a fresh start is the simplest way back.
async fn lead(
    client: kube::Client,
    config: &Config,
    context: &Arc<Context>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut candidacy = Candidacy::begin(client, config).await?;
    tracing::info!(lease = config.lease_name, "waits for the lease");
    tokio::select! {
        won = candidacy.won() => {
            if !won {
                return Err("the lease cannot be asked for any more".into());
            }
        }
        () = stop.cancelled() => {
            candidacy.end().await;
            return Ok(());
        }
    }
    tracing::info!(lease = config.lease_name, "holds the lease and works");
    context.metrics.set_leading(true);
    tokio::select! {
        ended = control(context, config, stop) => {
            candidacy.end().await;
            ended
        }
        () = candidacy.lost() => Err("the lease was lost".into()),
    }
}

fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = stop.clone();
    tokio::spawn(conure_program::named("signals", async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("stops: finishes what is being done");
        cancelled.cancel();
    }));
    Ok(stop)
}
