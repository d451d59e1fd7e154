//! What a member that joins asks of others, over HTTP.

use std::path::PathBuf;
use std::time::Duration;

use conure_client::api::{RaftConfig, Status};
use conure_client::{Client, ClientError, Server};
use futures::future::join_all;

use super::decide::{Meaning, Seeker, Seen, Waiting, candidates, lists, meaning};
use super::standing::Standing;
use crate::config::{Config, Join};
use crate::http;

/// How long a server may take to say what it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server may take to join a member, redirects included: it answers after 30 s at the latest, voter or not.
const JOIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks for one member.
#[derive(Debug)]
pub(super) struct Asker {
    join: Join,
    /// Whether this process has seen the member outside of any cluster.
    outside: bool,
    /// Whether a server has listed it since.
    listed: bool,
    raft_addr: String,
    admin_token_file: Option<PathBuf>,
}

impl Asker {
    pub(super) fn new(config: &Config, join: Join) -> Self {
        let raft_addr = config.raft_advertise_addr.to_string();
        Self {
            join,
            outside: false,
            listed: false,
            raft_addr,
            admin_token_file: config.admin_token_file.clone(),
        }
    }

    /// Looks at all servers, and asks one of those that can be asked; another one each round.
    pub(super) async fn round(&mut self, seeker: &Seeker, mut standing: Standing, round: u32) -> Meaning {
        let seen = look(&self.join.servers, matches!(standing, Standing::Learner(_))).await;
        match &mut standing {
            // What an earlier process was told nobody knows: a learner that was removed may have heard nothing yet.
            Standing::Learner(learner) => {
                self.listed |= lists(&seeker.name, &seen);
                learner.placed |= self.listed || !self.outside;
            }
            _ => (self.outside, self.listed) = (true, false),
        }
        let found = match candidates(seeker, &standing, &seen) {
            Ok(found) => found,
            Err(waiting) => return Meaning::Refused(waiting),
        };
        let turn = usize::try_from(round).unwrap_or(0) % found.len().max(1);
        let Some(server) = found.get(turn).and_then(|at| self.join.servers.get(*at)) else {
            return Meaning::Refused(Waiting::passing("no server can be asked"));
        };
        let token = match self.token().await {
            Ok(token) => token,
            Err(reason) => return Meaning::Refused(Waiting::human(reason)),
        };
        let asked = tokio::time::timeout(JOIN_TIMEOUT, self.ask(server, &seeker.name, token)).await;
        asked.unwrap_or_else(|_| {
            Meaning::Refused(Waiting::passing(format!("{server} did not answer within {JOIN_TIMEOUT:?}")))
        })
    }

    async fn ask(&self, server: &Server, name: &str, token: Option<String>) -> Meaning {
        let mut builder = Client::builder().server(server.to_string()).attempts(1);
        if let Some(token) = token {
            builder = builder.admin_token(token);
        }
        let answer = match builder.build() {
            Ok(client) => client.join(name, &self.raft_addr).await,
            Err(error) => Err(error),
        };
        meaning(&server.to_string(), &answer)
    }

    /// Read for each request, as it is where requests are let pass: a Secret that changes takes effect at once.
    async fn token(&self) -> Result<Option<String>, String> {
        let Some(file) = self.admin_token_file.clone() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || http::admin_token(&file)).await;
        read.map_err(|error| error.to_string())?.map(Some)
    }
}

/// What the servers say of themselves, and, `with_members`, who their members are.
pub(super) async fn look(servers: &[Server], with_members: bool) -> Vec<Seen> {
    join_all(servers.iter().map(async |server| {
        let answer = tokio::time::timeout(STATUS_TIMEOUT * 2, status(server, with_members)).await;
        let answer = answer.unwrap_or_else(|_| {
            let reason = "it did not answer in time".to_owned();
            Err(ClientError::Unavailable { server: server.to_string(), tries: 1, reason })
        });
        Seen { server: server.to_string(), answer }
    }))
    .await
}

async fn status(server: &Server, with_members: bool) -> Result<(Status, Option<RaftConfig>), ClientError> {
    let client = Client::builder().server(server.to_string()).timeout(STATUS_TIMEOUT).attempts(1).build()?;
    let status = client.status().await?;
    let members = if with_members { Some(client.raft_config().await?) } else { None };
    Ok((status, members))
}
