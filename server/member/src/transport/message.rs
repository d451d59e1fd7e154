//! What is said on the Raft port.

use bytes::Bytes;
use conure_client::api::Role;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::acknowledged::{Acknowledged, Position};
use crate::identity::State;
use crate::raft::forks::Forks;
use crate::raft::types::{SnapshotMeta, TypeConfig, Vote};

/// The first bytes of every connection.
pub(crate) const MAGIC: [u8; 4] = *b"CNRD";
/// The protocol's major version: raised when older members no longer understand what follows. Members of different ones
/// refuse each other.
pub(crate) const PROTOCOL: u16 = 1;
/// The protocol's minor version: raised when something is added that older members do not know. The two ends of a
/// connection speak the lower one of theirs. What may change between them: requests, responses and failures are added at
/// the end, and sent only to who knows them; a hello may grow at its end, for who is older ignores what it does not know.
///
/// 0: everything but what is named here. 1: snapshots that are resumed. 2: a sign of life while one is installed. 3: a hello
/// says more of the process that sends it, and a greeting what that process acknowledged.
pub(crate) const MINOR: u16 = 3;
/// From this minor version on a snapshot can be resumed.
pub(crate) const MINOR_RESUMES: u16 = 1;
/// From this minor version on a member says [`Response::Installing`] while it installs a snapshot.
pub(crate) const MINOR_INSTALLS: u16 = 2;

/// From this minor version on a hello ends with [`Introduction`], members greet each other with [`Greeting::Recognized`] and
/// answer [`Request::Introduce`].
pub(crate) const MINOR_INTRODUCES: u16 = 3;

/// What a connection is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// Asks who is there; needs no target and changes nothing.
    Identify,
    /// A leader speaks to a node that is not in its cluster: release and adoption.
    Invite,
    /// Members of one cluster.
    Cluster,
}

/// The first frame of a connection, from the dialling side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) magic: [u8; 4],
    pub(crate) protocol: u16,
    pub(crate) purpose: Purpose,
    /// The sender's cluster.
    pub(crate) cluster_id: String,
    pub(crate) incarnation: u64,
    /// The sender's node id.
    pub(crate) sender: u64,
    /// Whom the sender takes the other side for; 0 only to identify.
    pub(crate) target: u64,
    /// The sender's minor version.
    pub(crate) minor: u16,
    /// Follows from minor version 3 on.
    #[serde(skip)]
    pub(crate) introduction: Option<Introduction>,
}

/// What a hello ends with. The node id says which directory the sender has; this says which process uses it, and which
/// data is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Introduction {
    /// Random at each start of a process: two that use copies of one directory differ in it.
    pub(crate) boot: u64,
    /// Where the sender says that its Raft port is dialled.
    pub(crate) raft_addr: String,
    /// Which recoveries and restores its data comes from.
    pub(crate) forks: Forks,
    /// What the target acknowledged to the sender.
    pub(crate) acknowledged: Option<Acknowledged>,
}

impl Hello {
    /// Reads a hello of any minor version; what a later version adds at its end is ignored.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let (mut hello, rest): (Self, _) = postcard::take_from_bytes(bytes)?;
        if hello.minor >= MINOR_INTRODUCES {
            hello.introduction = Some(postcard::from_bytes(rest)?);
        }
        Ok(hello)
    }
}

/// What every hello of every version begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) magic: [u8; 4],
    pub(crate) protocol: u16,
}

/// The answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Greeting {
    /// Let in; `minor` is the lower one of both sides' minor versions.
    Welcome {
        minor: u16,
    },
    Refused(RefusedHello),
    /// Let in as a member of the cluster. From minor version 3 on.
    Recognized {
        minor: u16,
        /// As in [`Introduction`], of the one that lets it in.
        boot: u64,
        /// What the dialling member acknowledged to the one that lets it in.
        acknowledged: Option<Acknowledged>,
    },
}

