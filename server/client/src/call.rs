//! One call: which server is asked, what is followed, what is sent again.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt};
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use crate::api::{Problem, RaftConfig};
use crate::servers::Servers;
use crate::{ClientBuilder, ClientError, Server, problem};

/// How many redirects one request follows.
const REDIRECTS_MAX: u32 = 4;
/// How large an answer may be: a value is 4 MiB at most, metrics and figures are far smaller.
const ANSWER_MAX: usize = 8 << 20;
/// The first pause before a request is sent again; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(25);
/// The longest pause, whatever `Retry-After` says.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long asking for the list of members may take.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) timeout: Duration,
    pub(crate) attempts: u32,
    pub(crate) repeat_unknown: bool,
    pub(crate) discover: bool,
    pub(crate) token: Option<String>,
}

/// A client of one cluster. Cloning it is cheap and shares the connections and what was learned about members.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    settings: Arc<Settings>,
    servers: Arc<Servers>,
}

/// A request before it is known who answers it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Option<Bytes>,
    json: bool,
    authorized: bool,
    change: bool,
    accept_missing: bool,
    timeout_min: Duration,
}

impl Call {
    pub(crate) fn read(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: None,
            json: false,
            authorized: false,
            change: false,
            accept_missing: false,
            timeout_min: Duration::ZERO,
        }
    }

    pub(crate) fn change(method: Method, path: impl Into<String>) -> Self {
        Self { method, change: true, ..Self::read(path) }
    }

    pub(crate) fn body(self, body: Bytes) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(crate) fn json(self, body: Bytes) -> Self {
        Self { body: Some(body), json: true, ..self }
    }

    pub(crate) fn authorized(self) -> Self {
        Self { authorized: true, ..self }
    }

    /// An absent key is an answer, not an error.
    pub(crate) fn accept_missing(self) -> Self {
        Self { accept_missing: true, ..self }
    }

    pub(crate) fn at_least(self, timeout_min: Duration) -> Self {
        Self { timeout_min, ..self }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) server: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| self.unexpected(&error.to_string()))
    }

    pub(crate) fn unexpected(&self, reason: &str) -> ClientError {
        ClientError::Protocol { server: self.server.clone(), reason: reason.to_owned() }
    }
}

/// How one request failed, and what may follow.
enum Failure {
    /// Nothing was done; another try is safe.
    NotDone { error: ClientError, retry_after: Option<Duration> },
    /// It was sent and may have been done.
    Unknown(ClientError),
    /// Another try changes nothing.
    Final(ClientError),
}

impl Failure {
    fn into_error(self) -> ClientError {
        match self {
            Self::NotDone { error, .. } | Self::Unknown(error) | Self::Final(error) => error,
        }
    }
}

impl Client {
    /// A client of one server with the usual settings.
    pub fn new(server: impl Into<String>) -> Result<Self, ClientError> {
        Self::builder().server(server).build()
    }

