//! What the members say, each asked on its pod's address, all at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use conure_client::api::{RaftConfig, Status};
use conure_client::{Client, ClientError};
use conure_crd::names::HTTP_PORT;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// A member that works answers in milliseconds; one that does not must not hold up the others.
const ASK_TIMEOUT: Duration = Duration::from_millis(1_500);
/// At most this many questions at a time.
const ASK_AT_ONCE: usize = 16;

/// What one member answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAnswer {
    /// `GET /status`.
    pub status: Status,
    /// `GET /raft/config`, `None` where it knows none.
    pub config: Option<RaftConfig>,
    /// Its Raft node id, which a new data directory changes; `None` where it did not say.
    pub raft_node_id: Option<String>,
    /// Term and index of the last entry in its log; `None` where it did not say.
    pub last_log: Option<(u64, u64)>,
}

/// A member's address, `None` while its pod has none.
pub fn address(pod: &Pod) -> Option<String> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
    Some(match ip {
        IpAddr::V4(ip) => format!("http://{ip}:{HTTP_PORT}"),
        IpAddr::V6(ip) => format!("http://[{ip}]:{HTTP_PORT}"),
    })
}

/// Name and address of every pod that runs.
pub(super) fn addresses<'a>(pods: impl Iterator<Item = &'a Pod>) -> Vec<(String, String)> {
    pods.filter(|pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running"))
        .filter_map(|pod| Some((pod.name_any(), address(pod)?)))
        .collect()
}

/// Asks each member at its address; whoever does not answer in time is not in the result.
pub async fn ask_all(targets: Vec<(String, String)>) -> BTreeMap<String, MemberAnswer> {
    futures::stream::iter(targets)
        .map(|(name, address)| async move {
            match ask(&address).await {
                // Whoever answers under another name took over the address.
                Ok(answer) if answer.status.node_id == name => Some((name, answer)),
                Ok(answer) => {
                    tracing::warn!(
                        member = name,
                        address,
                        other = answer.status.node_id,
                        "another member answers"
                    );
                    None
                }
                Err(error) => {
                    tracing::debug!(member = name, address, %error, "a member does not answer");
                    None
                }
            }
        })
        .buffer_unordered(ASK_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await
}

async fn ask(address: &str) -> Result<MemberAnswer, ClientError> {
    let client = Client::builder()
        .server(address)
        .attempts(1)
        .connect_timeout(ASK_TIMEOUT)
        .timeout(ASK_TIMEOUT)
        .build()?;
    let status = client.status().await?;
    if status.cluster_id.is_empty() {
        return Ok(MemberAnswer { status, config: None, raft_node_id: None, last_log: None });
    }
    let (config, stats) = tokio::join!(client.raft_config(), client.raft_stats());
    let stats = stats.unwrap_or_default();
    let raft_node_id = stats.get("raft_node_id").and_then(|id| Some(id.as_str()?.to_owned()));
    let raft = |name: &str| stats.get("raft")?.get(name)?.as_u64();
    let last_log = raft("last_log_term").zip(raft("last_log_index"));
    Ok(MemberAnswer { status, config: config.ok(), raft_node_id, last_log })
}
