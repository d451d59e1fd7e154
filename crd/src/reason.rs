//! The words by which conditions and events say why: part of the API, as programs compare them.
//!
//! **Invariant:** every reason that the operator gives is here, and on `docs/conditions.md`, whose lists a test compares with this.

use std::fmt;

use crate::condition::{AVAILABLE, DEGRADED, PROGRESSING, QUORUM_LOST, READY, RECOVERED};

/// Among the places of a reason: events carry it.
const EVENT: &str = "Event";

macro_rules! reasons {
    ($($(#[$meaning:meta])+ $name:ident: $places:expr;)+) => {
        /// Why a condition is as it is, or what an event tells of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$meaning])+ $name,)+
        }

        impl Reason {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            const fn places(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => $places,)+
                }
            }
        }
    };
}

reasons! {
    /// The spec of this generation is reached.
    Ready: &[READY, EVENT];
    /// The pass that has to judge comes next.
    Reconciling: &[READY, AVAILABLE, PROGRESSING, DEGRADED, QUORUM_LOST];

    /// Writes are served again; the event of the condition Available.
    Available: &[EVENT];
    /// A quorum of voters is up, and one of them leads.
    QuorumServes: &[AVAILABLE];
    /// A quorum is up and elects, or only the arbiter leads.
    NoLeader: &[AVAILABLE, PROGRESSING];
    /// Too few voters can be reached.
    QuorumLost: &[AVAILABLE, DEGRADED, QUORUM_LOST, EVENT];
    /// Enough voters are up; of a recovery: nothing is recovered while they are.
    QuorumPresent: &[QUORUM_LOST, RECOVERED, EVENT];
    /// The cluster is not born yet.
    NotBootstrapped: &[AVAILABLE, QUORUM_LOST];
    /// `spec.suspend` is true.
    Suspended: &[AVAILABLE, PROGRESSING, DEGRADED, QUORUM_LOST];

    /// Nothing is left to change.
    Settled: &[PROGRESSING];
    /// `spec.paused` is true.
    Paused: &[PROGRESSING];
    /// The first member is asked to begin the cluster.
    Bootstrapping: &[PROGRESSING];
    /// The first member does not answer yet.
    BootstrapMemberStarting: &[PROGRESSING];
    /// A member joins, or catches up.
    MemberJoining: &[PROGRESSING];
    /// Members have to answer before they can join.
    MembersStarting: &[PROGRESSING];
    /// A member is removed from the configuration.
    MemberRemoving: &[PROGRESSING];
    /// A member starts over on a new volume.
    MemberReplacing: &[PROGRESSING];
    /// Pods come or go, or volumes after them.
    Scaling: &[PROGRESSING];
    /// Volumes of before have to be gone before members under their names come.
    OldVolumesLeaving: &[PROGRESSING];
    /// Pods are replaced, one at a time.
    RollingOut: &[PROGRESSING];
    /// Members are not ready, or behind.
    MembersNotReady: &[PROGRESSING];
    /// Volumes have not reached their size.
    VolumesGrowing: &[PROGRESSING];
    /// The cluster goes on with one member.
    Recovering: &[PROGRESSING, RECOVERED, EVENT];
    /// A removal waits, because it would cost the quorum.
    RemovalWouldLoseQuorum: &[PROGRESSING, EVENT];
    /// A replacement waits, because it would cost the quorum.
    ReplaceWouldLoseQuorum: &[PROGRESSING, EVENT];
    /// A member with damaged data is kept while others are not well, or as nobody can say whose data it is.
    DamagedMemberKept: &[PROGRESSING, EVENT];
    /// A member's data is damaged again on the day on which it started over for that.
    DamagedAgain: &[PROGRESSING, EVENT];

    /// Nothing is wrong.
    AsExpected: &[DEGRADED];
    /// The name makes no names for the objects.
    InvalidName: &[PROGRESSING, AVAILABLE, DEGRADED, EVENT];
    /// Volumes of this name were there before.
    VolumesExist: &[PROGRESSING, AVAILABLE, DEGRADED, EVENT];
    /// Volumes are to be taken over, and there are none.
    NoVolumes: &[PROGRESSING, AVAILABLE, DEGRADED, EVENT];
    /// Objects of this name belong to something else.
    ObjectsNotOurs: &[PROGRESSING, AVAILABLE, DEGRADED, EVENT];
    /// Objects of a deleted cluster of this name are still going.
    OldObjectsLeaving: &[PROGRESSING, AVAILABLE, DEGRADED, EVENT];
    /// The volume on which the cluster was to be born is gone.
    BootstrapVolumeReplaced: &[PROGRESSING, DEGRADED, EVENT];
    /// `spec.tls` is set, by a definition that is newer than the operator.
    TLSNotSupported: &[PROGRESSING, AVAILABLE, DEGRADED, EVENT];
    /// A member's volume belongs to another cluster.
    ForeignVolume: &[PROGRESSING, DEGRADED, EVENT];
    /// Volumes under the names of members to come are somebody else's.
    VolumesNotOurs: &[PROGRESSING, DEGRADED, EVENT];
    /// All volumes of a cluster that was born are empty.
    DataGone: &[PROGRESSING, DEGRADED, EVENT];
    /// A member of before the recovery may hold more, and is kept as it is.
    MemberLeftBehind: &[PROGRESSING, DEGRADED, EVENT];
    /// Voters cannot be reached, and a quorum can.
    MembersDown: &[DEGRADED, EVENT];
    /// No node takes a pod.
    Unschedulable: &[DEGRADED, EVENT];
    /// An image cannot be pulled.
    ImagePullFailed: &[DEGRADED, EVENT];
    /// A container cannot be created.
    ContainerNotCreated: &[DEGRADED, EVENT];
    /// A container cannot be started.
    ContainerNotStarted: &[DEGRADED, EVENT];
    /// A pod runs, and nothing in it answers.
    MembersSilent: &[DEGRADED, EVENT];
    /// A member's data is not what it wrote.
    DataDamaged: &[DEGRADED, EVENT];
    /// A container ends again and again.
    CrashLooping: &[DEGRADED, EVENT];
    /// A volume asks for a storage class that is not there.
    StorageClassNotFound: &[DEGRADED, EVENT];
    /// A volume cannot be made.
    VolumeProvisioningFailed: &[DEGRADED, EVENT];
    /// The storage refuses to grow a volume.
    VolumeGrowthRefused: &[PROGRESSING, DEGRADED, EVENT];
    /// The image is too many versions away.
    VersionStepRefused: &[PROGRESSING, DEGRADED, EVENT];
    /// The definition is older than the operator.
    DefinitionOutdated: &[PROGRESSING, DEGRADED, EVENT];
    /// The operator cannot read the resource.
    ResourceUnreadable: &[PROGRESSING, AVAILABLE, DEGRADED, QUORUM_LOST, EVENT];
    /// The Secret holds no token.
    AdminTokenMissing: &[DEGRADED, EVENT];
    /// The annotation that asks for a replacement names no member.
    ReplaceMemberUnknown: &[DEGRADED, EVENT];
    /// The API server takes an object not, or not yet.
    ApplyFailed: &[PROGRESSING, DEGRADED, EVENT];
    /// Bootstrapping fails.
    BootstrapFailed: &[DEGRADED, EVENT];
    /// Joining a member fails.
    JoinFailed: &[DEGRADED, EVENT];
    /// Removing a member fails.
    RemoveFailed: &[DEGRADED, EVENT];
    /// Scaling a StatefulSet fails.
    ScaleFailed: &[DEGRADED, EVENT];
    /// Deleting a volume that was given up fails.
    DeleteVolumeFailed: &[DEGRADED, EVENT];
    /// Replacing a member fails.
    ReplaceFailed: &[DEGRADED, EVENT];
    /// Restarting the member that the cluster goes on with fails.
    RecoverFailed: &[DEGRADED, EVENT];
    /// Restarting a member that was left behind fails.
    FenceFailed: &[DEGRADED, EVENT];
    /// Handing leadership over fails.
    TransferFailed: &[DEGRADED, EVENT];
    /// Evicting a pod fails.
    EvictFailed: &[DEGRADED, EVENT];

    /// The cluster went on with one member.
    RecoveryDone: &[RECOVERED, EVENT];
    /// Another member was chosen before.
    RecoveryUnderWay: &[RECOVERED, EVENT];
    /// The request names another cluster.
    ClusterIDDiffers: &[RECOVERED, EVENT];
    /// The request names another incarnation.
    IncarnationDiffers: &[RECOVERED, EVENT];
    /// No data member can be reached.
    NoMemberReachable: &[RECOVERED, EVENT];
    /// Another member that can be reached holds more.
    OtherMemberHoldsMore: &[RECOVERED, EVENT];
    /// The member named cannot be reached.
    MemberNotReachable: &[RECOVERED, EVENT];

    /// The cluster has its id.
    ClusterIDAssigned: &[EVENT];
    /// The cluster goes on with volumes of before.
    VolumesTakenOver: &[EVENT];
    /// The first member began the cluster.
    Bootstrapped: &[EVENT];
    /// A member is a caught-up voter.
    MemberJoined: &[EVENT];
    /// A member left the configuration.
    MemberRemoved: &[EVENT];
    /// A StatefulSet has more pods.
    ScaledUp: &[EVENT];
    /// A StatefulSet has fewer pods.
    ScaledDown: &[EVENT];
    /// A volume that was given up is deleted.
    VolumeDeleted: &[EVENT];
    /// Another member leads.
    LeadershipTransferred: &[EVENT];
    /// A pod was evicted, to run the present template.
    PodReplaced: &[EVENT];
    /// A request to replace a member is on record.
    ReplaceAccepted: &[EVENT];
    /// A member starts over on a new volume.
    MemberReplaced: &[EVENT];
    /// A member that was left behind restarts, so that it is no longer ready.
    MemberFenced: &[EVENT];
    /// The member that the cluster goes on with is on record.
    RecoveryAccepted: &[EVENT];
    /// Nothing is wrong any more; the event of the condition Degraded.
    Recovered: &[EVENT];
    /// The arbiter that was asked for makes nothing safer.
    ArbiterAddsNoSafety: &[EVENT];
}

impl Reason {
    /// Whether a condition of this type may have it.
    #[must_use]
    pub fn explains(self, condition: &str) -> bool {
        let places = self.places();
        // What is wrong, or being done, is why a cluster is not Ready.
        places.contains(&condition)
            || condition == READY && (places.contains(&PROGRESSING) || places.contains(&DEGRADED))
    }

    /// Whether events carry it.
    #[must_use]
    pub fn is_told(self) -> bool {
        self.places().contains(&EVENT)
    }

    /// The reason of that name.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
