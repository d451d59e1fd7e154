//! The local Kubernetes and the end-to-end tests.
//!
//! [`cluster`] needs nothing of the project and compiles on its own; the tests stand behind the feature `e2e`.
//! [`history`] is what clients did and saw, as a file, and the judge of it; the feature `workload` brings writers and
//! readers that never stop. With `e2e` come `kubernetes` (the objects that the tests read and change), `scenario` (the
//! steps) and `bare` (an API server on which a test plays nodes and members).
//!
//! **Invariant:** nothing here is part of what users install; no other crates but xtask and conure-faults depend on it.

#[cfg(feature = "e2e")]
pub mod bare;
pub mod bench;
pub mod cluster;
pub mod history;
#[cfg(feature = "e2e")]
pub mod kubernetes;
pub mod process;
pub mod progress;
#[cfg(feature = "e2e")]
pub mod scenario;
pub mod wait;
#[cfg(feature = "workload")]
pub mod workload;
