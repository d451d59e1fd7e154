//! What the storage engine is proved with.
//!
//! [`model`] is a database as a `BTreeMap`, and [`change`] makes random changes to both; [`record`] does random things
//! to an engine on a simulated disk and remembers what each durable commit left; [`judge`] opens what a crash at any
//! moment of that may have left; [`crash`] does so many times, on all processors. [`format`](mod@format) reads a file as its
//! documentation describes it. Used by the engine's tests, by its fuzz targets and by `cargo xtask crash`.
//!
//! **Invariant:** everything here is decided by its seed: the same seed gives the same workloads, images and
//! verdicts, however many threads there are.
//!
//! **Invariant:** nothing here knows how the engine does what it does; it uses the public interface alone.

pub mod change;
pub mod crash;
pub mod disks;
pub mod format;
pub mod fuzz;
pub mod judge;
pub mod model;
pub mod record;
mod seed;

pub use seed::{mixed, seed};

/// The name of the database file on every disk here.
pub const NAME: &str = "tree.db";
