//! The ConureDB operator: turns ConureCluster resources into running clusters.
//!
//! [`controller`] watches, [`reconcile`] is one pass over one cluster, [`election`] lets one of several operators work.
//!
//! **Invariant:** whatever the operator needs to know is in the API server or in the members; it may be killed at any
//! point, and the next one carries on.

#![warn(clippy::print_stderr)]

pub mod config;
pub mod context;
pub mod controller;
pub mod election;
pub mod failpoint;
pub mod http;
pub mod metrics;
pub mod reconcile;
pub mod refusals;
pub mod rest;
pub mod telemetry;
pub mod unreadable;
