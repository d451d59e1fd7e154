//! Changes that the API server refused for good, so that they are not asked for again in every pass.
//!
//! **Invariant:** only when such a change is tried again depends on what is remembered here; until then it counts as
//! refused with the very words that were said.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The wait after the first refusal; it doubles.
const WAIT_MIN: Duration = Duration::from_secs(20);
/// A storage class that lets volumes grow from now on is noticed within that.
const WAIT_MAX: Duration = Duration::from_mins(10);

type Cluster = (String, String);

/// One refusal.
#[derive(Debug, Clone)]
struct Refused {
    /// The very change.
    change: String,
    said: String,
    wait: Duration,
    since: Instant,
}

/// What was refused, by cluster and object.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<Cluster, BTreeMap<String, Refused>>>);

impl Refusals {
    fn all(&self) -> MutexGuard<'_, HashMap<Cluster, BTreeMap<String, Refused>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was said to this very change of the object, while it is too early to ask again.
    pub fn held(&self, cluster: &Cluster, object: &str, change: &str, now: Instant) -> Option<String> {
        let all = self.all();
        let refused = all.get(cluster)?.get(object).filter(|refused| refused.change == change)?;
        let early = now.saturating_duration_since(refused.since) < refused.wait;
        early.then(|| refused.said.clone())
    }

    /// The change was refused now. Each further refusal of the same one doubles the wait.
    pub fn refused(&self, cluster: &Cluster, object: &str, change: &str, said: &str, now: Instant) {
        let mut all = self.all();
        let objects = all.entry(cluster.clone()).or_default();
        let before = objects.get(object).filter(|refused| refused.change == change);
        let wait = before.map_or(WAIT_MIN, |refused| (refused.wait * 2).min(WAIT_MAX));
        let (change, said) = (change.to_owned(), said.to_owned());
        objects.insert(object.to_owned(), Refused { change, said, wait, since: now });
    }

    /// Forgets the refusals of all objects but these: nobody wants to change those any more.
    pub fn keep(&self, cluster: &Cluster, objects: &[String]) {
        let mut all = self.all();
        if let Some(held) = all.get_mut(cluster) {
            held.retain(|object, _| objects.contains(object));
            if held.is_empty() {
                all.remove(cluster);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_change_is_asked_for_less_and_less_often_and_another_one_at_once() {
        let (refusals, cluster) = (Refusals::default(), ("db".to_owned(), "c".to_owned()));
        let begun = Instant::now();
        let mut asked = Vec::new();
        // A pass every ten seconds for an hour.
        for pass in 0..360_u64 {
            let now = begun + Duration::from_secs(10 * pass);
            if refusals.held(&cluster, "data-c-0", "2Gi", now).is_none() {
                asked.push(10 * pass);
                refusals.refused(&cluster, "data-c-0", "2Gi", "it cannot grow", now);
            }
        }
        assert_eq!(asked, [0, 20, 60, 140, 300, 620, 1220, 1820, 2420, 3020]);
        let end = begun + Duration::from_secs(3_030);
        assert_eq!(refusals.held(&cluster, "data-c-0", "2Gi", end).as_deref(), Some("it cannot grow"));
        assert_eq!(refusals.held(&cluster, "data-c-0", "3Gi", end), None);
        assert_eq!(refusals.held(&cluster, "data-c-1", "2Gi", end), None);
        assert_eq!(refusals.held(&("db".into(), "d".into()), "data-c-0", "2Gi", end), None);
    }

    #[test]
    fn what_nobody_wants_any_more_takes_no_memory_and_is_asked_for_at_once_when_it_is_wanted_again() {
        let (refusals, cluster) = (Refusals::default(), ("db".to_owned(), "c".to_owned()));
        let now = Instant::now();
        refusals.refused(&cluster, "data-c-0", "2Gi", "no", now);
        refusals.refused(&cluster, "data-c-1", "2Gi", "no", now);
        refusals.keep(&cluster, &["data-c-1".to_owned()]);
        assert_eq!(refusals.held(&cluster, "data-c-0", "2Gi", now), None);
        assert!(refusals.held(&cluster, "data-c-1", "2Gi", now).is_some());
        refusals.keep(&cluster, &[]);
        assert!(refusals.all().is_empty());
    }
}
