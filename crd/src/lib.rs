//! The ConureCluster resource: its types, defaults and validation rules, and the names of the objects made for it.
//!
//! Whoever speaks about a ConureCluster (operator, end-to-end tests, `crdgen`) enters here.
//!
//! **Invariant:** nothing here holds a client or does I/O (save `charts`, for generator and tests), and every default and rule that a user meets is in the
//! schema: what the API server lets through, the operator can act on.

#![warn(clippy::print_stderr)]

pub mod bootstrap;
#[cfg(feature = "charts")]
pub mod charts;
pub mod defaults;
pub mod generated;
pub mod names;
#[cfg(feature = "charts")]
pub mod olm;
#[cfg(feature = "charts")]
pub mod readme;
pub mod reason;
pub mod recovery;
pub mod repair;
pub mod rules;
pub mod schema;
pub mod spec;
pub mod status;
pub mod tls;
pub mod volume;

pub use bootstrap::{Bootstrap, ExistingVolumes};
pub use reason::Reason;
pub use recovery::{Recovery, RecoveryStatus};
pub use repair::Repair;
pub use spec::{
    Arbiter, ArbiterMode, ConureCluster, ConureClusterSpec, DisruptionBudget, Image, LogFormat, LogLevel,
    PullPolicy, ServerConfig, Voters,
};
pub use status::{ConureClusterStatus, Member, MemberDamage, MemberRole, MemberSuffrage, condition};
pub use tls::Tls;
pub use volume::{ArbiterVolume, Retention, RetentionPolicy, Volume};
