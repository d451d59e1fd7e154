//! Who works, when there are several: the holder of a Lease.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::config::Config;

/// How long a Lease holds after its last renewal: the longest pause when an operator dies.
const LEASE_SECONDS: u64 = 15;
/// How long before its end it is renewed.
const RENEW_BEFORE_SECONDS: u64 = 5;
/// How often one that waits looks whether the Lease was given back.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The wish to hold the Lease.
pub struct Candidacy {
    client: Client,
    config: Config,
    asking: Asking,
}

/// The library's task that asks for the Lease and renews it.
struct Asking {
    held: watch::Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

fn namespace<'a>(client: &'a Client, config: &'a Config) -> &'a str {
    config.namespace.as_deref().unwrap_or_else(|| client.default_namespace())
}

impl Asking {
    async fn begin(client: &Client, config: &Config) -> Result<Self, LeaseManagerError> {
        let mut builder = LeaseManagerBuilder::new(client.clone(), &config.lease_name)
            .with_namespace(namespace(client, config))
            .with_duration(LEASE_SECONDS)
            .with_grace(RENEW_BEFORE_SECONDS);
        if let Some(instance) = &config.instance {
            builder = builder.with_identity(instance);
        }
        let (held, task) = builder.build().await?.watch().await;
        Ok(Self { held, task })
    }
}

impl Candidacy {
    /// Begins to ask for the Lease.
    pub async fn begin(client: Client, config: &Config) -> Result<Self, LeaseManagerError> {
        let asking = Asking::begin(&client, config).await?;
        Ok(Self { client, config: config.clone(), asking })
    }

    /// Returns once the Lease is held; `false` if it never will be.
    pub async fn won(&mut self) -> bool {
        loop {
            tokio::select! {
                held = self.asking.held.wait_for(|held| *held) => return held.is_ok(),
                () = given_back(&self.client, &self.config) => {}
            }
            // The task sleeps until the end of the Lease that it saw; a new one sees that nobody holds it.
            if let Ok(asking) = Asking::begin(&self.client, &self.config).await {
                // Before its receiver goes, which would make it give back what both of them may have by now.
                self.asking.task.abort();
                self.asking = asking;
            }
        }
    }

    /// Returns once the Lease is no longer held.
    pub async fn lost(&mut self) {
        // A closed channel means that nobody renews the Lease: that is lost too.
        let _ = self.asking.held.wait_for(|held| !*held).await;
    }

    /// Gives the Lease back, so that the next one need not wait for its end.
    pub async fn end(self) {
        drop(self.asking.held);
        match self.asking.task.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be given back"),
            Err(error) => tracing::warn!(%error, "the lease's task failed"),
        }
    }
}

/// Returns once nobody holds the Lease that somebody held before.
async fn given_back(client: &Client, config: &Config) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace(client, config));
    let mut was_held = false;
    loop {
        // What cannot be read is as it was: then its end is waited for.
        if let Ok(Some(lease)) = leases.get_opt(&config.lease_name).await {
            let holder = lease.spec.and_then(|spec| spec.holder_identity);
            let held = holder.is_some_and(|holder| !holder.is_empty());
            if was_held && !held {
                return;
            }
            was_held |= held;
        }
        sleep(LOOK_EVERY).await;
    }
}
