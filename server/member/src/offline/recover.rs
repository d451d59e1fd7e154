//! A cluster that lost its quorum for good goes on with one of its data members.
//!
//! In this order: a copy of the directory as it was; the log's changes in the database; the next incarnation in it, one
//! durable commit with those changes; the old log away; the identity of the next incarnation. Where it is broken off before that
//! commit nothing has happened, and after it no member starts before the recovery was repeated: identity and
//! database name different incarnations.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conure_btree::{Db, Options};
use conure_client::api::Role;
use conure_io::{Disk as _, RealDisk};
use conure_wal::Inspection;

use super::directory::{newest, snapshot};
use super::founding::{Origin, first_log_id, raised};
use super::read_only::ReadOnlyDisk;
use super::{OfflineError, keep};
use crate::failure::Failure;
use crate::identity::{IDENTITY_FILE, Identity, IdentityError, State, new_node_id};
use crate::member::{LOG_DIR, take_lock};
use crate::raft::intake;
use crate::raft::state::Applied;
use crate::raft::store::{Store, TREE_FILE, applied_in, floor_in};
use crate::raft::types::{Entry, LogId};

/// Changed pages held in memory at once.
const DIRTY_BYTES: usize = 16 << 20;
/// So many bytes of the log are applied at once, or one entry.
const APPLY_BYTES: usize = 4 << 20;
const OTHER: &str = "recover the directory of a data member of the cluster";

/// Which recovery is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverOptions {
    /// `CLUSTER_ID:INCARNATION` as they are now; the id alone for incarnation 1.
    pub confirm: Option<String>,
    /// The only member that is meant.
    pub member: Option<String>,
    /// Keep a copy of the directory as it was.
    pub copy: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovery {
    /// The member is the only one of a new incarnation.
    Done(Recovered),
    /// Nothing was changed: the recovery that is meant was made before, or is another member's. The text says which.
    NotDue(String),
}

/// A cluster that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Its one member.
    pub node_id: String,
    /// Its id, which stays.
    pub cluster_id: String,
    /// Its new incarnation.
    pub incarnation: u64,
    /// The last entry's term; in the new incarnation terms begin anew.
    pub term: u64,
    /// The last entry's index.
    pub index: u64,
    /// How many entries of the log the database did not hold yet.
    pub replayed: u64,
    /// Its revision: the next change takes the one after.
    pub revision: u64,
    /// The members that it left behind, by name.
    pub left_behind: Vec<String>,
    /// Where the directory is as it was.
    pub copy: Option<PathBuf>,
}

/// Makes `dir`, which no member may run on, the data directory of the only member of its cluster's next incarnation,
/// with all that its database and its log hold, whether a quorum had it or not.
///
/// # Errors
///
/// [`OfflineError::DataDir`] when it is not confirmed, or the directory cannot be used; [`OfflineError::Io`]. Repeating it is
/// always safe.
pub fn recover(
    dir: &Path,
    options: &RecoverOptions,
    mut step: impl FnMut(&str),
) -> Result<Recovery, OfflineError> {
    let has = |name: &str| dir.join(name).try_exists().map_err(|e| OfflineError::unread(dir, name, e));
    if !has(IDENTITY_FILE)? && !has(TREE_FILE)? {
        return Ok(Recovery::NotDue(format!(
            "data_dir {:?} holds no member's data; {OTHER}",
            dir.display().to_string()
        )));
    }
    let _lock = take_lock(dir).map_err(|(what, mend)| OfflineError::dir(dir, what, mend))?;
    let identity = identity(dir)?;
    if let Some(member) = options.member.as_ref().filter(|member| **member != identity.name) {
        let name = &identity.name;
        return Ok(Recovery::NotDue(format!(
            "the directory is member {name:?}'s, and {member:?} is to be recovered"
        )));
    }
    let log = log(dir)?;
    if let Some(done) = confirmed(dir, options, &identity, log.as_ref())? {
        return Ok(Recovery::NotDue(done));
    }
    usable(dir, &identity)?;
    if !dir.join(TREE_FILE).exists() {
        return Err(OfflineError::dir(dir, "has no database", OTHER));
    }
    step("keeping a copy");
    let incarnation = identity.incarnation;
    let copy = if options.copy && !begun(dir, &identity)? {
        Some(keep::keep(dir, &format!("before-recovery-{incarnation}"))?)
    } else {
        None
    };
    step("reading the log");
    let (before, applied, replayed) = raise(dir, &identity, log, step)?;
    wipe_log(dir).map_err(OfflineError::io("remove the old log"))?;
    let raised = Identity {
        node_id: new_node_id(),
        incarnation: applied.incarnation,
        state: State::Founding,
        ..identity.clone()
    };
    raised.store(dir).map_err(OfflineError::io("write the identity file"))?;
    let mut left_behind: Vec<String> = before
        .membership
        .nodes()
        .map(|(_, peer)| peer.name.clone())
        .filter(|name| *name != identity.name)
        .collect();
    left_behind.sort();
    Ok(Recovery::Done(Recovered {
        node_id: raised.name,
        cluster_id: raised.cluster_id,
        incarnation: raised.incarnation,
        term: before.log_id.map_or(0, |log_id| log_id.committed_leader_id().term),
        index: before.index(),
        replayed,
        revision: applied.revision,
        left_behind,
        copy,
    }))
}

