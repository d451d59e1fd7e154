//! Opening what a data directory holds: its tree and its log, and whether the two belong together.

use std::path::Path;
use std::sync::Arc;

use conure_btree::Db;
use conure_wal::Floor;

use crate::failure::{Failure, Fault};
use crate::identity::{Identity, State};
use crate::offline;
use crate::platform;
use crate::raft::intake;
use crate::raft::log_store::LogStore;
use crate::raft::store::{Store, TREE_FILE, floor_in};
use crate::raft::types::Peer;

/// The log's folder in the data directory.
pub(crate) const LOG_DIR: &str = "log";

/// The most bytes of changed pages that the database holds in memory, roughly.
const DIRTY_BYTES_MAX: usize = 64 << 20;

/// The log and the tree of a data directory, open, and durable to where they can be missed.
pub(crate) struct Files {
    pub(super) store: Arc<Store>,
    pub(super) log: LogStore,
}

impl Files {
    /// Opens those in `dir` for the member `peer`. The text of an error is one line for users.
    pub(crate) async fn open(
        dir: &Path,
        identity: &Identity,
        peer: Peer,
        failure: &Failure,
    ) -> Result<Self, Fault> {
        let place = dir.display().to_string();
        let (dir, identity, failure) = (dir.to_owned(), identity.clone(), failure.clone());
        let opened = platform::spawn_blocking(move || open(&dir, &identity, peer, &failure));
        let (store, log) = opened
            .await
            .map_err(|e| e.to_string())?
            .map_err(|e| Fault::of(format!("data_dir {place:?}"), e))?;
        Ok(Self { store, log })
    }
}

/// A member's directory has had a database from its first vote on. Without it nothing says what the member promised.
fn no_database() -> Fault {
    Fault::damaged(format!("it is a member's and has no database ({TREE_FILE:?})"))
}

fn open(
    dir: &Path,
    identity: &Identity,
    peer: Peer,
    failure: &Failure,
) -> Result<(Arc<Store>, LogStore), Fault> {
    let disk = platform::directory(dir)?;
    intake::remove_leftovers(disk.as_ref())?;
    let had_tree = platform::exists(&dir.join(TREE_FILE));
    if !had_tree && identity.state == State::Member {
        return Err(no_database());
    }
    let mut options = conure_btree::Options::default();
    options.dirty_bytes_max = DIRTY_BYTES_MAX;
    let db = Db::open(Arc::clone(&disk), TREE_FILE, options)?;
    let role = peer.role;
    if identity.state == State::Founding {
        offline::settle(&db, identity.node_id, peer)?;
    }
    let floor = floor_in(&db.begin_read()?)?;
    let floor = match floor {
        None => None,
        Some(bytes) => Some(Floor::decode(&bytes).ok_or("the tree's record of the log is unreadable")?),
    };
    let segment_bytes = super::room::segment_bytes(dir);
    let options = conure_wal::Options { must_exist: floor.is_some(), segment_bytes, ..Default::default() };
    let wal = platform::open_log(&dir.join(LOG_DIR), options, floor.as_ref())?;
    // The tree is made before the log: one that is missing beside a log is lost.
    if !had_tree && (wal.last_index().is_some() || wal.purged().is_some() || wal.vote().is_some()) {
        disk.remove(TREE_FILE)?;
        return Err(no_database());
    }
    let store = Store::new(disk, Arc::new(db), role, failure.clone())?;
    let applied = store.applied();
    if applied.cluster_id.is_empty() {
        store.found_cluster(&identity.cluster_id, identity.incarnation)?;
    } else if applied.cluster_id == identity.cluster_id && applied.incarnation == identity.incarnation + 1 {
        return Err(Fault::from(format!(
            "a recovery of it was broken off; repeat `conure-db recover` with --confirm {}:{}",
            identity.cluster_id, identity.incarnation
        )));
    } else if applied.cluster_id != identity.cluster_id || applied.incarnation != identity.incarnation {
        return Err(Fault::from(format!(
            "its database belongs to cluster {:?} (incarnation {}), its identity to {:?} ({}); the files of two members were \
             mixed: put them back, or empty the directory and join again",
            applied.cluster_id, applied.incarnation, identity.cluster_id, identity.incarnation
        )));
    }
    if let Some(purged) = wal.purged().filter(|purged| purged.index > applied.index()) {
        return Err(Fault::from(format!(
            "its database holds the changes up to entry {} and its log begins after entry {}; restore the database that \
             belongs to this log, or empty the directory and join again",
            applied.index(),
            purged.index
        )));
    }
    let log = LogStore::new(Arc::new(wal), failure.clone());
    if floor.is_none() {
        // From before the first vote on, a log that is lost is missed.
        store.checkpoint(&log.floor())?;
    }
    Ok((Arc::new(store), log))
}
