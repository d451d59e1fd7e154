//! Pure: whom a member asks to join it, what an answer means, and how long it waits.

use std::time::Duration;

use conure_client::api::{JoinAnswer, RaftConfig, Status, Suffrage};
use conure_client::{ClientError, problem};

use super::standing::{Learner, Standing};

/// The pause after the first round; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How many servers a line names.
const NAMED_MAX: usize = 4;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It passes by itself.
    Passing,
    /// Somebody has to do something.
    Human,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// How much it matters.
    pub weight: Weight,
    /// In one line.
    pub reason: String,
}

impl Waiting {
    /// What passes by itself.
    #[must_use]
    pub fn passing(reason: impl Into<String>) -> Self {
        Self { weight: Weight::Passing, reason: reason.into() }
    }

    /// What somebody has to solve.
    #[must_use]
    pub fn human(reason: impl Into<String>) -> Self {
        Self { weight: Weight::Human, reason: reason.into() }
    }
}

/// What a listed server says of itself.
#[derive(Debug)]
pub struct Seen {
    /// The server, as it was listed.
    pub server: String,
    /// Its `/status`, and its `/raft/config` where that was asked for.
    pub answer: Result<(Status, Option<RaftConfig>), ClientError>,
}

/// The member that looks for a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeker {
    /// Its name.
    pub name: String,
    /// The only cluster that it may belong to.
    pub wanted: Option<String>,
    /// What its own `/status` says.
    pub cluster_id: String,
}

/// Which of the servers can be asked to join it, by their places in `seen`: the leader first, and nobody whom a recovery of
/// the others' cluster left behind. An error is what is waited for.
pub fn candidates(seeker: &Seeker, standing: &Standing, seen: &[Seen]) -> Result<Vec<usize>, Waiting> {
    let mut found: Vec<(bool, usize)> = Vec::new();
    let mut newest = 0;
    let mut clusters: Vec<&str> = Vec::new();
    let mut missing = Vec::new();
    for (at, seen) in seen.iter().enumerate() {
        match suits(seeker, standing, seen) {
            Ok(status) => {
                if status.incarnation > newest {
                    newest = status.incarnation;
                    found.clear();
                }
                if status.incarnation == newest {
                    found.push((!status.is_leader, at));
                }
                if !clusters.contains(&status.cluster_id.as_str()) {
                    clusters.push(&status.cluster_id);
                }
            }
            Err(waiting) => missing.push(waiting),
        }
    }
    if let [one, other, ..] = clusters[..] {
        return Err(Waiting::human(format!(
            "the listed servers belong to different clusters, {one} and {other}; name the one that is meant with --cluster-id"
        )));
    }
    if found.is_empty() {
        return Err(together(missing));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, at)| at).collect())
}

/// Whether a server can be asked.
fn suits<'a>(seeker: &Seeker, standing: &Standing, seen: &'a Seen) -> Result<&'a Status, Waiting> {
    let server = &seen.server;
    let (status, config) = seen.answer.as_ref().map_err(|error| unanswered(server, error))?;
    if status.node_id == seeker.name && status.cluster_id == seeker.cluster_id {
        return Err(Waiting::passing(format!(
            "{server} is this member itself, or another one of the same name"
        )));
    }
    if status.cluster_id.is_empty() {
        return Err(Waiting::passing(format!("{server} is in no cluster yet")));
    }
    let wanted = match standing {
        Standing::Learner(learner) => Some(&learner.cluster_id),
        _ => seeker.wanted.as_ref(),
    };
    if wanted.is_some_and(|wanted| *wanted != status.cluster_id) {
        let other = &status.cluster_id;
        return Err(Waiting::human(format!("{server} belongs to another cluster, {other}")));
    }
    if status.leader.is_empty() {
        return Err(Waiting::passing(format!("{server} knows no leader")));
    }
    if let Standing::Learner(learner) = standing {
        goes_on(seeker, learner, server, status, config.as_ref())?;
    }
    Ok(status)
}

