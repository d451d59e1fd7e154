//! The storage engine: a memory-mapped copy-on-write B+tree.
//!
//! One file holds several named trees of ordered byte keys. One writer changes them in a transaction that commits
//! all of them at once; any number of readers each see the snapshot that was current when they began.
//!
//! ```
//! use std::sync::Arc;
//! use conure_btree::{Db, Durability, Options};
//!
//! # fn main() -> Result<(), conure_btree::Error> {
//! let disk = Arc::new(conure_io::SimDisk::new()); // or RealDisk::new(path)
//! let db = Db::open(disk, "tree.db", Options::default())?;
//!
//! let mut txn = db.begin_write()?;
//! let mut birds = txn.tree("birds")?;
//! birds.put(b"conure", b"green")?;
//! birds.put_parts(b"parrot", &[b"very ", b"green"])?;
//! assert!(birds.delete(b"conure")?);
//! txn.commit(Durability::Durable)?;
//!
//! let read = db.begin_read()?;
//! let birds = read.tree("birds")?.expect("the tree was just made");
//! assert_eq!(birds.get(b"parrot")?, Some(&b"very green"[..]));
//! for entry in birds.range(b"a".as_slice()..) {
//!     let (key, value) = entry?;
//!     assert_eq!((key, value), (&b"parrot"[..], &b"very green"[..]));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The rooms: `page`, `node`, `meta` are the format; `view` reads it from the map and verifies it; `space` knows
//! what is free and `pins` when that may be used again; `write/` changes trees, `commit` makes a change last,
//! `open` finds the newest commit that did. The format is described in `docs/on-disk-format.md`.
//!
//! **Invariant:** nothing here knows of Raft, HTTP or tokio, and all I/O goes through [`conure_io::Disk`].
//!
//! **Invariant:** a page that the current snapshot, a reader's snapshot or the last durable commit can reach is never
//! written to.

#![warn(clippy::print_stderr)]

mod bytes;
mod cells;
mod check;
mod commit;
mod compact;
mod cursor;
mod db;
mod error;
mod hash;
#[cfg(test)]
mod hostile;
mod limits;
mod meta;
mod node;
mod node_mut;
mod open;
mod options;
mod page;
mod pins;
mod place;
mod planted;
mod range;
mod read;
mod space;
#[cfg(test)]
mod testing;
mod turns;
mod view;
mod write;

pub use check::{CheckReport, Problem, TreeReport};
pub use compact::{CompactOptions, CompactReport, Compaction};
pub use cursor::Cursor;
pub use db::{Db, Stats};
pub use error::Error;
pub use options::{Durability, Options};
#[cfg(feature = "planted-bugs")]
#[doc(hidden)]
pub use planted::Planted;
pub use range::Range;
pub use read::{Entry, ReadTxn, Tree, ValueRef};
pub use write::{Appender, TreeMut, WriteTxn};

/// The longest key, in bytes. A key has at least one byte.
pub const MAX_KEY_BYTES: usize = 4096;

/// The longest value, in bytes: 4 MiB for a user's value and 64 bytes for what is stored in front of it.
pub const MAX_VALUE_BYTES: usize = (4 << 20) + 64;

/// The longest name of a tree, in bytes.
pub const MAX_TREE_NAME_BYTES: usize = 255;
