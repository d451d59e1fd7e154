//! openraft's own suite of storage tests, on the real disk.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use conure_btree::Db;
use conure_client::api::Role;
use conure_io::RealDisk;
use conure_wal::Wal;
use futures::Stream;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{OptionalSend, StorageError};
use tempfile::TempDir;

use super::log_store::LogStore;
use super::state_machine::StateMachine;
use super::store::{Store, TREE_FILE};
use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::failure::Failure;
use crate::platform::Worker;

/// The log as the suite wants it: it reads a stream past the log's end and expects what is there. Raft never does, and our
/// stream ends with an error where entries are missing.
#[derive(Clone)]
struct Lenient(LogStore);

impl RaftLogReader<TypeConfig> for Lenient {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.0.try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.0.read_vote().await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.0.limited_get_log_entries(start, end).await
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (Bound::Included(start), Bound::Excluded(end)) = (range.start_bound(), range.end_bound()) else {
            panic!("the suite reads ranges with two ends, not {range:?}");
        };
        let held = self.0.wal().unwrap().last_index().map_or(0, |last| last + 1);
        self.0.entries_stream(*start..(*end).min(held)).await
    }
}

impl RaftLogStorage<TypeConfig> for Lenient {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        self.0.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.0.save_vote(vote).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.0.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        self.0.truncate_after(last_log_id).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.0.purge(log_id).await
    }
}

struct OnDisk;

fn stores(dir: &Path) -> (Lenient, StateMachine) {
    let failure = Failure::default();
    let disk = Arc::new(RealDisk::new(dir).unwrap());
    let db = Db::open(Arc::clone(&disk) as Arc<_>, TREE_FILE, Default::default()).unwrap();
    let store = Store::new(disk, Arc::new(db), Role::Data, failure.clone()).unwrap();
    let log_disk = Arc::new(RealDisk::new(&dir.join("log")).unwrap());
    let (wal, _) = Wal::open(log_disk, Default::default(), None).unwrap();
    let log = LogStore::new(Arc::new(wal), failure);
    let apply = Worker::start("conure-apply").unwrap();
    let machine = StateMachine { store: Arc::new(store), floor: log.floor(), apply };
    (Lenient(log), machine)
}

impl StoreBuilder<TypeConfig, Lenient, StateMachine, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, Lenient, StateMachine), StorageError<TypeConfig>> {
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
