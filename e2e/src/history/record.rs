//! One operation of one client.

use serde::{Deserialize, Serialize};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Store a value.
    Put,
    /// Read linearizably.
    Get,
    /// Take the key away.
    Delete,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Acknowledged, or read.
    Ok,
    /// Certainly not done.
    Fail,
    /// Perhaps done, perhaps later still.
    Unknown,
}

/// One operation. Times are nanoseconds since the history began, by one monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who asked; a client has one operation at a time.
    pub client: u32,
    /// What was asked.
    pub op: Op,
    /// The key.
    pub key: String,
    /// The value written, or the value read; none where the key was absent or the read failed. No two writes of one key
    /// carry the same value.
    pub value: Option<String>,
    /// The revision that the write made or the read saw; none where there was no answer or no value.
    pub revision: Option<u64>,
    /// Whether there was something to delete; none where that was not asked or not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<bool>,
    /// When the request was sent.
    pub call_ns: u64,
    /// When the answer was there, or waiting for it ended.
    pub return_ns: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The member that was asked.
    pub served_by: String,
}
