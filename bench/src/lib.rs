//! Measures `conure-btree` beside LMDB, redb, fjall and bbolt: one program, one machine, the same data, every engine
//! in a process of its own. `cluster/` measures whole clusters beside etcd's, and says how itself.
//!
//! The rooms: `data` makes keys and values, `plan` says what is done how often, `engines/` puts each engine behind
//! the trait of `engine`, `worker` and `beside` do the work and time it, `event` is what a process reports. `session`
//! starts the processes one after the other, `syncs` counts what they sync, `rows`, `table` and `page` are the result.
//!
//! **Invariant:** every engine is given the same entries in the same order, and a commit that is timed is durable when
//! its time ends. What is read is compared between the engines; a run in which two differ has no result.

mod beside;
pub mod cluster;
pub mod data;
pub mod engine;
pub mod engines;
pub mod event;
pub mod machine;
pub mod page;
pub mod plan;
pub mod process;
pub mod rows;
pub mod session;
pub mod syncs;
pub mod table;
pub mod worker;
