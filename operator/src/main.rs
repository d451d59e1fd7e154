//! Starts the operator and stops it gracefully.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    if let Err(error) = telemetry::init(&config) {
        eprintln!("conure-operator: {error}");
        return ExitCode::from(2);
    }
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    match run(&config).await {
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
    let ready = Arc::new(AtomicBool::new(false));
    let listener = bind(config.http_addr)
        .await
        .map_err(|error| format!("{} cannot be listened on: {error}; set --http-addr", config.http_addr))?;
    let health = Health { context: Arc::clone(&context), ready: Arc::clone(&ready) };
    let http = tokio::spawn(serve(listener, health, stop.clone()));

    let version = client.apiserver_version().await?;
    tracing::info!(kubernetes = version.git_version, image = config.server_image, "the operator starts");
    ready.store(true, Ordering::Relaxed);
    let result = if config.leader_election {
        lead(client, config, &context, &stop).await
    } else {
        context.metrics.set_leading(true);
        controller::run(Arc::clone(&context), config, stop.clone()).await;
        Ok(())
    };
    stop.cancel();
    http.await??;
    result
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
        () = controller::run(Arc::clone(context), config, stop.clone()) => {
            candidacy.end().await;
            Ok(())
        }
        () = candidacy.lost() => Err("the lease was lost".into()),
    }
}

fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("stops: finishes what is being done");
        cancelled.cancel();
    });
    Ok(stop)
}
