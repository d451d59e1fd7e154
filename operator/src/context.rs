//! What every reconcile shares.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use conure_crd::ConureCluster;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use crate::failpoint;
use crate::metrics::Metrics;
use crate::reconcile::status::Fields;
use crate::refusals::Refusals;
use crate::rest::Rests;

/// What the operator calls itself in events.
const REPORTER: &str = "conure-operator";
/// The wait after the first failure of a cluster, and the most that it grows to.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// The API server takes this many bytes of an event's note.
const NOTE_BYTES_MAX: usize = 1_000;

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether it is a warning.
    pub warning: bool,
    /// Its reason.
    pub reason: String,
    /// Its text.
    pub text: String,
    /// Kind and name of the pod or volume that it is about.
    pub about: Option<(&'static str, String)>,
}

impl Note {
    /// That something was done.
    pub fn normal(reason: &str, text: impl Into<String>) -> Self {
        Self { warning: false, reason: reason.to_owned(), text: text.into(), about: None }
    }
}

/// The client, and what is said and counted.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The image of clusters that name none.
    pub default_image: String,
    /// What is counted.
    pub metrics: Metrics,
    /// Which clusters have nothing to be done.
    pub rests: Rests,
    /// What the API server will not have.
    pub refusals: Refusals,
    /// One for all, so that repeated events become one with a count.
    recorder: Recorder,
    /// The fields of a status that the API server did not keep when it last got one with them.
    dropped: Mutex<BTreeSet<String>>,
    /// Since when a cluster fails, by namespace and name. Only the pace and the tone depend on it, never what is done.
    failures: Mutex<HashMap<(String, String), Instant>>,
}

impl Context {
    /// A context; `instance` names this process in events.
    pub fn new(client: Client, default_image: String, metrics: Metrics, instance: Option<String>) -> Self {
        let reporter = Reporter { controller: REPORTER.to_owned(), instance };
        let recorder = Recorder::new(client.clone(), reporter);
        Self {
            client,
            default_image,
            metrics,
            rests: Rests::default(),
            refusals: Refusals::default(),
            recorder,
            dropped: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Publishes an event; one that cannot be published is logged, and holds nothing up.
    pub async fn event(&self, cluster: &ConureCluster, action: &str, note: &Note) {
        let mut end = note.text.len().min(NOTE_BYTES_MAX);
        while !note.text.is_char_boundary(end) {
            end -= 1;
        }
        let event = Event {
            type_: if note.warning { EventType::Warning } else { EventType::Normal },
            reason: note.reason.clone(),
            note: note.text.get(..end).map(str::to_owned),
            action: action.to_owned(),
            // Events that differ only in their text are counted as one, so each member's has its pod.
            secondary: note.about.as_ref().map(|(kind, name)| ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some((*kind).to_owned()),
                name: Some(name.clone()),
                namespace: cluster.metadata.namespace.clone(),
                ..ObjectReference::default()
            }),
        };
        let reason = &note.reason;
        failpoint::pass("before_publish_event");
        let published = self.recorder.publish(&event, &cluster.object_ref(&())).await;
        failpoint::pass("after_publish_event");
        if let Err(error) = published {
            tracing::warn!(reason, %error, "an event cannot be published");
        }
    }

    /// Notes a failure: for how long there have been nothing but failures, and how long to wait. The longer it lasts,
    /// the longer.
    pub fn failed(&self, namespace: &str, name: &str) -> (Duration, Duration) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let first = failures.entry((namespace.to_owned(), name.to_owned())).or_insert_with(Instant::now);
        let lasting = first.elapsed();
        (lasting, (lasting / 4).clamp(BACKOFF_MIN, BACKOFF_MAX))
    }

    /// A status was written.
    pub fn status_came_back(&self, fields: &Fields) {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.retain(|field| !fields.kept.contains(field));
        dropped.extend(fields.dropped.iter().cloned());
    }

    /// The fields of a status that are not kept, where there are any.
    pub fn dropped_of_status(&self) -> Option<BTreeSet<String>> {
        let dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!dropped.is_empty()).then_some(dropped)
    }

    /// The cluster is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.metrics.forget(namespace, name);
        self.rests.forget(namespace, name);
        self.refusals.keep(&(namespace.to_owned(), name.to_owned()), &[]);
        self.succeeded(namespace, name);
    }

    /// Forgets the failures of a cluster.
    pub fn succeeded(&self, namespace: &str, name: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&(namespace.to_owned(), name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_field_that_is_dropped_is_known_until_it_is_kept_whoever_else_does_without_it() {
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = Client::try_from(nowhere).unwrap();
        let context = Context::new(client, "image:1".into(), Metrics::default(), None);
        let names = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(context.dropped_of_status(), None);
        context.status_came_back(&Fields { kept: names(&["clusterID"]), dropped: names(&["recovery"]) });
        // Another cluster has no recovery.
        context.status_came_back(&Fields { kept: names(&["clusterID"]), dropped: names(&[]) });
        assert_eq!(context.dropped_of_status(), Some(names(&["recovery"])));
        context.status_came_back(&Fields { kept: names(&["clusterID", "recovery"]), dropped: names(&[]) });
        assert_eq!(context.dropped_of_status(), None);
    }
}