/// Whether a join that broke off may go on. Who was removed or left behind meanwhile would come back by it.
fn goes_on(
    seeker: &Seeker,
    learner: &Learner,
    server: &str,
    status: &Status,
    config: Option<&RaftConfig>,
) -> Result<(), Waiting> {
    if status.incarnation != learner.incarnation {
        return Err(Waiting::human(format!(
            "{server} is at incarnation {} of the cluster, this member at {}: a recovery left one of them behind",
            status.incarnation, learner.incarnation
        )));
    }
    let Some(config) = config else {
        return Err(Waiting::passing(format!("{server} does not say who its members are")));
    };
    if learner.placed && !config.members.iter().any(|member| member.id == seeker.name) {
        return Err(Waiting::human(format!(
            "{server} has no member {:?}: it was removed, or its join broke off as it began; POST /join there brings it in",
            seeker.name
        )));
    }
    Ok(())
}

/// Whether one of the servers has a member of that name.
#[must_use]
pub fn lists(name: &str, seen: &[Seen]) -> bool {
    let configs = seen.iter().filter_map(|seen| seen.answer.as_ref().ok()?.1.as_ref());
    configs.flat_map(|config| &config.members).any(|member| member.id == name)
}

/// What became of one request to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// It is done.
    Voter,
    /// It goes on when it is asked for again.
    CatchingUp(Waiting),
    /// Nothing came of it.
    Refused(Waiting),
}

/// What `server`'s answer to `POST /join` means.
#[must_use]
pub fn meaning(server: &str, answer: &Result<JoinAnswer, ClientError>) -> Meaning {
    match answer {
        Ok(JoinAnswer { suffrage: Suffrage::Voter, .. }) => Meaning::Voter,
        Ok(answer) => Meaning::CatchingUp(Waiting::passing(format!(
            "catching up: {} of {} entries are here",
            answer.matched_index, answer.last_index
        ))),
        Err(error) => Meaning::Refused(unanswered(server, error)),
    }
}

/// What a refusal or a failure means.
fn unanswered(server: &str, error: &ClientError) -> Waiting {
    match error {
        ClientError::Refused(refused) => {
            let reason = format!("{server}: {}", refused.detail);
            let passing = refused.status >= 500 || refused.kind == problem::CHANGE_IN_PROGRESS;
            match refused.status {
                _ if passing => Waiting::passing(reason),
                401 | 403 => {
                    Waiting::human(format!("{reason}; name the cluster's token with --admin-token-file"))
                }
                _ => Waiting::human(reason),
            }
        }
        ClientError::Unavailable { reason, .. } => Waiting::passing(format!("{server}: {reason}")),
        // Asking again is harmless: a member that has joined is told so.
        ClientError::UnknownOutcome { reason, .. } => {
            Waiting::passing(format!("{server}: {reason}; it is asked again"))
        }
        other => Waiting::human(other.to_string()),
    }
}

/// What several servers lack, in one line. It matters where one of them matters.
fn together(missing: Vec<Waiting>) -> Waiting {
    let human = missing.iter().any(|waiting| waiting.weight == Weight::Human);
    let more = missing.len().saturating_sub(NAMED_MAX);
    let named: Vec<String> = missing.into_iter().take(NAMED_MAX).map(|waiting| waiting.reason).collect();
    let mut reason = named.join(", ");
    if more > 0 {
        reason.push_str(&format!(", and {more} more"));
    }
    if reason.is_empty() {
        return Waiting::human("no other server is listed; name one with --join");
    }
    Waiting { weight: if human { Weight::Human } else { Weight::Passing }, reason }
}

/// How long to wait after this many rounds that came to nothing; `chance` is from 0 to 1.
#[must_use]
pub fn pause(rounds: u32, chance: f64) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1_u32.checked_shl(rounds).unwrap_or(u32::MAX));
    // Members that were started together do not ask together.
    doubled.min(PAUSE_MAX).mul_f64(0.75 + chance.clamp(0.0, 1.0) / 4.0)
}

/// The cluster that keeps a member from founding one of its own, where a listed server is in one.
#[must_use]
pub fn keeps_from_founding<'a>(wanted: Option<&str>, seen: &'a [Seen]) -> Option<(&'a str, &'a str)> {
    let of = |seen: &'a Seen| Some((seen.server.as_str(), seen.answer.as_ref().ok()?.0.cluster_id.as_str()));
    seen.iter()
        .filter_map(of)
        .find(|(_, cluster)| !cluster.is_empty() && wanted.is_none_or(|wanted| wanted == *cluster))
}
