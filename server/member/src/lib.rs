//! One member of a ConureDB cluster, without its HTTP API.
//!
//! **Invariant:** nothing here knows HTTP; the facade [`Member`] is the only way in.

mod facade;

pub use facade::*;
