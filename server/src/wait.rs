//! `conure-db wait`: holds a new member back until there is a cluster to join.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use conure_client::{Client, ClientError, Server};

use crate::config::WaitConfig;

/// The file that makes a data directory some member's.
const IDENTITY_FILE: &str = "identity";
/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two lines that say what is waited for.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// How long one member may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How many addresses are asked in a round.
const ADDRESSES_MAX: usize = 32;

/// Why waiting ended without a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// `--peers` makes no sense.
    #[error("--peers: {0}")]
    Peers(#[from] ClientError),
    /// `--timeout` is over.
    #[error("gave up after {0:?}: {1}")]
    TimedOut(Duration, String),
}

/// Waits; `report` gets a line every few seconds.
pub async fn wait(config: &WaitConfig, mut report: impl FnMut(&str)) -> Result<(), WaitError> {
    if has_identity(&config.data_dir) {
        report(&format!("{} belongs to a member already", config.data_dir.display()));
        return Ok(());
    }
    let peers: Server = config.peers.parse()?;
    let began = Instant::now();
    let mut reported: Option<Instant> = None;
    loop {
        let reason = match ask_all(&peers, config.cluster_id.as_deref()).await {
            Ok(found) => {
                report(&found);
                return Ok(());
            }
            Err(reason) => reason,
        };
        if let Some(timeout) = config.timeout.filter(|timeout| began.elapsed() >= *timeout) {
            return Err(WaitError::TimedOut(timeout, reason));
        }
        if reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            report(&format!("waiting for a cluster at {peers}: {reason}"));
            reported = Some(Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the directory belongs to a member.
pub(crate) fn has_identity(data_dir: &Path) -> bool {
    data_dir.join(IDENTITY_FILE).exists()
}

/// Asks every address behind the name. The error says what is still missing.
async fn ask_all(peers: &Server, wanted: Option<&str>) -> Result<String, String> {
    let target = peers.to_string();
    let target = target.trim_start_matches("http://");
    let addresses: io::Result<Vec<SocketAddr>> =
        tokio::net::lookup_host(target).await.map(|found| found.take(ADDRESSES_MAX).collect());
    let addresses = addresses.map_err(|error| format!("the name does not resolve ({error})"))?;
    let mut reasons = Vec::new();
    let asked = addresses.into_iter().map(|address| ask(address, wanted));
    for answer in futures::future::join_all(asked).await {
        match answer {
            Ok(found) => return Ok(found),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(if reasons.is_empty() { "the name has no address".into() } else { reasons.join(", ") })
}

async fn ask(address: SocketAddr, wanted: Option<&str>) -> Result<String, String> {
    let client = Client::builder().server(address.to_string()).timeout(ANSWER_TIMEOUT).attempts(1).build();
    let status = match client {
        Ok(client) => client.status().await,
        Err(error) => return Err(error.to_string()),
    };
    let status = status.map_err(|error| match error {
        ClientError::Unavailable { reason, .. } => format!("{address}: {reason}"),
        other => format!("{address}: {other}"),
    })?;
    if status.cluster_id.is_empty() {
        return Err(format!("{address} belongs to no cluster yet"));
    }
    if wanted.is_some_and(|wanted| wanted != status.cluster_id) {
        return Err(format!("{address} belongs to another cluster, {}", status.cluster_id));
    }
    if status.leader.is_empty() {
        return Err(format!("{address} knows no leader"));
    }
    Ok(format!("{} at {address} is in the cluster {}", status.node_id, status.cluster_id))
}
