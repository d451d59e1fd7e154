//! Who works, when there are several: the holder of a Lease.

use kube::Client;
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;

/// How long a Lease holds after its last renewal: the longest pause when an operator dies.
const LEASE_SECONDS: u64 = 15;
/// How long before its end it is renewed.
const RENEW_BEFORE_SECONDS: u64 = 5;

/// The wish to hold the Lease.
pub struct Candidacy {
    held: watch::Receiver<bool>,
    task: JoinHandle<Result<kube_lease_manager::LeaseManager, LeaseManagerError>>,
}

impl Candidacy {
    /// Begins to ask for the Lease.
    pub async fn begin(client: Client, config: &Config) -> Result<Self, LeaseManagerError> {
        let namespace = config.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        let mut builder = LeaseManagerBuilder::new(client, &config.lease_name)
            .with_namespace(namespace)
            .with_duration(LEASE_SECONDS)
            .with_grace(RENEW_BEFORE_SECONDS);
        if let Some(instance) = &config.instance {
            builder = builder.with_identity(instance);
        }
        let (held, task) = builder.build().await?.watch().await;
        Ok(Self { held, task })
    }

    /// Returns once the Lease is held; `false` if it never will be.
    pub async fn won(&mut self) -> bool {
        self.held.wait_for(|held| *held).await.is_ok()
    }

    /// Returns once the Lease is no longer held.
    pub async fn lost(&mut self) {
        // A closed channel means that nobody renews the Lease: that is lost too.
        let _ = self.held.wait_for(|held| !*held).await;
    }

    /// Gives the Lease back, so that the next one need not wait for its end.
    pub async fn end(self) {
        drop(self.held);
        match self.task.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be given back"),
            Err(error) => tracing::warn!(%error, "the lease's task failed"),
        }
    }
}
