//! How a client is set up.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{Client, Settings};
use crate::{ClientError, Server};

/// How long an idle connection is kept: shorter than the server keeps it, so that it is not found closed.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Sets up a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    servers: Vec<String>,
    settings: Settings,
    connect_timeout: Duration,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            settings: Settings {
                timeout: Duration::from_secs(10),
                attempts: 16,
                repeat_unknown: false,
                discover: false,
                token: None,
            },
            connect_timeout: Duration::from_secs(2),
        }
    }
}

impl ClientBuilder {
    /// Adds a server, `http://HOST:PORT` or `HOST:PORT`. At least one is needed.
    #[must_use]
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.servers.push(server.into());
        self
    }

    /// Adds several servers.
    #[must_use]
    pub fn servers(mut self, servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.servers.extend(servers.into_iter().map(Into::into));
        self
    }

    /// How long one request may take, answer included (10 s). Membership changes get at least 45 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How long a connection may take to open (2 s).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How many requests one call may send at most, redirects not counted (16). With 1 nothing is repeated.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.settings.attempts = attempts.max(1);
        self
    }

    /// Whether a change is sent again after an unknown outcome (no). Only for changes that may happen twice.
    #[must_use]
    pub fn repeat_unknown(mut self, repeat: bool) -> Self {
        self.settings.repeat_unknown = repeat;
        self
    }

    /// Whether the client asks for the other members' addresses, and moves to them when its own server is gone (no).
    #[must_use]
    pub fn discover(mut self, discover: bool) -> Self {
        self.settings.discover = discover;
        self
    }

    /// The token that administration needs. It is sent with administration only.
    #[must_use]
    pub fn admin_token(mut self, token: impl Into<String>) -> Self {
        self.settings.token = Some(token.into());
        self
    }

    /// The client.
    pub fn build(self) -> Result<Client, ClientError> {
        let servers = self.servers.iter().map(|given| given.parse()).collect::<Result<Vec<Server>, _>>()?;
        if servers.is_empty() {
            return Err(ClientError::Setup("no server was given; give at least one http://HOST:PORT".into()));
        }
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(self.connect_timeout.min(self.settings.timeout / 2))
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true)
            .user_agent(concat!("conure-client/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ClientError::Setup(error.to_string()))?;
        Ok(Client::from_parts(http, servers, Arc::new(self.settings)))
    }
}
