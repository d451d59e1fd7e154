//! How long the operator takes, how long clients wait meanwhile, and what hundreds of clusters cost.
//!
//! `many` plays on an API server without nodes; `scenario::procedures` works on the local Kubernetes. Both give [`Row`]s.
//!
//! **Invariant:** a number is measured or left out; a target that is missed is shown with its number.

#[cfg(feature = "e2e")]
mod many;
mod row;

#[cfg(feature = "e2e")]
pub use many::many;
pub use row::{Row, markdown};
