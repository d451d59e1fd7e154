//! Which member a client asks next: every one in turn, those that just failed last.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use conure_client::Client;
use tokio::sync::watch;

use super::Target;

/// How many requests go to one member before the next has its turn.
const TURN: u32 = 8;
/// How long a member that failed is left alone while another one is there.
const AVOID: Duration = Duration::from_secs(3);
/// How long a request may take: a member whose node is cut off says nothing, and a client gives up on it by itself.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// One client's view of the members.
#[derive(Debug)]
pub(super) struct Picker {
    targets: watch::Receiver<Vec<Target>>,
    clients: HashMap<String, Client>,
    failed: HashMap<String, Instant>,
    current: Option<String>,
    used: u32,
}

impl Picker {
    pub(super) fn new(targets: watch::Receiver<Vec<Target>>) -> Self {
        Self { targets, clients: HashMap::new(), failed: HashMap::new(), current: None, used: 0 }
    }

    /// The member to ask now, none while no member is known.
    pub(super) fn pick(&mut self) -> Option<(Target, Client)> {
        let targets = self.targets.borrow().clone();
        self.clients.retain(|url, _| targets.iter().any(|target| target.url == *url));
        self.failed.retain(|_, at| at.elapsed() < AVOID);
        let at = targets.iter().position(|target| Some(&target.url) == self.current.as_ref());
        let stays = at.filter(|_| self.used < TURN && !self.is_failed(self.current.as_deref()));
        let target = match stays {
            Some(at) => targets.get(at)?,
            None => {
                self.used = 0;
                let first = at.map_or_else(|| fastrand::usize(..targets.len().max(1)), |at| at + 1);
                let turn = || (0..targets.len()).filter_map(|n| targets.get((first + n) % targets.len()));
                turn().find(|target| !self.is_failed(Some(&target.url))).or_else(|| turn().next())?
            }
        };
        self.used += 1;
        self.current = Some(target.url.clone());
        let client = match self.clients.get(&target.url) {
            Some(client) => client.clone(),
            None => {
                let built = Client::builder()
                    .server(&target.url)
                    .attempts(1)
                    .timeout(TIMEOUT)
                    .connect_timeout(CONNECT_TIMEOUT)
                    .build();
                let client = built.ok()?;
                self.clients.insert(target.url.clone(), client.clone());
                client
            }
        };
        Some((target.clone(), client))
    }

    /// The member did not serve.
    pub(super) fn failed(&mut self, target: &Target) {
        self.failed.insert(target.url.clone(), Instant::now());
        // The connections of a client that followed a redirect may lead elsewhere: start afresh.
        self.clients.remove(&target.url);
    }

    fn is_failed(&self, url: Option<&str>) -> bool {
        url.is_some_and(|url| self.failed.contains_key(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(n: u32) -> Target {
        Target { name: format!("conure-{n}"), url: format!("http://127.0.0.1:{}", 9000 + n) }
    }

    #[test]
    fn every_member_has_its_turn_and_a_failed_one_waits() {
        let (_sender, receiver) = watch::channel((0..3).map(target).collect());
        let mut picker = Picker::new(receiver);
        let mut seen: HashMap<String, u32> = HashMap::new();
        for _ in 0..3 * TURN {
            *seen.entry(picker.pick().unwrap().0.name).or_default() += 1;
        }
        assert!(seen.len() == 3 && seen.values().all(|count| *count == TURN), "{seen:?}");
        picker.failed(&target(1));
        assert!((0..3 * TURN).all(|_| picker.pick().unwrap().0 != target(1)));
    }

    #[test]
    fn when_all_failed_one_is_asked_nevertheless_and_without_members_none() {
        let (sender, receiver) = watch::channel(vec![target(0)]);
        let mut picker = Picker::new(receiver);
        picker.failed(&target(0));
        assert_eq!(picker.pick().map(|(target, _)| target), Some(target(0)));
        sender.send(Vec::new()).unwrap();
        assert!(picker.pick().is_none());
    }
}