/// Why a connection is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum RefusedHello {
    #[error("it speaks protocol {0}, this member speaks {PROTOCOL}; upgrade the older one")]
    Protocol(u16),
    #[error("it belongs to cluster {0:?}, incarnation {1}")]
    Cluster(String, u64),
    #[error("its node id is {0}, another than was expected there (its data directory changed)")]
    Target(u64),
    /// The sender was removed from the cluster: it must stop to campaign.
    #[error("this member was removed from the cluster")]
    Removed,
    #[error("it serves no members now")]
    NotServing,
    /// Since this incarnation the data of the two comes from different recoveries or restores. From minor version 3 on.
    #[error("its data comes from another recovery or restore, since incarnation {0}")]
    Fork(u64),
    /// From minor version 3 on.
    #[error("its log lost entries that it had acknowledged; its process ends")]
    LostEntries,
    /// The process at this address uses the data directory that the sender has, too. From minor version 3 on.
    #[error(
        "another process, at {0:?}, uses this member's data directory or a copy of it; stop one of the two"
    )]
    Copied(String),
    /// The cluster knows the sender at this address, and does not find it there. From minor version 3 on.
    #[error(
        "the cluster knows this member at {0:?}, where it is not found; start it at that address, or start the others with a \
         --join that lists its present one"
    )]
    Moved(String),
}

/// Who a member is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identified {
    pub(crate) name: String,
    pub(crate) node_id: u64,
    pub(crate) state: State,
    pub(crate) cluster_id: String,
    pub(crate) incarnation: u64,
    pub(crate) role: Role,
    pub(crate) raft_addr: String,
    pub(crate) http_addr: String,
    pub(crate) revision: u64,
}

/// The answer to [`Request::Introduce`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Introduced {
    pub(crate) who: Identified,
    /// As in [`Introduction`].
    pub(crate) boot: u64,
    /// As in [`Introduction`].
    pub(crate) forks: Forks,
    /// How far its log reaches; none where it is in no cluster.
    pub(crate) position: Option<Position>,
}

/// What one member asks another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Request {
    Identify,
    /// Let go of your own cluster for mine, if you can.
    Release {
        by: String,
    },
    /// Follow my cluster, under a fresh node id where you had been in one before.
    Adopt {
        cluster_id: String,
        incarnation: u64,
        name: String,
    },
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Transfer(TransferLeaderRequest<TypeConfig>),
    /// A snapshot follows, in chunks, once the other side said [`Response::Proceed`].
    Snapshot {
        vote: Vote,
        meta: SnapshotMeta,
        /// Whether user data is in it; an arbiter gets and has none.
        with_data: bool,
    },
    /// The index that a read must wait for.
    ReadIndex,
    /// Remove the member of that name (asked by a leader that handed over first).
    Remove {
        id: String,
    },
    /// You were removed from the cluster.
    Farewell,
    /// Up to which index every data voter holds the log durably.
    HeldByAll,
    /// As [`Request::Snapshot`]; where that of the same `id` broke off and is remembered, it goes on
    /// ([`Response::ProceedFrom`]). From minor version 1 on.
    ResumableSnapshot {
        vote: Vote,
        meta: SnapshotMeta,
        with_data: bool,
        id: u64,
    },
    /// As [`Request::Identify`], and which process of which data is there. From minor version 3 on.
    Introduce,
    /// The process `boot` of the member `node_id` is dialled at `raft_addr` now; the leader looks whether it is. From minor
    /// version 3 on.
    Readdress {
        node_id: u64,
        boot: u64,
        raft_addr: String,
    },
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Response {
    Identified(Identified),
    Released,
    Adopted {
        node_id: u64,
    },
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    Transferred(openraft::raft::TransferLeaderResponse<TypeConfig>),
    /// Send the chunks.
    Proceed,
    Snapshot(SnapshotResponse<TypeConfig>),
    ReadIndex(u64),
    Done,
    HeldByAll(Option<u64>),
    /// The request was understood and is not done.
    Failed(Failure),
    /// Send the chunks behind so many bytes, which arrived before.
    ProceedFrom(u64),
    /// The snapshot is whole and being installed; the answer follows. From minor version 2 on.
    Installing,
    Introduced(Box<Introduced>),
}

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Failure {
    #[error("it does not lead")]
    NotLeader,
    #[error("it is stopping or failed: {0}")]
    Stopped(String),
    /// `kind` names the conflict, as `Refusal::Conflict` does.
    #[error("{detail}")]
    Conflict { kind: String, detail: String },
    #[error("no member is called {0:?}")]
    UnknownMember(String),
    #[error("{0}")]
    Other(String),
}

/// One piece of a snapshot on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Chunk {
    /// Bytes of the record stream, at most [`CHUNK_MAX`].
    Data(Bytes),
    /// The end: how many bytes there were, and their checksum.
    End { len: u64, crc: u32 },
}

/// The most bytes that one chunk holds.
pub(crate) const CHUNK_MAX: usize = 1 << 20;
