//! From a configuration to a running member.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};

use conure_client::api::Role;
use conure_io::{File, OpenMode, Unreadable};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::core::{Core, Counters};
use super::files::LOG_DIR;
use super::host::HostCore;
use super::room::{Room, refuse_reserve};
use crate::access;
use crate::facade::MemberConfig;
use crate::failure::{Failure, Fault, REJOIN};
use crate::identity::{IDENTITY_FILE, Identity, IdentityError, State, new_node_id};
use crate::offline::UNFINISHED_FILE;
use crate::platform::{self, TcpListener};
use crate::raft::store::TREE_FILE;
use crate::transport::server;

/// Locked as long as a process uses the data directory.
pub(crate) const LOCK_FILE: &str = "lock";
/// What to do about an identity file that is not one.
const RESTORE_IDENTITY: &str = "restore the file, or empty the directory and join again";

/// Why a member cannot start. Each text is one line that names the thing, its value and the mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used: unwritable, locked, foreign, of another version.
    #[error("{0}")]
    DataDir(String),
    /// What is in the data directory is not what was written there, or part of it is gone.
    #[error("{0}")]
    Damaged(String),
    /// A setting does not suit the machine.
    #[error("{0}")]
    Setting(String),
    /// The Raft address cannot be bound.
    #[error("raft_addr {addr:?} cannot be bound: {source}; stop what uses it or choose another --raft-addr")]
    Bind {
        /// The address.
        addr: String,
        /// What failed.
        source: io::Error,
    },
}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> Self {
        if fault.damaged { Self::Damaged(fault.text) } else { Self::DataDir(fault.text) }
    }
}

/// The same refusal, as damage.
fn damaged(refused: &StartError) -> StartError {
    StartError::Damaged(refused.to_string())
}

fn data_dir(dir: &Path, what: impl Display, mend: impl Display) -> StartError {
    StartError::DataDir(format!("data_dir {:?} {what}; {mend}", dir.display().to_string()))
}

pub(crate) async fn start(config: MemberConfig) -> Result<Arc<Core>, StartError> {
    let dir = config.data_dir.clone();
    let lock = take_lock(&dir).map_err(|(what, mend)| data_dir(&dir, what, mend))?;
    refuse_reserve(&dir, config.tuning.disk_reserve).map_err(StartError::Setting)?;
    platform::try_out(&dir, &[TREE_FILE], &[LOG_DIR]).map_err(|(path, e)| {
        let what = format!("cannot be used: {:?}: {e}", path.display().to_string());
        if Unreadable::is(&e) {
            return damaged(&data_dir(&dir, what, REJOIN));
        }
        data_dir(&dir, what, access::mend(&path, &e))
    })?;
    let identity = identity(&dir, &config)?;
    let listener = TcpListener::bind(&config.raft_addr)
        .await
        .map_err(|source| StartError::Bind { addr: config.raft_addr.clone(), source })?;
    let tuning = config.tuning.clone();
    let room = Arc::new(Room::new(&dir, &tuning));
    let held = platform::Held::at(dir.join(LOCK_FILE))
        .map_err(|e| data_dir(&dir, format!("cannot be looked at: {e}"), access::mend(&dir, &e)))?;
    let core = Arc::new(Core {
        config,
        dir,
        held,
        boot: new_node_id(),
        lock: std::sync::Mutex::new(Some(lock)),
        identity: RwLock::new(identity.clone()),
        node: RwLock::new(None),
        life: Mutex::new(()),
        change: Mutex::new(()),
        failure: Failure::default(),
        counters: Counters::default(),
        port: Arc::default(),
        stopping: AtomicBool::new(false),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        write_slots: Arc::new(Semaphore::new(tuning.writes_in_flight_max)),
        write_bytes: Arc::new(Semaphore::new(tuning.write_bytes_in_flight_max.min(Semaphore::MAX_PERMITS))),
        room,
    });
    let begun = begin(&core, identity).await;
    if let Err(fault) = begun {
        core.halt().await;
        return Err(fault.into());
    }
    let host = Arc::new(HostCore(Arc::clone(&core)));
    let serving = server::serve(listener, host, Arc::clone(&core.port), core.stop.clone());
    core.tasks.spawn(core.failure.clone().supervise("Raft port", core.stop.clone(), serving));
    Ok(core)
}

/// Goes on where the directory left off.
async fn begin(core: &Arc<Core>, identity: Identity) -> Result<(), Fault> {
    match identity.state {
        State::Member | State::Adopted => core.begin_life(identity).await.map(drop),
        State::Founding => core.found(&identity.cluster_id.clone()).await,
        State::Fresh if core.config.bootstrap && core.config.role == Role::Data => {
            let cluster_id =
                core.config.cluster_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
            core.found(&cluster_id).await
        }
        // As it was asked for: it waits to be joined, or to be bootstrapped.
        State::Fresh => {
            tracing::info!("{}", core.why_not_in_cluster());
            Ok(())
        }
        State::Released | State::Removed => {
            tracing::warn!("{}", core.why_not_in_cluster());
            Ok(())
        }
    }
}

