//! The members' addresses, kept fresh for the workload.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Cluster;
use crate::workload::Target;

/// How old the list may get.
const REFRESH: Duration = Duration::from_millis(500);

/// Refreshes the list until it is dropped.
#[derive(Debug)]
pub struct Targets {
    receiver: watch::Receiver<Vec<Target>>,
    task: JoinHandle<()>,
}

impl Targets {
    /// Follows a cluster's members.
    #[must_use]
    pub fn of(cluster: Cluster) -> Self {
        let (sender, receiver) = watch::channel(Vec::new());
        let task = tokio::spawn(async move {
            loop {
                // While the API server cannot be asked, the list that is known stays.
                if let Ok(targets) = cluster.targets().await {
                    sender.send_if_modified(|known| {
                        let changed = *known != targets;
                        *known = targets;
                        changed
                    });
                }
                tokio::time::sleep(REFRESH).await;
            }
        });
        Self { receiver, task }
    }

    /// The list as it is and will be.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Vec<Target>> {
        self.receiver.clone()
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.task.abort();
    }
}
