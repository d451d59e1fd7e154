//! The API objects that the tests read and change, on whatever Kubernetes a kubeconfig leads to.
//!
//! Programs (`kubectl`, `helm`) run only where a user's own command is what is tested; everything else goes through the
//! API.
//!
//! **Invariant:** a wait polls a condition, has a deadline, and says what it waits for when the deadline passes.

mod access;
mod cluster;
mod events;
mod forward;
mod targets;
mod wait;

pub use access::Access;
pub use cluster::{Cluster, is_ready};
pub use events::Happening;
pub use targets::Targets;
pub use wait::until;
