//! The cluster: what members say of themselves, and administration.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use reqwest::Method;
use serde::Serialize;
use serde_json::Value as Json;

use crate::api::{
    BootstrapAnswer, BootstrapRequest, JoinAnswer, JoinRequest, RaftConfig, RemoveAnswer, RemoveRequest,
    Status, TransferAnswer, TransferRequest,
};
use crate::call::{Call, Client};
use crate::{ClientError, encode};

/// A join answers after 30 s at the latest; a removal and a transfer sooner.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(45);

/// What a health endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whether it answered 200.
    pub ok: bool,
    /// Why not, in one line; empty when `ok`.
    pub reason: String,
}

impl Client {
    /// What the asked member says of itself.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.call(&Call::read("/status")).await?.json()
    }

    /// The cluster's members, as the asked member knows them.
    pub async fn raft_config(&self) -> Result<RaftConfig, ClientError> {
        self.call(&Call::read("/raft/config")).await?.json()
    }

    /// Detailed Raft, log and storage figures of the asked member.
    pub async fn raft_stats(&self) -> Result<Json, ClientError> {
        self.call(&Call::read("/raft/stats")).await?.json()
    }

    /// The asked member's metrics, as Prometheus text.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let answer = self.call(&Call::read("/metrics")).await?;
        String::from_utf8(answer.body.to_vec()).map_err(|_| ClientError::Protocol {
            server: answer.server,
            reason: "metrics that are not UTF-8".into(),
        })
    }

    /// Whether the asked process lives. An error means that it did not answer.
    pub async fn livez(&self) -> Result<Probe, ClientError> {
        self.probe("/livez".to_owned()).await
    }

    /// Whether the asked member serves, and belongs to `cluster_id` where that is given. An error means that it did
    /// not answer.
    pub async fn readyz(&self, cluster_id: Option<&str>) -> Result<Probe, ClientError> {
        let path = match cluster_id {
            Some(id) => format!("/readyz?cluster_id={}", encode(id.as_bytes())),
            None => "/readyz".to_owned(),
        };
        self.probe(path).await
    }

    /// Adds a member or updates its address. `suffrage` says whether it is a voter yet; if it still catches up,
    /// calling again goes on.
    pub async fn join(&self, id: &str, raft_addr: &str) -> Result<JoinAnswer, ClientError> {
        let body = JoinRequest { id: id.to_owned(), raft_addr: raft_addr.to_owned() };
        self.call(&admin("/join", &body)?).await?.json()
    }

    /// Removes a member; returns when that is committed.
    pub async fn remove(&self, id: &str) -> Result<RemoveAnswer, ClientError> {
        self.call(&admin("/remove", &RemoveRequest { id: id.to_owned() })?).await?.json()
    }

    /// Makes the asked member, which must be empty, a one-member cluster of that id.
    pub async fn bootstrap(&self, cluster_id: &str) -> Result<BootstrapAnswer, ClientError> {
        let body = BootstrapRequest { cluster_id: cluster_id.to_owned() };
        self.call(&admin("/bootstrap", &body)?).await?.json()
    }

    /// Hands leadership to a voter.
    pub async fn transfer_leadership(&self, id: &str) -> Result<TransferAnswer, ClientError> {
        self.call(&admin("/transfer-leadership", &TransferRequest { id: id.to_owned() })?).await?.json()
    }

    /// The asked member's backup, as it arrives. There is no limit on its length or duration; a stream that ends
    /// early ends with an error.
    pub async fn snapshot(
        &self,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + use<>, ClientError> {
        self.stream(&Call::read("/snapshot").authorized()).await
    }

    async fn probe(&self, path: String) -> Result<Probe, ClientError> {
        match self.call_once(&Call::read(path)).await {
            Ok(_) => Ok(Probe { ok: true, reason: String::new() }),
            Err(ClientError::Refused(problem)) => Ok(Probe { ok: false, reason: problem.detail }),
            Err(error) => Err(error),
        }
    }
}

fn admin(path: &str, body: &impl Serialize) -> Result<Call, ClientError> {
    let body = serde_json::to_vec(body).map_err(|error| ClientError::Setup(error.to_string()))?;
    Ok(Call::change(Method::POST, path).authorized().json(body.into()).at_least(CHANGE_TIMEOUT))
}
