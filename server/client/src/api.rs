//! The JSON bodies of the HTTP API.

use serde::{Deserialize, Serialize};

/// What a member holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Votes, keeps the log and the data, serves clients.
    Data,
    /// Votes and keeps the log; holds no user data and serves no reads.
    Arbiter,
}

/// Whether a member counts in a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suffrage {
    /// Counts in elections and commits.
    Voter,
    /// Receives the log, counts in nothing.
    Learner,
}

/// The answer of `PUT /kv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAnswer {
    /// The revision that this write made.
    pub revision: u64,
}

/// The answer of `DELETE /kv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteAnswer {
    /// Whether the key was there.
    pub deleted: bool,
    /// The store's revision after the delete.
    pub revision: u64,
}

/// The answer of `GET /status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether this member leads now.
    pub is_leader: bool,
    /// The leader's name; empty when none is known.
    pub leader: String,
    /// The leader's Raft address; empty when none is known.
    pub leader_raft_addr: String,
    /// The leader's HTTP address; empty when none is known.
    pub leader_http_addr: String,
    /// This member's name.
    pub node_id: String,
    /// Where this member says that other members dial it; empty from earlier versions.
    #[serde(default)]
    pub raft_addr: String,
    /// This member's role.
    pub role: Role,
    /// The current Raft term.
    pub term: u64,
    /// The revision of the last applied change.
    pub revision: u64,
    /// The highest log index known to be committed.
    pub commit_index: u64,
    /// The highest log index applied here.
    pub applied_index: u64,
    /// The cluster this member belongs to; empty before it belongs to one.
    pub cluster_id: String,
    /// How often the cluster was restored or recovered, starting at 1; 0 before it belongs to one.
    pub incarnation: u64,
    /// The server's version.
    pub version: String,
    /// `ok`, or one line that says what is wrong.
    pub health: String,
}

/// One member in [`RaftConfig`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// The member's name.
    pub id: String,
    /// Where other members dial it.
    pub raft_addr: String,
    /// Where its HTTP API is.
    pub http_addr: String,
    /// What it holds.
    pub role: Role,
    /// Whether it counts in a quorum.
    pub suffrage: Suffrage,
}

/// The answer of `GET /raft/config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftConfig {
    /// All members, in no particular order.
    pub members: Vec<MemberInfo>,
}

/// The body of `POST /join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The joining member's name.
    #[serde(rename = "ID")]
    pub id: String,
    /// Where the leader dials it, `HOST:PORT`.
    #[serde(rename = "RaftAddr")]
    pub raft_addr: String,
}

/// The answer of `POST /join`, 200 or 202.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The member's name.
    pub id: String,
    /// `voter` when done, `learner` while it still catches up.
    pub suffrage: Suffrage,
    /// The highest log index that the member is known to hold.
    pub matched_index: u64,
    /// The leader's last log index when this was answered.
    pub last_index: u64,
}

/// The body of `POST /remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveRequest {
    /// The name of the member to remove.
    #[serde(rename = "ID")]
    pub id: String,
}

/// The body of `POST /bootstrap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapRequest {
    /// The id that the new cluster shall have.
    #[serde(rename = "ClusterID")]
    pub cluster_id: String,
}

/// The body of `POST /transfer-leadership`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferRequest {
    /// The name of the voter that shall lead.
    #[serde(rename = "ID")]
    pub id: String,
}

/// An error, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:conuredb:problem:NAME`, stable.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short text that goes with the type.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// One line that names the thing, the value and the mend.
    pub detail: String,
}

/// The answer of `POST /remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveAnswer {
    /// The name of the member that is no longer in the cluster.
    pub removed: String,
}

/// The answer of `POST /bootstrap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapAnswer {
    /// The id of the cluster that now exists.
    pub cluster_id: String,
}

/// The answer of `POST /transfer-leadership`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferAnswer {
    /// The name of the member that leads now.
    pub leader: String,
}