/// Takes the lock of `dir`, which is made where it is not there. An error is what is wrong and what to do.
pub(crate) fn take_lock(dir: &Path) -> Result<Arc<dyn File>, (String, String)> {
    // Another directory is the way out only where this one holds nothing yet.
    let mend = |e: &io::Error| {
        match platform::exists(dir) {
        true => access::mend(&dir.join(LOCK_FILE), e),
        false => "choose a directory that this user may write, with --data-dir; where this one is there already, run this \
                  as its owner"
            .to_owned(),
    }
    };
    if let Some(obstacle) = platform::in_the_way(dir) {
        return Err(obstacle);
    }
    let disk = platform::directory(dir).map_err(|e| (format!("cannot be made: {e}"), mend(&e)))?;
    let opened = match disk.open(LOCK_FILE, OpenMode::Existing) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => disk.open(LOCK_FILE, OpenMode::CreateNew),
        other => other,
    };
    let file = opened.map_err(|e| (format!("cannot be written: {e}"), mend(&e)))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err((
            "is in use by another process".to_owned(),
            "stop that process, or choose another directory with --data-dir".to_owned(),
        )),
        Err(e) => Err((format!("cannot be locked: {e}"), mend(&e))),
    }
}

fn named(role: Role) -> &'static str {
    match role {
        Role::Data => "a data member (--role data)",
        Role::Arbiter => "an arbiter (--role arbiter)",
    }
}

/// Why the identity file of `dir` cannot be used.
fn no_identity(dir: &Path, error: &IdentityError) -> StartError {
    let refused = |mend: &str| data_dir(dir, format!("has an identity file that {error}"), mend);
    match error {
        IdentityError::Io(e) if Unreadable::is(e) => damaged(&refused(REJOIN)),
        IdentityError::Io(e) => refused(&access::mend(&dir.join(IDENTITY_FILE), e)),
        IdentityError::Damaged(_) => damaged(&refused(RESTORE_IDENTITY)),
        IdentityError::Corrupt(_) => refused(RESTORE_IDENTITY),
    }
}

fn identity(dir: &Path, config: &MemberConfig) -> Result<Identity, StartError> {
    let loaded = Identity::load(dir).map_err(|e| no_identity(dir, &e))?;
    let identity = match loaded {
        Some(identity) => identity,
        None => {
            if platform::exists(&dir.join(UNFINISHED_FILE)) {
                return Err(data_dir(
                    dir,
                    "holds a restore that was broken off",
                    "repeat `conure-db restore` (or `load`), or empty the directory",
                ));
            }
            for name in [TREE_FILE, LOG_DIR] {
                if platform::exists(&dir.join(name)) {
                    return Err(data_dir(
                        dir,
                        format!("has a database ({name:?}) but no identity file"),
                        "restore the file \"identity\", or empty the directory and join again",
                    ));
                }
            }
            let identity = Identity::fresh(&config.node_id, config.role);
            identity
                .store(dir)
                .map_err(|e| data_dir(dir, format!("cannot be written: {e}"), access::mend(dir, &e)))?;
            identity
        }
    };
    if identity.name != config.node_id {
        return Err(data_dir(
            dir,
            format!("belongs to member {:?}, not to {:?}", identity.name, config.node_id),
            "start it with that --node-id, or choose another --data-dir",
        ));
    }
    // An arbiter's directory holds none of the data that its applied index speaks of.
    let settled = matches!(identity.state, State::Founding | State::Adopted | State::Member);
    if settled && identity.role != config.role {
        return Err(data_dir(
            dir,
            format!("is that of {}, not of {}", named(identity.role), named(config.role)),
            "start it with the --role that it had, or remove the member, empty the directory and join again",
        ));
    }
    if let Some(expected) = &config.cluster_id
        && !identity.cluster_id.is_empty()
        && identity.cluster_id != *expected
    {
        return Err(data_dir(
            dir,
            format!("belongs to cluster {:?}, not to {expected:?}", identity.cluster_id),
            "use the directory of this cluster, or empty it and join again",
        ));
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use conure_io::{Disk as _, SimDisk};

    use super::*;

    #[test]
    fn an_identity_that_the_disk_cannot_read_is_damage_and_one_that_the_system_refuses_is_not() {
        let disk = SimDisk::new();
        let file = disk.open(IDENTITY_FILE, OpenMode::CreateNew).unwrap();
        disk.fail_read_after(0);
        let unreadable = file.read_exact_at(&mut [0], 0).unwrap_err();
        let dir = tempfile::tempdir().unwrap();
        let refused = no_identity(dir.path(), &unreadable.into());
        let told = refused.to_string();
        assert!(matches!(refused, StartError::Damaged(_)), "{told}");
        assert!(told.contains("the disk cannot read it") && told.contains("restore a backup"), "{told}");
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(matches!(no_identity(dir.path(), &denied.into()), StartError::DataDir(_)));
    }
}
