//! `--join`: a member that is in no cluster asks others to join it, until it is a voter; one that finds no leader asks them
//! where they are (`seek`).
//!
//! `standing`, `decide` and `telling` are pure: what the member is, whom it asks, what an answer means, what is said of it;
//! `ask` speaks HTTP.
//!
//! **Invariant:** a member that was removed, or left behind by a recovery, never asks: coming back is for somebody to decide.

mod ask;
pub mod decide;
#[cfg(test)]
mod decide_tests;
pub mod seek;
pub mod standing;
pub mod telling;

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, Instant};

use conure_member::Member;

use crate::config::{Config, ConfigError, Join};
use ask::Asker;
use decide::{Meaning, Seeker, Waiting, Weight};
use standing::{Standing, standing};
use telling::Telling;

/// The file that a data directory has since it first was in a cluster.
const TREE_FILE: &str = "tree.db";
/// How long a member that is on its way from one standing to another may take before it is looked at again.
const SETTLING: Duration = Duration::from_millis(250);

/// Refuses a list that names nobody else, where the directory holds no member and none is founded.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    match &config.join {
        Some(join) if join.servers.is_empty() && !founds(config) && !holds_member(config) => {
            Err(join.nobody())
        }
        _ => Ok(()),
    }
}

/// The same of a directory that holds a member which never was in a cluster: only the member knows that.
pub fn check_started(config: &Config, member: &Member) -> Result<(), ConfigError> {
    match &config.join {
        Some(join) if join.servers.is_empty() && of(member) == Standing::Outside => Err(join.nobody()),
        _ => Ok(()),
    }
}

/// Whether an empty directory starts a cluster here: not where a listed server is in one, as then this is a member whose
/// disk was lost, and a second, empty cluster under its name would help nobody.
pub async fn bootstraps(config: &Config) -> bool {
    let Some(join) = config.join.as_ref().filter(|_| founds(config) && !holds_data(config)) else {
        return config.bootstrap;
    };
    let seen = ask::look(&join.servers, false).await;
    let found = decide::keeps_from_founding(config.cluster_id.as_deref(), &seen);
    if let Some((server, cluster_id)) = found {
        tracing::info!(
            server,
            cluster_id,
            "a listed server is in a cluster already: this member joins that and starts none"
        );
    }
    found.is_none()
}

fn founds(config: &Config) -> bool {
    config.bootstrap && config.role == conure_client::api::Role::Data
}

fn holds_member(config: &Config) -> bool {
    crate::wait::has_identity(&config.data_dir)
}

/// Whether the directory was ever in a cluster. One that is a member's may have waited for that in vain.
fn holds_data(config: &Config) -> bool {
    config.data_dir.join(TREE_FILE).exists()
}

fn of(member: &Member) -> Standing {
    standing(&member.stats(), &member.status(), &member.raft_config())
}

/// Asks until this member is a voter; ends at once where it is one.
pub async fn join(config: Config, join: Join, member: Member) {
    let servers = join.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut asker = Asker::new(&config, join);
    let (mut begun, mut rounds, mut telling) = (false, 0, Telling::default());
    loop {
        let standing = of(&member);
        match &standing {
            Standing::Voter { cluster_id } => {
                if begun {
                    tracing::info!(%cluster_id, "joined: this member is a voter");
                }
                return;
            }
            Standing::Removed { cluster_id } => {
                tracing::warn!(
                    %cluster_id,
                    "this member was removed from its cluster, or left behind by a recovery, and does not come back by itself; \
                     to have it back as a new member, POST /join on a member of the cluster, or empty its data directory and start it again"
                );
                return;
            }
            Standing::Changing => {
                tokio::time::sleep(SETTLING).await;
                continue;
            }
            Standing::Outside | Standing::Learner(_) => {}
        }
        if !begun {
            tracing::info!(%servers, "joining through the listed servers");
            begun = true;
        }
        let seeker = Seeker {
            name: config.node_id.clone(),
            wanted: config.cluster_id.clone(),
            cluster_id: member.status().cluster_id,
        };
        match asker.round(&seeker, standing, rounds).await {
            Meaning::Voter => {
                tracing::info!(cluster_id = member.status().cluster_id, "joined: this member is a voter");
                return;
            }
            Meaning::CatchingUp(waiting) => {
                rounds = 0;
                tell(&mut telling, &waiting);
            }
            Meaning::Refused(waiting) => {
                rounds = rounds.saturating_add(1);
                tell(&mut telling, &waiting);
            }
        }
        tokio::time::sleep(decide::pause(rounds.saturating_sub(1), chance())).await;
    }
}

fn tell(telling: &mut Telling, waiting: &Waiting) {
    if telling.is_due(waiting, Instant::now()) {
        match waiting.weight {
            Weight::Passing => tracing::info!(reason = waiting.reason, "not joined yet; asking goes on"),
            Weight::Human => tracing::warn!(reason = waiting.reason, "not joined; asking goes on"),
        }
    }
}

/// From 0 to 1, by chance: the standard library's hashers have random keys.
fn chance() -> f64 {
    let drawn = std::collections::hash_map::RandomState::new().build_hasher().finish();
    f64::from(u16::try_from(drawn % 1000).unwrap_or(0)) / 1000.0
}
