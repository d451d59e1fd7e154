//! A real Kubernetes on one machine, for demonstrations and tests: the control plane and three nodes, each in a network
//! namespace of its own, from programs built from their Go modules ([`tools`]). Needs root.
//!
//! Enter by [`Local::up`]; everything is removed again by [`Local::down`]. It knows nothing of ConureDB.
//!
//! **Invariant:** whatever is made on the machine is recorded by name first ([`state`]), and only what is recorded is
//! ever removed. Every wait has a deadline and says what it waits for.

pub mod cgroup;
pub mod control_plane;
pub mod daemon;
pub mod images;
pub mod instance;
pub mod kubectl;
pub mod lock;
pub mod network;
pub mod node;
pub mod packages;
pub mod paths;
pub mod pki;
pub mod state;
pub mod tools;
pub mod volumes;

mod local;

pub use instance::{Instance, NODES};
pub use kubectl::Kubectl;
pub use local::Local;