fn identity(dir: &Path) -> Result<Identity, OfflineError> {
    let mend = "restore the file \"identity\", or a backup";
    match Identity::load(dir) {
        Ok(Some(identity)) => Ok(identity),
        Ok(None) => Err(OfflineError::dir(dir, "has no identity file", mend)),
        Err(IdentityError::Io(e)) => Err(OfflineError::unread(dir, IDENTITY_FILE, e)),
        Err(e) => Err(OfflineError::dir(dir, format!("has an identity file that {e}"), mend)),
    }
}

/// `None` where the folder has no log: a recovery before this one removed it.
fn log(dir: &Path) -> Result<Option<Inspection>, OfflineError> {
    let disk = match ReadOnlyDisk::new(&dir.join(LOG_DIR)) {
        Ok(disk) => disk,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(OfflineError::unread(dir, LOG_DIR, e)),
    };
    let log = Inspection::read(&disk).map_err(|e| OfflineError::log(dir, e, |what| damaged(dir, &what)))?;
    Ok(log.log_id().is_some().then_some(log))
}

fn damaged(dir: &Path, why: &dyn std::fmt::Display) -> OfflineError {
    OfflineError::dir(
        dir,
        format!("has a log that cannot be used: {why}"),
        "recover another member; where this is the last one, `conure-db dump --ignore-log` gets out what its last \
         checkpoint holds, and `conure-db load` makes a new cluster of it",
    )
}

/// Refuses what does not name this cluster as it is. `Some` says that the recovery that was meant is done.
fn confirmed(
    dir: &Path,
    options: &RecoverOptions,
    identity: &Identity,
    log: Option<&Inspection>,
) -> Result<Option<String>, OfflineError> {
    let (cluster_id, incarnation) = (&identity.cluster_id, identity.incarnation);
    let named = match options.confirm.as_deref().filter(|confirm| !confirm.is_empty()) {
        // Never recovered before: the id alone says it all, and never does again.
        Some(confirm) if confirm == cluster_id => Some(1),
        Some(confirm) => confirm
            .strip_prefix(cluster_id.as_str())
            .and_then(|rest| rest.strip_prefix(':'))
            .and_then(|number| number.parse::<u64>().ok()),
        None => None,
    };
    match named {
        Some(named) if named == incarnation => Ok(None),
        Some(named) if named < incarnation => Ok(Some(format!(
            "cluster {cluster_id:?} is past incarnation {named} already: it is at {incarnation}; to recover it again say \
             --confirm {cluster_id}:{incarnation}"
        ))),
        _ => {
            let last = newest(log, None).map_err(|e| damaged(dir, &e))?;
            let held = last.map_or_else(String::new, |last| {
                format!(
                    ", and its log goes up to entry {} of term {}",
                    last.index(),
                    last.committed_leader_id().term
                )
            });
            let given = match &options.confirm {
                Some(confirm) if !confirm.is_empty() => format!("not {confirm:?}"),
                _ => "and the recovery is not confirmed".to_owned(),
            };
            Err(OfflineError::dir(
                dir,
                format!(
                    "is member {:?}'s of cluster {cluster_id:?}, incarnation {incarnation}{held}; {given}",
                    identity.name
                ),
                format!(
                    "see that no quorum of that cluster will ever be back and no other member holds more, then say \
                     --confirm {cluster_id}:{incarnation}"
                ),
            ))
        }
    }
}

fn usable(dir: &Path, identity: &Identity) -> Result<(), OfflineError> {
    let what = match (&identity.state, identity.role) {
        (State::Member, Role::Data) => return Ok(()),
        (_, Role::Arbiter) => "is an arbiter's, which holds no data",
        (State::Fresh, _) => "belongs to no cluster",
        (State::Founding, _) => {
            let mend = "start the member: it is the only one of its cluster";
            return Err(OfflineError::dir(dir, "was never started since it was made", mend));
        }
        (State::Released, _) => "let go of its cluster to follow another",
        (State::Adopted, _) => "was never started since it was taken into its cluster",
        (State::Removed, _) => "is that of a member that was removed from its cluster",
    };
    Err(OfflineError::dir(dir, what, OTHER))
}

/// Whether a recovery was broken off behind its commit: the database is of the next incarnation already.
fn begun(dir: &Path, identity: &Identity) -> Result<bool, OfflineError> {
    let disk = ReadOnlyDisk::new(dir).map_err(OfflineError::io("open the directory"))?;
    let tree =
        Db::open(Arc::new(disk), TREE_FILE, Options::default()).map_err(|e| OfflineError::tree(dir, e))?;
    let applied =
        snapshot(&tree).and_then(|read| applied_in(&read)).map_err(OfflineError::io("read the database"))?;
    Ok(is_next(&applied, identity))
}

