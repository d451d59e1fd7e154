//! Is a data directory what a member wrote there?

use std::path::Path;

use conure_btree::{Db, Problem};
use conure_wal::{Floor, Inspection};
use serde::Serialize;

use super::OfflineError;
use super::directory::{Directory, described, snapshot};
use crate::identity::{Identity, State};
use crate::raft::state::{Applied, KV_TREE};
use crate::raft::store::{TREE_FILE, engine};
use crate::raft::types::{Entry, LogId, Vote};

/// So many bytes of the log are looked at at once, or one entry.
const LOG_BYTES: usize = 4 << 20;
/// So many faults of a part are listed.
const FAULTS_MAX: usize = 100;

/// What [`check`] found. As JSON its names are these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// Whether nothing is wrong.
    pub clean: bool,
    /// What was looked at: `identity`, `database`, `keys`, `log`, and `agreement` of all these.
    pub parts: Vec<CheckedPart>,
}

/// A part of a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckedPart {
    /// Its name.
    pub name: &'static str,
    /// What was looked at, for people.
    pub looked_at: String,
    /// What is wrong with it, at most a hundred things.
    pub faults: Vec<Fault>,
}

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Fault {
    /// Where: a file, and a place in it.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl CheckedPart {
    fn new(name: &'static str) -> Self {
        Self { name, looked_at: String::new(), faults: Vec::new() }
    }

    fn fault(&mut self, place: impl Into<String>, what: impl ToString) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { place: place.into(), what: what.to_string() });
        }
    }
}

/// Looks at all of `dir`, which no member may run on: identity, every page of the tree, every key's revision, every batch
/// and entry of the log, and whether they belong together. Nothing in `dir` changes. `step` hears what is looked at next.
///
/// # Errors
///
/// What keeps it from looking: [`OfflineError::DataDir`] when the directory is not there or in use, or when its files are
/// of another version, [`OfflineError::Io`]. What is wrong with the files is not an error but in the answer.
pub fn check(dir: &Path, mut step: impl FnMut(&str)) -> Result<Check, OfflineError> {
    let directory = Directory::open(dir)?;
    step("the identity");
    let (identity_part, identity) = check_identity(&directory)?;
    let mut parts = vec![identity_part];

    step("the database: every page");
    let mut database = CheckedPart::new("database");
    let tree = match directory.tree() {
        Ok(Some(tree)) => {
            check_pages(&directory, &tree, &mut database)?;
            Some(tree)
        }
        Ok(None) => {
            database.looked_at = "none".to_owned();
            None
        }
        Err(conure_btree::Error::Corrupt { page, reason }) => {
            database.looked_at = format!("{} bytes", directory.tree_bytes());
            database.fault(format!("{TREE_FILE}, page {page}"), format!("{reason}; it cannot be opened"));
            None
        }
        Err(error @ conure_btree::Error::NotADatabase { .. }) => {
            database.fault(TREE_FILE, error);
            None
        }
        Err(error) => return Err(directory.unreadable(error)),
    };
    let pages_are_sound = database.faults.is_empty();
    parts.push(database);

    let mut found = None;
    if let Some(tree) = tree.filter(|_| pages_are_sound) {
        step("the database: every key");
        let mut keys = CheckedPart::new("keys");
        found = check_keys(&tree, &mut keys);
        parts.push(keys);
    }

    step("the log");
    let mut log_part = CheckedPart::new("log");
    let log = match directory.log() {
        Ok(Some(log)) => Some(log),
        Ok(None) => {
            log_part.looked_at = "none".to_owned();
            None
        }
        Err(error @ (conure_wal::Error::Io { .. } | conure_wal::Error::Version { .. })) => {
            return Err(OfflineError::dir(
                dir,
                format!("has a log that cannot be read: {error}"),
                "see there",
            ));
        }
        Err(error) => {
            log_part.fault(log_place(&error), &error);
            None
        }
    };
    if let Some(log) = &log {
        check_log(log, &mut log_part);
        // The tree is made before the log.
        if !directory.has_tree() && log.last_batch().is_some_and(|batch| batch > 0) {
            log_part.fault(TREE_FILE, "there is a log and no database");
        }
    }
    let log_is_sound = log_part.faults.is_empty();
    parts.push(log_part);

    let mut agreement = CheckedPart::new("agreement");
    if let (Some(identity), Some((applied, floor))) = (&identity, &found) {
        agree(identity, applied, &mut agreement);
        if log_is_sound {
            agree_log(applied, floor.as_ref(), log.as_ref(), &mut agreement);
        }
        parts.push(agreement);
    }
    Ok(Check { clean: parts.iter().all(|part| part.faults.is_empty()), parts })
}

