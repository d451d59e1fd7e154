//! Why a call did not do what it was asked.

use crate::api::Problem;

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address of a server makes no sense.
    #[error("{given:?} is not the address of a server: {reason}; give http://HOST:PORT")]
    Address {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client could not be set up.
    #[error("the client cannot be set up: {0}")]
    Setup(String),
    /// A server answered with a problem. Except for 504, nothing was changed.
    #[error("{} ({})", .0.detail, .0.status)]
    Refused(Problem),
    /// No server could be reached, or none answered a read in time; nothing was changed.
    #[error("no server answered after {tries} tries; the last was {server}: {reason}")]
    Unavailable {
        /// The server tried last.
        server: String,
        /// How many requests were sent or tried.
        tries: u32,
        /// What failed last.
        reason: String,
    },
    /// The change was sent, but whether it was or will be made is unknown.
    #[error("the outcome is unknown: {server}: {reason}; read before you repeat it")]
    UnknownOutcome {
        /// The server that the change was sent to.
        server: String,
        /// What failed.
        reason: String,
    },
    /// The server answered something that this client does not understand.
    #[error("{server} answered something unexpected: {reason}")]
    Protocol {
        /// The server that answered.
        server: String,
        /// What was unexpected.
        reason: String,
    },
}

impl ClientError {
    /// The problem that a server answered with, if one did.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether a server answered with a problem of this type (one of [`crate::problem`]).
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.problem().is_some_and(|problem| problem.kind == kind)
    }

    /// The HTTP status of the problem that a server answered with, if one did.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.problem().map(|problem| problem.status)
    }

    /// Whether a change may have been made although the call failed.
    #[must_use]
    pub fn outcome_is_unknown(&self) -> bool {
        matches!(self, Self::UnknownOutcome { .. })
    }
}
