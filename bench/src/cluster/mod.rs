//! Measures a cluster of three ConureDB members beside one of three etcd members: one machine, one disk, one run.
//!
//! The rooms: `options` is what can be asked for, `member` a process and what it uses, `system` what both can and a cluster of
//! either, `conure` and `etcd` are the two; `load` and `http` are the client of ConureDB, `tool` runs etcd's own; `faults` kills,
//! restarts and adds members,
//! `limits` is what the machine allows at most. `session` does it all in alternating order; `rows` and `report` are the result.
//!
//! **Invariant:** a request counts only when its answer is a success; a row in which one failed has no result.

pub mod conure;
pub mod etcd;
pub mod faults;
pub mod http;
pub mod latency;
pub mod limits;
pub mod load;
pub mod member;
pub mod options;
pub mod report;
pub mod rows;
pub mod session;
pub mod system;
pub mod tool;
