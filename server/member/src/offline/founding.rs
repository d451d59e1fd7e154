//! Making a data directory that holds data from the start: a new cluster with one member, who does not run yet.
//!
//! A marker file is there first and the identity last: it is the marker, renamed. Until then no member starts on the
//! directory, and a further attempt clears away what an earlier one left.
//!
//! The tree names a last applied entry behind which the new log begins, so that members who join get the data as a
//! snapshot. Who the one member is, and where, is filled in when it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conure_btree::{Db, Durability, Options};
use conure_client::api::Role;
use conure_io::RealDisk;
use openraft::Membership;
use openraft::vote::RaftLeaderId as _;

use super::OfflineError;
use crate::backup_format::Record;
use crate::identity::{IDENTITY_FILE, Identity, State, new_node_id};
use crate::member::{LOCK_FILE, LOG_DIR, take_lock};
use crate::raft::forks::Forks;
use crate::raft::state::{APPLIED_KEY, Applied, KV_TREE, META_TREE};
use crate::raft::store::{TREE_FILE, applied_in, engine};
use crate::raft::types::{LogId, Peer, StoredMembership};

/// There while a directory is being made.
pub(crate) const UNFINISHED_FILE: &str = "identity.unfinished";
/// So far the revision goes ahead with every incarnation, beyond any that the cluster's earlier lives gave away.
const REVISIONS_SKIPPED: u64 = 1 << 32;
const NAME_EMPTY: &str = "name an empty directory";
/// Changed pages held in memory at once.
const DIRTY_BYTES: usize = 16 << 20;
const NAME_LEN_MAX: usize = 253;
const CLUSTER_ID_LEN_MAX: usize = 128;

/// What the new cluster and its one member shall be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCluster {
    /// The member's name.
    pub node_id: String,
    /// The cluster's id; a random one where none is given.
    pub cluster_id: Option<String>,
    /// The cluster's incarnation, above that of the data; the next one where none is given.
    pub incarnation: Option<u64>,
}

/// A cluster that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Founded {
    /// Its id.
    pub cluster_id: String,
    /// Its incarnation.
    pub incarnation: u64,
    /// Its revision: the next change takes the one after.
    pub revision: u64,
    /// How many keys it has.
    pub keys: u64,
    /// The cluster that the data came from.
    pub from_cluster_id: String,
}

/// Where the data came from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) cluster_id: String,
    pub(crate) incarnation: u64,
    pub(crate) revision: u64,
    pub(crate) log_index: u64,
}

/// Takes the records, in the order of their keys.
pub(crate) type Put<'a> = dyn FnMut(Record<'_>) -> Result<(), OfflineError> + 'a;

/// Makes `dir` the data directory of a new cluster with the records that `fill` gives. Where it fails, nothing that it made
/// is left.
pub(crate) fn found(
    dir: &Path,
    new: &NewCluster,
    fill: impl FnOnce(&mut Put<'_>) -> Result<Origin, OfflineError>,
) -> Result<Founded, OfflineError> {
    check_names(new)?;
    let made = Made::by(dir);
    if made.lock.is_some() {
        // Before a lock is made there; with one, it is seen first whether somebody holds it.
        refuse_members(dir)?;
    }
    let lock = take_lock(dir).map_err(|(what, mend)| OfflineError::dir(dir, what, mend));
    let founded = lock.and_then(|_lock| {
        let founded = found_locked(dir, new, fill);
        if founded.is_err() {
            made.remove();
        }
        founded
    })?;
    made.sync().map_err(OfflineError::io(format_args!("sync the directory above {}", dir.display())))?;
    Ok(founded)
}

/// What is not there yet, and goes again where nothing comes of it.
struct Made<'a> {
    lock: Option<PathBuf>,
    /// From the directory upwards.
    directories: Vec<&'a Path>,
}

impl<'a> Made<'a> {
    fn by(dir: &'a Path) -> Self {
        let lock = dir.join(LOCK_FILE);
        let absent = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        Self {
            lock: (!lock.exists()).then_some(lock),
            directories: dir.ancestors().take_while(absent).collect(),
        }
    }

    /// Whatever stays is cleared away by the next attempt, and no member starts on it.
    fn remove(&self) {
        if let Some(lock) = &self.lock {
            let _ = fs::remove_file(lock);
        }
        for directory in &self.directories {
            let _ = fs::remove_dir(directory);
        }
    }

