//! Clusters at rest: what their members said when nothing was left to do, so that to look again costs the API server
//! nothing.
//!
//! A cluster at rest is asked for by its members' addresses alone. Whatever is watched and changes, a member that answers
//! otherwise, or time ends the rest, and a whole pass runs.
//!
//! **Invariant:** only whether a pass runs depends on what is remembered here, never what a pass does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};

use crate::reconcile::observe::{MemberAnswer, Observed, ask_all};

/// The longest that a watch which says nothing is believed: then a whole pass runs.
const REST_MAX: Duration = Duration::from_mins(20);
/// Secrets are not watched, as that would take the right to read all of them.
const SECRET_AGE_MAX: Duration = Duration::from_mins(3);

type Key = (String, String);

/// What was seen of a cluster at rest.
struct Rest {
    /// The version of the resource that was judged.
    version: Option<String>,
    /// The Secret's name and version.
    secret: Option<(String, Option<String>)>,
    secret_seen: Instant,
    since: Instant,
    /// Each running member's name and address.
    addresses: Vec<(String, String)>,
    answers: BTreeMap<String, MemberAnswer>,
}

#[derive(Default)]
struct Entry {
    /// How often something watched has changed.
    touches: u64,
    rest: Option<Rest>,
}

/// All clusters that were seen.
#[derive(Default)]
pub struct Rests {
    clusters: Mutex<HashMap<Key, Entry>>,
}

/// Taken when a pass begins: what changes from then on is not in what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

impl Rests {
    fn with<T>(&self, key: &Key, work: impl FnOnce(&mut Entry) -> T) -> T {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        work(clusters.entry(key.clone()).or_default())
    }

    fn look<T>(&self, key: &Key, work: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key).map(work)
    }

    /// Something of the cluster changed.
    pub fn touch(&self, namespace: &str, name: &str) {
        // The last objects of a cluster go after it: they must not bring its entry back.
        self.look(&(namespace.to_owned(), name.to_owned()), |entry| {
            entry.touches = entry.touches.wrapping_add(1);
            entry.rest = None;
        });
    }

    /// A whole pass begins.
    pub fn begin(&self, namespace: &str, name: &str) -> Ticket {
        self.with(&(namespace.to_owned(), name.to_owned()), |entry| {
            entry.rest = None;
            Ticket(entry.touches)
        })
    }

    /// The pass that began with `ticket` found nothing to do.
    pub fn rest(&self, namespace: &str, name: &str, ticket: Ticket, observed: &Observed) {
        let now = Instant::now();
        let rest = Rest {
            version: observed.cluster.resource_version(),
            secret: observed.secret.as_ref().map(|secret| (secret.name_any(), secret.resource_version())),
            secret_seen: now,
            since: now,
            addresses: observed.addresses(),
            answers: settled(&observed.answers),
        };
        self.with(&(namespace.to_owned(), name.to_owned()), |entry| {
            entry.rest = (entry.touches == ticket.0).then_some(rest);
        });
    }

    /// The cluster is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Whether the cluster rests still: nothing changed that is watched, and its members answer as they did.
    pub async fn still(&self, client: &Client, namespace: &str, name: &str, version: Option<&str>) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        let seen = self.look(&key, |entry| {
            let rest = entry.rest.as_ref()?;
            let fresh = rest.version.as_deref() == version && rest.since.elapsed() < REST_MAX;
            let secret = (rest.secret_seen.elapsed() >= SECRET_AGE_MAX).then(|| rest.secret.clone());
            fresh.then(|| (rest.addresses.clone(), rest.answers.clone(), secret, entry.touches))
        });
        let Some((addresses, answers, secret, touches)) = seen.flatten() else { return false };
        if settled(&ask_all(addresses).await) != answers {
            return false;
        }
        let secret_seen = secret.is_some();
        if let Some(secret) = secret {
            let Some((secret, version)) = secret else { return false };
            let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
            match secrets.get_metadata_opt(&secret).await {
                Ok(Some(found)) if found.resource_version() == version => {}
                _ => return false,
            }
        }
        let rests = self.look(&key, |entry| {
            if let (true, Some(rest)) = (secret_seen, &mut entry.rest) {
                rest.secret_seen = Instant::now();
            }
            entry.touches == touches && entry.rest.is_some()
        });
        rests == Some(true)
    }
}

/// The answers without what changes with every write.
fn settled(answers: &BTreeMap<String, MemberAnswer>) -> BTreeMap<String, MemberAnswer> {
    let mut answers = answers.clone();
    for answer in answers.values_mut() {
        answer.status.revision = 0;
        answer.status.commit_index = 0;
        answer.status.applied_index = 0;
        if let Some(config) = &mut answer.config {
            config.members.sort_by(|one, other| one.id.cmp(&other.id));
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use conure_client::api::{Role, Status};
    use conure_crd::ConureCluster;

    fn observed() -> Observed {
        let mut cluster = ConureCluster::new("c", Default::default());
        cluster.metadata.resource_version = Some("7".into());
        Observed::new(cluster)
    }

    fn nowhere() -> Client {
        Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap()
    }

    #[tokio::test]
    async fn a_cluster_rests_until_something_that_is_watched_changes() {
        let (rests, client) = (Rests::default(), nowhere());
        assert!(!rests.still(&client, "ns", "c", Some("7")).await, "it was never seen");
        let ticket = rests.begin("ns", "c");
        rests.rest("ns", "c", ticket, &observed());
        assert!(rests.still(&client, "ns", "c", Some("7")).await);
        assert!(!rests.still(&client, "ns", "c", Some("8")).await, "the resource changed");
        assert!(!rests.still(&client, "ns", "d", Some("7")).await, "another cluster");
        rests.touch("ns", "c");
        assert!(!rests.still(&client, "ns", "c", Some("7")).await);
        rests.forget("ns", "c");
        rests.touch("ns", "c");
        assert!(rests.clusters.lock().unwrap().is_empty(), "what is gone takes no memory");
    }

    #[tokio::test]
    async fn what_changes_during_a_pass_is_no_rest_after_it() {
        let (rests, client) = (Rests::default(), nowhere());
        let ticket = rests.begin("ns", "c");
        rests.touch("ns", "c");
        rests.rest("ns", "c", ticket, &observed());
        assert!(!rests.still(&client, "ns", "c", Some("7")).await);
    }

    #[test]
    fn only_what_writes_change_may_differ() {
        let status = Status {
            is_leader: true,
            leader: "c-bootstrap-0".into(),
            leader_raft_addr: String::new(),
            raft_addr: String::new(),
            leader_http_addr: String::new(),
            node_id: "c-bootstrap-0".into(),
            role: Role::Data,
            term: 2,
            revision: 5,
            commit_index: 9,
            applied_index: 9,
            cluster_id: "id".into(),
            incarnation: 1,
            version: "0.1.0".into(),
            health: "ok".into(),
        };
        let answers = |change: fn(&mut Status)| {
            let mut status = status.clone();
            change(&mut status);
            settled(&BTreeMap::from([(
                "c-bootstrap-0".to_owned(),
                MemberAnswer { status, config: None, raft_node_id: None, last_log: None },
            )]))
        };
        let before = answers(|_| {});
        assert_eq!(before, answers(|status| (status.revision, status.commit_index) = (6, 10)));
        for change in [
            (|status| status.is_leader = false) as fn(&mut Status),
            |status| status.term = 3,
            |status| status.health = "the disk is full".into(),
            |status| status.incarnation = 2,
            |status| status.version = "0.2.0".into(),
        ] {
            assert_ne!(before, answers(change));
        }
    }
}
