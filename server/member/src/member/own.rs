//! What a member's process says of its own data to others, and what it does when it finds that it lost some.

use std::sync::Arc;

use crate::failure::{Failure, Fault};
use crate::raft::forks::Forks;
use crate::raft::log_store::LogStore;
use crate::raft::store::Store;
use crate::transport::acknowledged::{Acknowledged, Position};
use crate::transport::network::Own;

/// See the module.
#[derive(Debug)]
pub(super) struct OwnData {
    pub(super) log: LogStore,
    pub(super) store: Arc<Store>,
    pub(super) failure: Failure,
}

impl Own for OwnData {
    fn position(&self) -> Option<Position> {
        self.log.position().ok()
    }

    fn forks(&self) -> Forks {
        self.store.applied().forks.clone()
    }

    fn lost(&self, acknowledged: Acknowledged, position: Position) {
        let held =
            position.index.map_or_else(|| "is empty".to_owned(), |index| format!("ends with entry {index}"));
        self.failure.set(Fault::damaged(format!(
            "the log {held}, and this member had acknowledged entry {}: its data directory was replaced by an older copy, or its \
             disk lost what it had synced",
            acknowledged.index
        )));
    }
}
