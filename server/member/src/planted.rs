//! Bugs that a test plants, to see that whoever judges the histories of clients finds them.
//!
//! **Invariant:** without the feature `planted-bugs` there are none.

/// A bug that breaks a promise when something else goes wrong at a bad moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    /// Entries count as written before they are synced.
    AcksBeforeFsync,
    /// Linearizable reads see whatever this member has applied.
    ReadsWithoutBarrier,
    /// An empty directory takes the node id that its name had before.
    ReusesNodeId,
    /// A vote is answered before it is on disk.
    VoteNotDurable,
    /// The log is let go of behind a checkpoint that is not durable.
    CheckpointNotDurable,
    /// Entries that are applied together are applied in the wrong order.
    AppliesOutOfOrder,
    /// A snapshot leaves out who the members are.
    SnapshotWithoutMembership,
}

impl Planted {
    /// Whether this bug was asked for.
    pub(crate) fn is_on(self) -> bool {
        #[cfg(feature = "planted-bugs")]
        {
            let name = match self {
                Self::AcksBeforeFsync => "acks-before-fsync",
                Self::ReadsWithoutBarrier => "reads-without-barrier",
                Self::ReusesNodeId => "reuses-node-id",
                Self::VoteNotDurable => "vote-not-durable",
                Self::CheckpointNotDurable => "checkpoint-not-durable",
                Self::AppliesOutOfOrder => "applies-out-of-order",
                Self::SnapshotWithoutMembership => "snapshot-without-membership",
            };
            std::env::var("PLANTED_BUG").is_ok_and(|asked| asked == name)
        }
        #[cfg(not(feature = "planted-bugs"))]
        false
    }
}
