//! Is a data directory what a member wrote there?

mod log;
mod tree;

use std::path::Path;

use serde::Serialize;

use super::OfflineError;
use super::directory::Directory;
use crate::identity::{IDENTITY_FILE, Identity, State};
use crate::raft::state::Applied;
use log::{agree_log, check_whole_log};
use tree::{check_database, check_keys};

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
/// and entry of the log, and whether they belong together. Nothing in `dir` changes. `step` hears what is looked at, and how
/// many percent of it are done where that is known.
///
/// # Errors
///
/// What keeps it from looking: [`OfflineError::DataDir`] when the directory is not there or in use, or when its files are
/// of another version, [`OfflineError::Io`]. What is wrong with the files is not an error but in the answer.
pub fn check(dir: &Path, mut step: impl FnMut(&str, Option<u64>)) -> Result<Check, OfflineError> {
    let directory = Directory::open(dir)?;
    step("the identity", None);
    let (identity_part, identity) = check_identity(&directory)?;
    let mut parts = vec![identity_part];

    let (database, tree) =
        check_database(&directory, &mut |percent| step("the database: every page", Some(percent)))?;
    parts.push(database);
    let mut found = None;
    if let Some(tree) = tree {
        step("the database: every key", None);
        let mut keys = CheckedPart::new("keys");
        found = check_keys(&tree, &mut keys);
        parts.push(keys);
    }

    step("the log", None);
    let (log_part, log) = check_whole_log(&directory)?;
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
        Err(crate::identity::IdentityError::Io(e)) => {
            return Err(OfflineError::unread(&directory.path, IDENTITY_FILE, e));
        }
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
