//! All of a data directory's keys as text.

use std::io::Write;
use std::path::Path;

use conure_client::api::Role;
use conure_wal::Inspection;
use openraft::EntryPayload;

use super::directory::{Directory, described, snapshot};
use super::text::{self, Header};
use super::{OfflineError, error};
use crate::backup_format::Record;
use crate::raft::state::{Applied, KV_TREE};
use crate::raft::types::Entry;

/// So many bytes of the log are looked at at once, or one entry.
const LOG_BYTES: usize = 4 << 20;

/// How a dump is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DumpOptions {
    /// Dump the last checkpoint, although the log may hold changes behind it.
    pub ignore_log: bool,
}

/// What was dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dumped {
    /// How many keys there are.
    pub keys: u64,
    /// The revision that the dump shows.
    pub revision: u64,
}

/// Writes all keys of `dir`, which no member may run on, to `out`. Nothing in `dir` changes.
///
/// # Errors
///
/// [`OfflineError::DataDir`] when the directory cannot be read, is in use, is an arbiter's, or when its log holds changes
/// that the last checkpoint does not; [`OfflineError::Io`] when `out` takes no more.
pub fn dump(dir: &Path, options: DumpOptions, mut out: impl Write) -> Result<Dumped, OfflineError> {
    let directory = Directory::open(dir)?;
    let identity = directory.known_identity()?;
    let broken = |reason: String| OfflineError::dir(dir, format!("cannot be read: {reason}"), error::CHECK);
    let tree = directory.tree().map_err(|e| directory.unreadable(e))?;
    let tree = tree.ok_or_else(|| {
        OfflineError::dir(
            dir,
            "has no database: its member is in no cluster",
            "dump another member's directory",
        )
    })?;
    let read = snapshot(&tree).map_err(|e| broken(e.to_string()))?;
    let (applied, _) = described(&read).map_err(|e| broken(e.to_string()))?;
    if identity.role == Role::Arbiter {
        return Err(OfflineError::dir(
            dir,
            "is an arbiter's and holds no keys",
            "dump a data member's directory",
        ));
    }
    if !options.ignore_log {
        let damaged = |what: &str| broken(format!("{what} (--ignore-log dumps without it)"));
        let log = directory.log().map_err(|e| OfflineError::log(dir, e, damaged))?;
        if let Some(log) = log {
            refuse_changes_behind(dir, &applied, &log)?;
        }
    }
    let written = OfflineError::io("write the dump");
    let write = |out: &mut dyn Write, line: &str| out.write_all(line.as_bytes());
    let header = Header {
        conuredb_dump: text::VERSION,
        cluster_id: applied.cluster_id,
        incarnation: applied.incarnation,
        revision: applied.revision,
        crc32c: None,
    };
    let line = |e: serde_json::Error| OfflineError::io("write the dump")(e.into());
    write(&mut out, &text::header_line(&header).map_err(line)?)
        .map_err(OfflineError::io("write the dump"))?;
    let (mut keys, mut crc) = (0, 0);
    if let Some(kv) = read.tree(KV_TREE).map_err(|e| directory.unreadable(e))? {
        for entry in kv.range(..) {
            let (key, stored) = entry.map_err(|e| directory.unreadable(e))?;
            let (revision, value) = stored
                .split_first_chunk::<8>()
                .ok_or_else(|| broken("a value has no revision".to_owned()))?;
            let record = Record { key, revision: u64::from_le_bytes(*revision), value };
            let text = text::record_line(record).map_err(line)?;
            crc = crc32c::crc32c_append(crc, text.as_bytes());
            keys += 1;
            write(&mut out, &text).map_err(OfflineError::io("write the dump"))?;
        }
    }
    write(&mut out, &text::end_line(keys, crc)).and_then(|()| out.flush()).map_err(written)?;
    Ok(Dumped { keys, revision: header.revision })
}

/// Whether changes were logged that the tree does not hold yet cannot be told from those that never will be: whoever
/// was acknowledged may be among them.
fn refuse_changes_behind(dir: &Path, applied: &Applied, log: &Inspection) -> Result<(), OfflineError> {
    let mut changes = 0_u64;
    let mut next = applied.index().saturating_add(1);
    loop {
        let some = log.entries(next..u64::MAX, LOG_BYTES).map_err(|e| {
            OfflineError::dir(dir, format!("cannot be read: {e}"), "dump without the log, with --ignore-log")
        })?;
        let Some(last) = some.last() else { break };
        next = last.index.saturating_add(1);
        for entry in &some {
            let entry: Entry = postcard::from_bytes(&entry.payload).map_err(|e| {
                let what = format!("has a log entry {} that cannot be decoded ({e})", entry.index);
                OfflineError::dir(dir, what, "dump without the log, with --ignore-log")
            })?;
            changes += u64::from(matches!(entry.payload, EntryPayload::Normal(_)));
        }
    }
    if changes == 0 {
        return Ok(());
    }
    Err(OfflineError::dir(
        dir,
        format!("has {changes} changes in its log that its last checkpoint does not hold"),
        "start its member, stop it with SIGTERM and dump again; or dump without them, with --ignore-log",
    ))
}
