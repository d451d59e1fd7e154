//! openraft's own suite of storage tests, on the real disk.

use std::path::Path;
use std::sync::Arc;

use conure_btree::Db;
use conure_client::api::Role;
use conure_io::RealDisk;
use conure_wal::Wal;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::log_store::LogStore;
use super::state_machine::StateMachine;
use super::store::{Store, TREE_FILE};
use super::types::TypeConfig;
use crate::failure::Failure;

struct OnDisk;

fn stores(dir: &Path) -> (LogStore, StateMachine) {
    let failure = Failure::default();
    let disk = Arc::new(RealDisk::new(dir).unwrap());
    let db = Db::open(Arc::clone(&disk) as Arc<_>, TREE_FILE, Default::default()).unwrap();
    let store = Store::new(disk, Arc::new(db), Role::Data, failure.clone()).unwrap();
    let log_disk = Arc::new(RealDisk::new(&dir.join("log")).unwrap());
    let (wal, _) = Wal::open(log_disk, Default::default(), None).unwrap();
    let log = LogStore::new(Arc::new(wal), failure);
    let machine = StateMachine { store: Arc::new(store), floor: log.floor() };
    (log, machine)
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (log, machine) = stores(dir.path());
        Ok((dir, log, machine))
    }
}

#[test]
fn openrafts_suite_passes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(Suite::test_all(OnDisk)).unwrap();
}
