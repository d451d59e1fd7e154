//! What the storage engine is proved with.
//!
//! [`model`] is a database as a `BTreeMap`, and [`change`] makes random changes to both; [`record`] does random things
//! to an engine on a simulated disk and remembers what each durable commit left; [`judge`] opens what a crash at any
//! moment of that may have left; [`crash`] does so many times, on all processors. [`format`](mod@format) reads a file as its
//! documentation describes it. Used by the engine's tests, by its fuzz targets and by `cargo xtask crash`.
//!
//! A transaction cannot be used after its end, and a value not after its snapshot: the compiler refuses both.
//!
//! ```compile_fail,E0382
//! fn used_after_its_end(db: &conure_btree::Db) -> Result<(), conure_btree::Error> {
//!     let mut txn = db.begin_write()?;
//!     txn.commit(conure_btree::Durability::Durable)?;
//!     txn.tree("t")?.put(b"key", b"value")
//! }
//! ```
//!
//! ```compile_fail,E0597
//! fn outlives_its_snapshot(db: &conure_btree::Db) -> Result<usize, conure_btree::Error> {
//!     let value;
//!     {
//!         let read = db.begin_read()?;
//!         let tree = read.tree("t")?.expect("it is there");
//!         value = tree.get(b"key")?;
//!     }
//!     Ok(value.map_or(0, <[u8]>::len))
//! }
//! ```
//!
//! ```compile_fail,E0499
//! fn two_trees_at_once(txn: &mut conure_btree::WriteTxn) -> Result<(), conure_btree::Error> {
//!     let mut one = txn.tree("one")?;
//!     let mut two = txn.tree("two")?;
//!     one.put(b"key", b"value")?;
//!     two.put(b"key", b"value")
//! }
//! ```
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