fn is_next(applied: &Applied, identity: &Identity) -> bool {
    applied.cluster_id == identity.cluster_id && applied.incarnation == identity.incarnation + 1
}

/// Applies the log and makes the next incarnation, all in one durable commit. Gives the state before and after that,
/// and how many entries were applied.
fn raise(
    dir: &Path,
    identity: &Identity,
    log: Option<Inspection>,
    step: impl FnMut(&str),
) -> Result<(Applied, Applied, u64), OfflineError> {
    let failed = || OfflineError::io("write the database");
    let disk = Arc::new(RealDisk::new(dir).map_err(OfflineError::io("open the directory"))?);
    let mut options = Options::default();
    options.dirty_bytes_max = DIRTY_BYTES;
    let db =
        Db::open(Arc::clone(&disk) as Arc<_>, TREE_FILE, options).map_err(|e| OfflineError::tree(dir, e))?;
    let floor = db.begin_read().map_err(|e| OfflineError::tree(dir, e))?;
    let floor = floor_in(&floor).map_err(OfflineError::io("read the database"))?;
    let store = Store::new(disk, Arc::new(db), Role::Data, Failure::default())
        .map_err(OfflineError::io("read the database"))?;
    let found = Applied::clone(&store.applied());
    if is_next(&found, identity) {
        // What a recovery that was broken off saw of the old state is in its copy.
        return Ok((Applied { log_id: found.log_id, ..Applied::default() }, found, 0));
    }
    if found.cluster_id != identity.cluster_id || found.incarnation != identity.incarnation {
        let what =
            format!("has a database of cluster {:?}, incarnation {}", found.cluster_id, found.incarnation);
        return Err(OfflineError::dir(dir, what, "put back the files that belong together"));
    }
    let log = log.ok_or_else(|| damaged(dir, &"it is not there"))?;
    if let Some(floor) = floor.and_then(|bytes| conure_wal::Floor::decode(&bytes)) {
        log.check_floor(&floor).map_err(|e| damaged(dir, &e))?;
    }
    let origin = Origin {
        cluster_id: found.cluster_id.clone(),
        incarnation: found.incarnation,
        revision: found.revision,
        log_index: found.index(),
    };
    let (incarnation, revision) = raised(&origin, None)?;
    // What the log holds beyond the database may never have been agreed on: the members that are lost may have given the
    // revisions after this one to other changes.
    store.skip_to(revision).map_err(failed())?;
    let replayed = replay(dir, &store, &log, step)?;
    let before = Applied::clone(&store.applied());
    if before.released_for.is_some() {
        return Err(OfflineError::dir(dir, "let go of its cluster to follow another", OTHER));
    }
    let old: BTreeSet<u64> = before.membership.nodes().map(|(id, _)| *id).collect();
    let next = Applied {
        cluster_id: before.cluster_id.clone(),
        incarnation,
        log_id: Some(first_log_id(identity.node_id, before.index())),
        revision: before.revision,
        forks: before.forks.clone().begin(incarnation),
        removed: before.removed.union(&old).copied().collect(),
        ..Applied::default()
    };
    store.begin_incarnation(next.clone()).map_err(failed())?;
    store.close();
    Ok((before, next, replayed))
}

/// Applies the entries behind what the database holds; how many there were.
fn replay(
    dir: &Path,
    store: &Store,
    log: &Inspection,
    mut step: impl FnMut(&str),
) -> Result<u64, OfflineError> {
    let applied = store.applied();
    let mut next = applied.log_id.as_ref().map_or(0, |log_id: &LogId| log_id.index() + 1);
    let begins = log.indexes().map(|(first, _)| first);
    let purged = log.purged().map(|purged| purged.index + 1);
    if let Some(begins) = begins.or(purged).filter(|begins| *begins > next) {
        return Err(damaged(
            dir,
            &format!("it begins with entry {begins}, and the database ends before {next}"),
        ));
    }
    let (mut replayed, last) = (0, log.indexes().map_or(0, |(_, last)| last));
    loop {
        let some = log.entries(next..u64::MAX, APPLY_BYTES).map_err(|e| damaged(dir, &e))?;
        let Some(end) = some.last().map(|entry| entry.index) else { return Ok(replayed) };
        replayed += some.len() as u64;
        let entries: Result<Vec<Entry>, _> =
            some.iter().map(|entry| postcard::from_bytes(&entry.payload)).collect();
        let entries = entries.map_err(|e| damaged(dir, &format!("an entry cannot be decoded ({e})")))?;
        store.apply(entries).map_err(OfflineError::io("write the database"))?;
        step(&format!("applying the log: entry {end} of {last}"));
        next = end + 1;
    }
}

fn wipe_log(dir: &Path) -> io::Result<()> {
    let disk = RealDisk::new(dir)?;
    intake::remove_leftovers(&disk)?;
    disk.sync_dir()?;
    let log = RealDisk::new(&dir.join(LOG_DIR))?;
    for name in log.list()? {
        log.remove(&name)?;
    }
    log.sync_dir()
}