    /// Makes the new directories' names durable.
    fn sync(&self) -> io::Result<()> {
        self.directories.iter().filter_map(|directory| directory.parent()).try_for_each(|parent| {
            sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
        })
    }
}

/// Makes all but the directory and its lock.
fn found_locked(
    dir: &Path,
    new: &NewCluster,
    fill: impl FnOnce(&mut Put<'_>) -> Result<Origin, OfflineError>,
) -> Result<Founded, OfflineError> {
    let io = |e: io::Error| OfflineError::io(format_args!("write to {}", dir.display()))(e);
    refuse_members(dir)?;
    if dir.join(UNFINISHED_FILE).exists() {
        let cleared = clear(dir);
        cleared.map_err(|e| OfflineError::dir(dir, format!("cannot be cleared: {e}"), NAME_EMPTY))?;
    }
    fs::File::create(dir.join(UNFINISHED_FILE)).and_then(|marker| marker.sync_all()).map_err(io)?;
    sync_dir(dir).map_err(io)?;
    let made = make(dir, new, fill).and_then(|(founded, identity)| {
        identity.store_by(dir, UNFINISHED_FILE).map_err(io)?;
        Ok(founded)
    });
    if made.is_err() {
        let _ = clear(dir);
    }
    made
}

fn check_names(new: &NewCluster) -> Result<(), OfflineError> {
    let name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let value = &new.node_id;
    if value.is_empty() || value.len() > NAME_LEN_MAX || !value.chars().all(name) {
        let mend = format!("use 1 to {NAME_LEN_MAX} letters, digits, '-', '_' and '.'");
        return Err(OfflineError::Name { what: "the member's name", value: value.clone(), mend });
    }
    let id = |c: char| name(c) || c == ':';
    match &new.cluster_id {
        Some(value) if value.is_empty() || value.len() > CLUSTER_ID_LEN_MAX || !value.chars().all(id) => {
            let mend = format!("use 1 to {CLUSTER_ID_LEN_MAX} letters, digits, '-', '_', '.' and ':'");
            Err(OfflineError::Name { what: "the cluster's id", value: value.clone(), mend })
        }
        _ => Ok(()),
    }
}

/// Refuses a directory that holds somebody's data; what an attempt before this one left is nobody's.
fn refuse_members(dir: &Path) -> Result<(), OfflineError> {
    if dir.join(IDENTITY_FILE).exists() {
        return Err(OfflineError::dir(dir, "belongs to a member already; it is left as it is", NAME_EMPTY));
    }
    if dir.join(UNFINISHED_FILE).exists() {
        return Ok(());
    }
    match [TREE_FILE, LOG_DIR].into_iter().find(|name| dir.join(name).exists()) {
        Some(name) => Err(OfflineError::dir(dir, format!("has a database ({name:?}) already"), NAME_EMPTY)),
        None => Ok(()),
    }
}

/// Removes everything of an unfinished directory, its marker last.
fn clear(dir: &Path) -> io::Result<()> {
    for name in [TREE_FILE, &format!("{TREE_FILE}.new"), UNFINISHED_FILE] {
        match fs::remove_file(dir.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

fn make(
    dir: &Path,
    new: &NewCluster,
    fill: impl FnOnce(&mut Put<'_>) -> Result<Origin, OfflineError>,
) -> Result<(Founded, Identity), OfflineError> {
    let failed = |error: conure_btree::Error| OfflineError::io("write the database")(engine(error));
    let node_id = new_node_id();
    let mut options = Options::default();
    options.dirty_bytes_max = DIRTY_BYTES;
    let disk = RealDisk::new(dir).map_err(OfflineError::io("open the directory"))?;
    let db = Db::open(Arc::new(disk), TREE_FILE, options).map_err(failed)?;
    let mut txn = db.begin_write().map_err(failed)?;
    let mut kv = txn.tree(KV_TREE).map_err(failed)?;
    let mut sorted = kv.appender().map_err(failed)?;
    let origin = fill(&mut |record| {
        let parts = [&record.revision.to_le_bytes()[..], record.value];
        sorted.push_parts(record.key, &parts).map_err(failed)
    })?;
    let keys = sorted.finish().map_err(failed)?;
    let (incarnation, revision) = raised(&origin, new.incarnation)?;
    let applied = Applied {
        cluster_id: new.cluster_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        incarnation,
        log_id: Some(first_log_id(node_id, origin.log_index)),
        revision,
        forks: Forks::default().begin(incarnation),
        ..Applied::default()
    };
    let encoded = applied.encode().map_err(OfflineError::io("write the database"))?;
    txn.tree(META_TREE).and_then(|mut meta| meta.put(APPLIED_KEY, &encoded)).map_err(failed)?;
    txn.commit(Durability::Durable).map_err(failed)?;
    let identity = Identity {
        name: new.node_id.clone(),
        node_id,
        cluster_id: applied.cluster_id.clone(),
        incarnation,
        state: State::Founding,
        role: Role::Data,
    };
    let founded = Founded {
        cluster_id: applied.cluster_id,
        incarnation,
        revision,
        keys,
        from_cluster_id: origin.cluster_id,
    };
    Ok((founded, identity))
}

/// The new cluster's incarnation and revision.
pub(crate) fn raised(origin: &Origin, wanted: Option<u64>) -> Result<(u64, u64), OfflineError> {
    let refused = |value: u64, mend: String| {
        Err(OfflineError::Name { what: "the incarnation", value: value.to_string(), mend })
    };
    let incarnation = wanted.unwrap_or(origin.incarnation.saturating_add(1));
    let raise = incarnation.saturating_sub(origin.incarnation);
    if raise == 0 {
        return refused(
            incarnation,
            format!("give one above {}, which the data has had already", origin.incarnation),
        );
    }
    match raise.checked_mul(REVISIONS_SKIPPED).and_then(|skip| origin.revision.checked_add(skip)) {
        Some(revision) if revision < u64::MAX - REVISIONS_SKIPPED => Ok((incarnation, revision)),
        _ => refused(incarnation, "give a lower one: so many revisions there are not".to_owned()),
    }
}

/// An entry that no leader wrote: every term is above it, and the log begins behind it.
pub(crate) fn first_log_id(node_id: u64, index: u64) -> LogId {
    type LeaderId = openraft::alias::LeaderIdOf<crate::raft::types::TypeConfig>;
    LogId::new(LeaderId::new(0, node_id).to_committed(), index.max(1))
}

/// Before a founding member starts for the first time on data that it was given: makes it the only member.
pub(crate) fn settle(db: &Db, node_id: u64, peer: Peer) -> io::Result<()> {
    let mut applied = applied_in(&db.begin_read().map_err(engine)?)?;
    // Only what this module made has applied an entry of term 0 that is not the very first one.
    let made_here = |log_id: &LogId| log_id.committed_leader_id().term == 0 && log_id.index() > 0;
    let Some(log_id) = applied.log_id.filter(made_here) else { return Ok(()) };
    let voters = vec![BTreeSet::from([node_id])];
    let membership = Membership::new(voters, BTreeMap::from([(node_id, peer)])).map_err(io::Error::other)?;
    let membership = StoredMembership::new(Some(log_id), membership);
    if applied.membership == membership {
        return Ok(());
    }
    applied.membership = membership;
    let mut txn = db.begin_write().map_err(engine)?;
    txn.tree(META_TREE).map_err(engine)?.put(APPLIED_KEY, &applied.encode()?).map_err(engine)?;
    txn.commit(Durability::Durable).map_err(engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_incarnation_has_revisions_of_its_own() {
        let origin = Origin { cluster_id: "c".into(), incarnation: 2, revision: 10, log_index: 0 };
        assert_eq!(raised(&origin, None).unwrap(), (3, 10 + (1 << 32)));
        assert_eq!(raised(&origin, Some(5)).unwrap(), (5, 10 + 3 * (1 << 32)));
        for wanted in [0, 2, u64::MAX] {
            assert!(raised(&origin, Some(wanted)).is_err(), "{wanted}");
        }
        let spent = Origin { revision: u64::MAX - 5, ..origin };
        assert!(raised(&spent, None).is_err());
    }

    #[test]
    fn a_directory_of_somebody_is_left_alone() {
        let new = NewCluster { node_id: "node1".into(), cluster_id: None, incarnation: None };
        for name in [IDENTITY_FILE, TREE_FILE, LOG_DIR] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), "somebody's").unwrap();
            let refused = found(dir.path(), &new, |_| unreachable!("nothing is asked for")).unwrap_err();
            assert!(matches!(refused, OfflineError::DataDir { .. }), "{refused}");
            assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"somebody's");
        }
    }
}
