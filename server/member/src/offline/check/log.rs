//! The log's part of a check, and whether it belongs to the tree.

use conure_wal::{Floor, Inspection};

use super::CheckedPart;
use crate::offline::OfflineError;
use crate::offline::directory::Directory;
use crate::raft::state::Applied;
use crate::raft::store::TREE_FILE;
use crate::raft::types::{Entry, LogId, Vote};

/// So many bytes of the log are looked at at once, or one entry.
const LOG_BYTES: usize = 4 << 20;

/// The log, unless it is too broken to be read.
pub(super) fn check_whole_log(
    directory: &Directory,
) -> Result<(CheckedPart, Option<Inspection>), OfflineError> {
    let mut part = CheckedPart::new("log");
    let log = match directory.log() {
        Ok(Some(log)) => log,
        Ok(None) => {
            part.looked_at = "none".to_owned();
            return Ok((part, None));
        }
        Err(conure_wal::Error::Version { file, found, known }) => {
            let what = format!("has a log file {file} of format version {found}; this program knows {known}");
            return Err(OfflineError::dir(&directory.path, what, "use the program that wrote it"));
        }
        Err(error @ conure_wal::Error::Io { .. }) => return Err(directory.log_unreadable(error)),
        Err(error) => {
            part.fault(log_place(&error), &error);
            return Ok((part, None));
        }
    };
    check_log(&log, &mut part);
    // The tree is made before the log.
    if !directory.has_tree() && log.last_batch().is_some_and(|batch| batch > 0) {
        part.fault(TREE_FILE, "there is a log and no database");
    }
    Ok((part, Some(log)))
}

fn log_place(error: &conure_wal::Error) -> String {
    match error {
        conure_wal::Error::Damaged { file, offset, .. } => format!("log/{file}, byte {offset}"),
        conure_wal::Error::MissingSegment { file, .. } | conure_wal::Error::ForeignSegment { file, .. } => {
            format!("log/{file}")
        }
        _ => "log".to_owned(),
    }
}

/// Every entry is one of Raft's, under its own index; so are vote and purge marker.
fn check_log(log: &Inspection, part: &mut CheckedPart) {
    let segments = log.segments();
    let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let held =
        log.indexes().map_or("no entries".to_owned(), |(first, last)| format!("entries {first} to {last}"));
    part.looked_at = format!("{} segments, {bytes} bytes, {held}", segments.len());
    if log.torn_tail_bytes() > 0 {
        part.looked_at += &format!(", {} bytes of an unfinished write", log.torn_tail_bytes());
    }
    if let Some(vote) = log.vote()
        && let Err(error) = postcard::from_bytes::<Vote>(&vote)
    {
        part.fault("log, vote", format!("it cannot be decoded: {error}"));
    }
    if let Some(purged) = log.purged() {
        match postcard::from_bytes::<LogId>(&purged.marker) {
            Ok(log_id) if log_id.index() == purged.index => {}
            Ok(log_id) => {
                part.fault("log, purge", format!("it is of {} and says {}", purged.index, log_id.index()))
            }
            Err(error) => part.fault("log, purge", format!("it cannot be decoded: {error}")),
        }
    }
    let mut next = 0;
    loop {
        let some = match log.entries(next..u64::MAX, LOG_BYTES) {
            Ok(some) => some,
            Err(error) => return part.fault(log_place(&error), error),
        };
        let Some(last) = some.last() else { return };
        next = last.index.saturating_add(1);
        for entry in &some {
            match postcard::from_bytes::<Entry>(&entry.payload) {
                Ok(decoded) if decoded.log_id.index() == entry.index => {}
                Ok(decoded) => {
                    part.fault(
                        format!("log, entry {}", entry.index),
                        format!("it says that it is {}", decoded.log_id),
                    );
                }
                Err(error) => part
                    .fault(format!("log, entry {}", entry.index), format!("it cannot be decoded: {error}")),
            }
        }
    }
}

/// The log goes as far as the checkpoint says, and begins no later than behind it.
pub(super) fn agree_log(
    applied: &Applied,
    floor: Option<&Floor>,
    log: Option<&Inspection>,
    part: &mut CheckedPart,
) {
    let place = "database and log";
    match (floor, log) {
        (Some(_), None) => part.fault(place, "the checkpoint knows of a log, and there is none"),
        (Some(floor), Some(log)) => {
            if let Err(error) = log.check_floor(floor) {
                part.fault(place, error);
            }
        }
        (None, _) => {}
    }
    let Some(log) = log else { return };
    let reached = applied.log_id.as_ref().map(LogId::index);
    let gone = log.purged().map(|purged| purged.index);
    if gone > reached {
        part.fault(
            place,
            format!("the log was let go of up to entry {gone:?}, the checkpoint holds {reached:?}"),
        );
    }
    if let (Some(log_id), Some((first, last))) = (applied.log_id, log.indexes()) {
        if first > log_id.index().saturating_add(1) && gone.is_none_or(|gone| gone < first - 1) {
            part.fault(
                place,
                format!("the log begins with entry {first}, the checkpoint ends with {}", log_id.index()),
            );
        }
        if (first..=last).contains(&log_id.index())
            && let Ok(some) = log.entries(log_id.index()..log_id.index() + 1, 1)
            && let Some(entry) = some.first()
            && let Ok(entry) = postcard::from_bytes::<Entry>(&entry.payload)
            && entry.log_id != log_id
        {
            part.fault(
                place,
                format!("the checkpoint ends with entry {log_id}, the log has {} there", entry.log_id),
            );
        }
    }
}
