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
    /// Times and bounds; the defaults suit cloud disks.
    pub tuning: Tuning,
}

/// Times and bounds that most users leave alone.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// How often a leader tells its followers that it lives.
    pub heartbeat: Duration,
    /// A follower campaigns when it heard of no leader for the leader's lease, which is `election_timeout_max`,
    /// and then for a time between this
    pub election_timeout_min: Duration,
    /// and this.
    pub election_timeout_max: Duration,
    /// How long a change may wait for its quorum before its outcome counts as unknown.
    pub write_timeout: Duration,
    /// How long a join waits for the member to catch up before it answers "still catching up".
    pub join_patience: Duration,
    /// A checkpoint is made after so many log entries.
    pub checkpoint_entries: u64,
    /// A checkpoint is made, and the log let go of behind it, after so many bytes of log.
    pub checkpoint_bytes: u64,
    /// So many entries stay in the log behind a checkpoint, for followers that lag a little.
    pub keep_entries: u64,
    /// But no more than so many bytes of them.
    pub keep_bytes: u64,
    /// How many bytes of its log an arbiter keeps for data members that do not hold them. Past that it lets go of
    /// more; should nobody else hold them, the cluster stands still rather than lose them.
    pub arbiter_keep_bytes: u64,
    /// How many changes may wait at once.
    pub writes_in_flight_max: usize,
    /// How many bytes of keys and values may wait at once.
    pub write_bytes_in_flight_max: usize,
    /// How fast a snapshot is sent, in bytes a second; `None` is as fast as it goes.
    pub snapshot_rate: Option<u64>,
    /// The free bytes on the disk below which no puts are taken; `None` derives them from its size.
    pub disk_reserve: Option<u64>,
    /// How many connections the Raft port takes at once.
    pub raft_connections_max: usize,
    /// A leader whose log's disk does not answer for so long, or needs a quarter of it for each sync, lets another lead.
    pub slow_disk: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_timeout_min: Duration::from_millis(300),
            election_timeout_max: Duration::from_millis(600),
            write_timeout: Duration::from_secs(10),
            join_patience: Duration::from_secs(30),
            checkpoint_entries: 50_000,
            checkpoint_bytes: 64 << 20,
            keep_entries: 5_000,
            keep_bytes: 256 << 20,
            arbiter_keep_bytes: 512 << 20,
            writes_in_flight_max: 4_096,
            write_bytes_in_flight_max: 64 << 20,
            snapshot_rate: Some(64 << 20),
            disk_reserve: None,
            raft_connections_max: 512,
            slow_disk: Duration::from_secs(2),
        }
    }
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
    /// The disk is nearly full: nothing was done, and only puts are refused.
    #[error(
        "the leader's disk is nearly full: {free_bytes} bytes are free and puts need {needed_bytes}; delete keys or make \
         room on its volume, then try again"
    )]
    DiskFull {
        /// What is free.
        free_bytes: u64,
        /// What must be free.
        needed_bytes: u64,
    },
    /// The disk has bytes, and hardly any inodes, without which no file can be made: nothing was done, and only puts are refused.
    #[error(
        "the leader's disk is nearly out of inodes: {free_inodes} are free and puts need {needed_inodes}, as df -i shows; \
         remove files from its volume, then try again"
    )]
    InodesFull {
        /// How many are free.
        free_inodes: u64,
        /// How many must be free.
        needed_inodes: u64,
    },
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
