//! Whom this member dials: each other member once at a time, and one that was not there again only after a pause. Heartbeats,
//! entries, votes and questions all want a connection of their own, ten times a second and more.
//!
//! **Invariant:** what was dialled is not dialled again because somebody stopped to wait: the next one gets what came of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::connection::{CallError, Connection};
use super::message::Hello;

/// After a first vain try nobody is dialled for so long; after each further one for twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(25);
/// But no longer than that: one that has just come back is not to miss an election.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// A connection that was opened for somebody who went is good for so long.
const SPARE_MAX: Duration = Duration::from_secs(5);

/// What is known of dialling one member.
#[derive(Debug, Default)]
struct Line {
    /// One that nobody has taken the end of yet.
    dialling: Option<Dial>,
    /// Since the last connection.
    failures: u32,
    /// Not dialled before then.
    rests_until: Option<Instant>,
}

/// One dial.
#[derive(Debug)]
struct Dial {
    to: String,
    since: Instant,
    task: JoinHandle<Result<Connection, CallError>>,
}

/// By node id. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dials(Arc<Mutex<BTreeMap<u64, Arc<tokio::sync::Mutex<Line>>>>>);

fn pause(failures: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(PAUSE_MAX)
}

impl Dials {
    fn line(&self, target: u64) -> Arc<tokio::sync::Mutex<Line>> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lines.entry(target).or_default())
    }

    /// Forgets all but the members `ids`.
    pub(crate) fn retain(&self, ids: impl Fn(u64) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| ids(*id));
    }

    /// A connection to the member that `hello` is for, at `addr`.
    pub(crate) async fn open(
        &self,
        addr: &str,
        hello: Hello,
        patience: Duration,
    ) -> Result<Connection, CallError> {
        let line = self.line(hello.target);
        let dialled = async {
            let mut line = line.lock().await;
            line.dialled(addr, hello, patience).await
        };
        timeout(patience, dialled).await.unwrap_or(Err(CallError::Timeout(patience)))
    }
}

impl Line {
    async fn dialled(
        &mut self,
        addr: &str,
        hello: Hello,
        patience: Duration,
    ) -> Result<Connection, CallError> {
        let stale = |dial: &mut Dial| dial.to != addr || dial.since.elapsed() >= SPARE_MAX;
        if let Some(dial) = self.dialling.take_if(stale) {
            dial.task.abort();
        }
        if self.dialling.is_none() {
            if self.rests_until.is_some_and(|until| Instant::now() < until) {
                return Err(CallError::Rests);
            }
            let to = addr.to_owned();
            let task = tokio::spawn(async move { Connection::open(&to, &hello, patience).await });
            self.dialling = Some(Dial { to: addr.to_owned(), since: Instant::now(), task });
        }
        let Some(dial) = self.dialling.as_mut() else { return Err(CallError::Rests) };
        // Dropped here, this leaves the dial to whoever comes next.
        let dialled = (&mut dial.task).await;
        self.dialling = None;
        let opened = dialled.unwrap_or_else(|e| Err(CallError::Connect(std::io::Error::other(e))));
        match &opened {
            Ok(_) => (self.failures, self.rests_until) = (0, None),
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                self.rests_until = Some(Instant::now() + pause(self.failures));
            }
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_and_has_a_bound() {
        assert_eq!(pause(1), PAUSE_MIN);
        assert_eq!(pause(2), 2 * PAUSE_MIN);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }
}
