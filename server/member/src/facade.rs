//! What the HTTP API may ask of a member.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use conure_client::api::{JoinAnswer, Role};

/// What a member is started with.
#[derive(Debug, Clone)]
pub struct MemberConfig {
    /// The member's name, unique in its cluster.
    pub node_id: String,
    /// Where the database and the Raft state are.
    pub data_dir: PathBuf,
    /// What the Raft port binds, `HOST:PORT`.
    pub raft_addr: String,
    /// What other members dial, `HOST:PORT`.
    pub raft_advertise_addr: String,
    /// Where other members and redirects find this member's HTTP API, `HOST:PORT`.
    pub http_advertise_addr: String,
    /// Whether an empty data directory starts a one-member cluster.
    pub bootstrap: bool,
    /// How long a linearizable read may wait.
    pub barrier_timeout: Duration,
    /// Data member or arbiter.
    pub role: Role,
    /// When set, the only cluster that this member may belong to.
    pub cluster_id: Option<String>,
}

/// How a read looks at the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// After every change that was acknowledged before the read arrived.
    Linearizable,
    /// Whatever this member has applied.
    Stale,
}

/// A key that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The revision that last changed the key.
    pub revision: u64,
    /// The value's bytes.
    pub value: Bytes,
}

/// What a read saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAnswer {
    /// The key's value, `None` where it is absent.
    pub found: Option<Found>,
    /// The store's revision that the read saw.
    pub revision: u64,
}

/// How far a join came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinProgress {
    /// The member is a caught-up voter.
    Voter(JoinAnswer),
    /// The member is a learner and still catches up; asking again goes on.
    CatchingUp(JoinAnswer),
}

/// A leader, as redirects and forwards need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The leader's name.
    pub id: String,
    /// The leader's Raft address.
    pub raft_addr: String,
    /// The leader's HTTP address.
    pub http_addr: String,
}

/// Why a member does not do what it was asked. The texts are whole sentences for users.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another member leads: ask it.
    #[error("this member does not lead; the leader is {} at {}", .0.id, .0.http_addr)]
    NotLeader(Leader),
    /// An arbiter serves no data; `Some` names the leader to ask.
    #[error("this member is an arbiter and holds no data; ask a data member")]
    Arbiter(Option<Leader>),
    /// No leader is known; nothing was done.
    #[error("no leader is known; try again when a quorum of members is up")]
    NoLeader,
    /// The member belongs to no cluster yet, or was released or removed; the text says which.
    #[error("{0}")]
    NotInCluster(String),
    /// A linearizable read met its `barrier_timeout`.
    #[error("the read met its barrier_timeout of {0:?}; try again, or read with stale=true")]
    BarrierTimeout(Duration),
    /// Whether the change was or will be made is unknown.
    #[error("the outcome of the change is unknown: {0}; read before you repeat it")]
    UnknownOutcome(String),
    /// Too much waits already; nothing was done.
    #[error("too many requests wait; try again later")]
    Busy,
    /// The process stops; nothing was done.
    #[error("this member is stopping")]
    Stopping,
    /// No member of that name.
    #[error("no member is called {0:?}; see /raft/config")]
    UnknownMember(String),
    /// The joining member could not be reached; nothing changed.
    #[error("{addr} could not be reached: {reason}; nothing was changed")]
    Unreachable {
        /// The address that was dialled.
        addr: String,
        /// What failed.
        reason: String,
    },
    /// The request contradicts the state. `kind` becomes `urn:conuredb:problem:KIND`.
    #[error("{detail}")]
    Conflict {
        /// A stable short name, such as `foreign-cluster`.
        kind: &'static str,
        /// One line that names both sides and the mend.
        detail: String,
    },
    /// A request field that makes no sense; the text names it, its value and the mend.
    #[error("{0}")]
    Invalid(String),
    /// The storage failed; the process is about to end.
    #[error("the storage failed: {0}")]
    Storage(String),
}
