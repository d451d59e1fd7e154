//! The HTTP API's types, and a client that retries and follows leaders.
//!
//! Used by the server (types), the REPL, the operator, the end-to-end tests and the benchmarks.

pub mod api;
