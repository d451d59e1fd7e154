//! The HTTP API's types, and a client that retries and follows leaders.
//!
//! Used by the server (types), the REPL, the operator, the end-to-end tests and the benchmarks.
//!
//! **Invariant:** a change whose outcome is unknown is never sent again, unless the caller asked for that with
//! [`ClientBuilder::repeat_unknown`].
//!
//! ```no_run
//! # async fn f() -> Result<(), conure_client::ClientError> {
//! let client = conure_client::Client::new("http://localhost:8081")?;
//! client.put(b"colour", "blue").await?;
//! let found = client.get(b"colour").await?;
//! assert_eq!(found.map(|value| value.bytes), Some("blue".into()));
//! # Ok(())
//! # }
//! ```

#![warn(clippy::print_stderr)]

mod address;
pub mod api;
mod builder;
mod call;
mod cluster;
mod encode;
mod error;
pub mod exit;
mod host_port;
mod kv;
pub mod problem;
mod servers;

pub use address::Server;
pub use builder::ClientBuilder;
pub use call::Client;
pub use cluster::Probe;
pub use encode::encode;
pub use error::ClientError;
pub use host_port::Addr;
pub use kv::{StaleRead, Value};