fn check_identity(directory: &Directory) -> Result<(CheckedPart, Option<Identity>), OfflineError> {
    let mut part = CheckedPart::new("identity");
    let identity = match directory.identity() {
        Ok(Some(identity)) => Some(identity),
        Ok(None) => {
            part.fault("identity", "the file is not there");
            None
        }
        Err(crate::identity::IdentityError::Io(e)) => return Err(OfflineError::io("read the identity")(e)),
        Err(error) => {
            part.fault("identity", format!("it {error}"));
            None
        }
    };
    if let Some(identity) = &identity {
        part.looked_at = match identity.cluster_id.as_str() {
            "" => format!("member {}, in no cluster", identity.name),
            id => format!("member {}, cluster {id} (incarnation {})", identity.name, identity.incarnation),
        };
    }
    Ok((part, identity))
}

fn check_pages(directory: &Directory, tree: &Db, part: &mut CheckedPart) -> Result<(), OfflineError> {
    let report = tree.check().map_err(|e| directory.unreadable(e))?;
    let stats = tree.stats();
    part.looked_at = format!(
        "{} pages of {} bytes, {} of them free, commit {}",
        report.pages, stats.page_size_bytes, report.free_pages, report.commit
    );
    let place = |page: u32| {
        format!("{TREE_FILE}, page {page} (byte {})", u64::from(page) * u64::from(stats.page_size_bytes))
    };
    for Problem { page, reason } in &report.problems {
        part.fault(place(*page), reason);
    }
    let reading = OfflineError::io("read the database");
    for slot in directory.damaged_meta_pages(stats.page_size_bytes as usize).map_err(reading)? {
        part.fault(place(slot.into()), "this meta page is damaged");
    }
    Ok(())
}

/// Every stored value begins with a revision that the whole has reached.
fn check_keys(tree: &Db, part: &mut CheckedPart) -> Option<(Applied, Option<Floor>)> {
    let read = snapshot(tree).map_err(|e| part.fault(TREE_FILE, e)).ok()?;
    let (applied, floor) =
        described(&read).map_err(|e| part.fault(format!("{TREE_FILE}, tree meta"), e)).ok()?;
    let place = |number: u64| format!("{TREE_FILE}, tree {KV_TREE}, key {number}");
    let mut keys = 0;
    let walked = read.tree(KV_TREE).and_then(|kv| {
        for entry in kv.iter().flat_map(|kv| kv.range(..)) {
            let (_, stored) = entry?;
            keys += 1;
            match stored.split_first_chunk::<8>().map(|(revision, _)| u64::from_le_bytes(*revision)) {
                None => part.fault(place(keys), "its value has no revision"),
                Some(revision) if revision == 0 || revision > applied.revision => {
                    part.fault(
                        place(keys),
                        format!("its revision is {revision}, the whole {}", applied.revision),
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    });
    if let Err(error) = walked {
        part.fault(TREE_FILE, engine(error));
    }
    part.looked_at = format!("{keys} keys, revision {}", applied.revision);
    Some((applied, floor))
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

fn agree(identity: &Identity, applied: &Applied, part: &mut CheckedPart) {
    part.looked_at = format!(
        "checkpoint at entry {}, revision {}",
        applied.log_id.map_or("0".to_owned(), |log_id| log_id.index().to_string()),
        applied.revision
    );
    let lives = matches!(identity.state, State::Founding | State::Member);
    let same = applied.cluster_id == identity.cluster_id && applied.incarnation == identity.incarnation;
    if lives && !applied.cluster_id.is_empty() && !same {
        part.fault(
            "identity and database",
            format!(
                "the database belongs to cluster {:?} (incarnation {}), the identity to {:?} ({})",
                applied.cluster_id, applied.incarnation, identity.cluster_id, identity.incarnation
            ),
        );
    }
}

/// The log goes as far as the checkpoint says, and begins no later than behind it.
fn agree_log(applied: &Applied, floor: Option<&Floor>, log: Option<&Inspection>, part: &mut CheckedPart) {
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