    /// Sets up a client.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn from_parts(http: reqwest::Client, servers: Vec<Server>, settings: Arc<Settings>) -> Self {
        Self { http, settings, servers: Arc::new(Servers::new(servers)) }
    }

    /// The servers known now; the first is asked first.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        self.servers.all()
    }

    /// Sends a call until it is answered, or may not be sent again.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer, ClientError> {
        self.discover_if_due().await;
        let (mut tries, mut pause) = (0, PAUSE_MIN);
        loop {
            tries += 1;
            let server = self.servers.first();
            let mut asked = server.clone();
            let answered = match self.request(&mut asked, call).await {
                Ok(response) => self.collect(&asked, call, response).await,
                Err(failure) => Err(failure),
            };
            let failure = match answered {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if matches!(failure, Failure::Final(_)) {
                return Err(failure.into_error());
            }
            // Both: the one that sent us on may go on doing so, and the one that failed may stay silent.
            let known = self.servers.step_back(&[&server, &asked]);
            let (error, retry_after) = match failure {
                Failure::NotDone { error, retry_after } => (error, retry_after),
                Failure::Unknown(error) if self.settings.repeat_unknown => (error, None),
                // The next call asks another server; this one is not sent again.
                Failure::Unknown(error) | Failure::Final(error) => return Err(error),
            };
            if tries >= self.settings.attempts {
                return Err(with_tries(error, tries));
            }
            // A pause only once every server had its turn.
            if (tries as usize).is_multiple_of(known) {
                tokio::time::sleep(retry_after.unwrap_or(pause).clamp(pause, PAUSE_MAX)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }

    /// Sends a call once to the first server, whatever it answers.
    pub(crate) async fn call_once(&self, call: &Call) -> Result<Answer, ClientError> {
        let mut asked = self.servers.first();
        let result = match self.request(&mut asked, call).await {
            Ok(response) => self.collect(&asked, call, response).await,
            Err(failure) => Err(failure),
        };
        result.map_err(|failure| with_tries(failure.into_error(), 1))
    }

    /// Sends a read once to the first server and hands its body on as it comes.
    pub(crate) async fn stream(
        &self,
        call: &Call,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + use<>, ClientError> {
        let server = self.servers.first();
        let mut request = self.http.request(call.method.clone(), server.url(&call.path));
        if let Some(token) = self.settings.token.as_deref().filter(|_| call.authorized) {
            request = request.header(AUTHORIZATION, bearer(token)?);
        }
        let broken = {
            let server = server.to_string();
            move |error: reqwest::Error| ClientError::Unavailable {
                server: server.clone(),
                tries: 1,
                reason: reason(error),
            }
        };
        let response = request.send().await.map_err(&broken)?;
        if !response.status().is_success() {
            return match self.collect(&server, call, response).await {
                Ok(answer) => Err(answer.unexpected(&format!("status {}", answer.status))),
                Err(failure) => Err(failure.into_error()),
            };
        }
        Ok(response.bytes_stream().map_err(broken))
    }

    /// Sends one request and follows its redirects; the method, the body and the token go along. `asked` becomes the
    /// server that was asked last.
    async fn request(&self, asked: &mut Server, call: &Call) -> Result<Response, Failure> {
        let mut url = asked.url(&call.path);
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(&url, call).await?;
            if !matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return Ok(response);
            }
            let next = location(&response).ok_or_else(|| {
                Failure::Final(ClientError::Protocol {
                    server: asked.to_string(),
                    reason: "a redirect without an http:// Location".into(),
                })
            })?;
            if let Ok(leader) = next.origin().ascii_serialization().parse::<Server>() {
                *asked = leader.clone();
                self.servers.prefer(leader);
            }
            url = next.into();
        }
        Err(Failure::NotDone {
            error: ClientError::Protocol {
                server: asked.to_string(),
                reason: "redirects that do not end".into(),
            },
            retry_after: None,
        })
    }

    async fn send(&self, url: &str, call: &Call) -> Result<Response, Failure> {
        let mut request = self.http.request(call.method.clone(), url);
        request = request.timeout(self.settings.timeout.max(call.timeout_min));
        if let Some(token) = self.settings.token.as_deref().filter(|_| call.authorized) {
            request = request.header(AUTHORIZATION, bearer(token).map_err(Failure::Final)?);
        }
        if let Some(body) = &call.body {
            let kind = if call.json { "application/json" } else { "application/octet-stream" };
            // An empty body has no length of its own accord, and would be no value.
            request =
                request.header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, body.len()).body(body.clone());
        }
        request.send().await.map_err(|error| broken(url, call, error))
    }

    /// Reads an answer to its end and tells success from failure.
    async fn collect(&self, server: &Server, call: &Call, mut response: Response) -> Result<Answer, Failure> {
        let url = response.url().to_string();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&url, call, error))? {
            if body.len() + chunk.len() > ANSWER_MAX {
                let reason = format!("an answer over {ANSWER_MAX} bytes");
                return Err(Failure::Final(ClientError::Protocol { server: server.to_string(), reason }));
            }
            body.extend_from_slice(&chunk);
        }
        let answer = Answer {
            server: server.to_string(),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: body.freeze(),
        };
        if response.status().is_success() {
            return Ok(answer);
        }
        let Ok(problem) = answer.json::<Problem>() else {
            let error = answer.unexpected(&format!("status {} without a problem body", answer.status));
            return Err(if call.change { Failure::Unknown(error) } else { Failure::Final(error) });
        };
        match problem.status {
            404 if call.accept_missing && problem.kind == problem::KEY_NOT_FOUND => Ok(answer),
            503 => {
                let retry_after = seconds(&answer.headers);
                Err(Failure::NotDone { error: ClientError::Refused(problem), retry_after })
            }
            504 if call.change => Err(Failure::Unknown(ClientError::UnknownOutcome {
                server: server.to_string(),
                reason: problem.detail,
            })),
            _ => Err(Failure::Final(ClientError::Refused(problem))),
        }
    }

    /// Asks for the other members' addresses, if that is wanted and has not happened lately. A failure is no matter:
    /// the call that follows will say more.
    async fn discover_if_due(&self) {
        if !self.settings.discover || !self.servers.discovery_is_due() {
            return;
        }
        let request = self.http.get(self.servers.first().url("/raft/config")).timeout(DISCOVERY_TIMEOUT);
        let Ok(response) = request.send().await else { return };
        let Ok(config) = response.json::<RaftConfig>().await else { return };
        self.servers.learn(config.members.iter().filter_map(|member| member.http_addr.parse().ok()));
    }
}

fn location(response: &Response) -> Option<Url> {
    let text = response.headers().get(LOCATION)?.to_str().ok()?;
    let url = response.url().join(text).ok()?;
    (url.scheme() == "http").then_some(url)
}

fn seconds(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| ClientError::Setup("the admin token holds bytes that no header may hold".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A transport error: before the connection stood nothing was sent; afterwards a change may have been made.
fn broken(url: &str, call: &Call, error: reqwest::Error) -> Failure {
    let server = origin(url);
    let connect = error.is_connect() || error.is_builder();
    let reason = reason(error);
    if connect || !call.change {
        let error = ClientError::Unavailable { server, tries: 1, reason };
        Failure::NotDone { error, retry_after: None }
    } else {
        Failure::Unknown(ClientError::UnknownOutcome { server, reason })
    }
}

fn origin(url: &str) -> String {
    Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

/// The innermost cause, without the URL: its query may hold a value.
fn reason(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".into();
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn with_tries(error: ClientError, tries: u32) -> ClientError {
    match error {
        ClientError::Unavailable { server, reason, .. } => ClientError::Unavailable { server, tries, reason },
        other => other,
    }
}
