//! What submitters, readers and the writer share: the queue and the entries, under one lock.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;

use bytes::Bytes;
use conure_io::File;

use crate::cache::Entries;
use crate::logical::Logical;
use crate::pace::Pace;
use crate::{Error, Mark, Stats};

pub(crate) type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// One record to be written.
#[derive(Debug)]
pub(crate) enum Op {
    Entry { index: u64, payload: Bytes, serial: u64 },
    Vote(Bytes),
    Truncate(u64),
    Purge(u64, Bytes),
}

/// One submission.
pub(crate) struct Job {
    pub(crate) ops: Vec<Op>,
    pub(crate) done: Done,
}

pub(crate) struct State {
    /// The log with all that was submitted.
    pub(crate) logical: Logical,
    /// The log with all that is durable.
    pub(crate) durable: Logical,
    pub(crate) mark: Mark,
    pub(crate) entries: Entries,
    pub(crate) files: BTreeMap<u32, Arc<dyn File>>,
    pub(crate) queue: VecDeque<Job>,
    pub(crate) queue_bytes: usize,
    pub(crate) serial: u64,
    pub(crate) failed: Option<Error>,
    pub(crate) closing: bool,
    pub(crate) stats: Stats,
    pub(crate) wakers: Vec<Waker>,
    pub(crate) writer: Option<ThreadId>,
}

/// The lock and what waits at it.
pub(crate) struct Shared {
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
    queue_bytes_max: usize,
    queue_len_max: usize,
    pub(crate) pace: Pace,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(state: State, queue_bytes_max: usize, queue_len_max: usize) -> Self {
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
            queue_bytes_max,
            queue_len_max,
            pace: Pace::default(),
        }
    }

    /// The state. A panic elsewhere cannot leave it half changed in a way that matters: the writer's end
    /// fails the log.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self, state: &State) -> bool {
        state.queue_bytes >= self.queue_bytes_max || state.queue.len() >= self.queue_len_max
    }

    /// Waits for room, lets `make` check and apply the work to the submitted log, and queues it. Where that is
    /// refused, the callback hears so at once.
    pub(crate) fn submit(
        &self,
        done: Done,
        make: impl FnOnce(&mut State) -> Result<(Vec<Op>, usize), Error>,
    ) {
        let mut state = self.lock();
        // The writer itself (a callback) must not wait for the writer.
        let may_wait = state.writer != Some(std::thread::current().id());
        while may_wait && self.is_full(&state) && state.failed.is_none() {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let made = match &state.failed {
            Some(error) => Err(error.clone()),
            None => make(&mut state),
        };
        match made {
            Ok((ops, bytes)) => {
                state.queue_bytes += bytes;
                state.queue.push_back(Job { ops, done });
                drop(state);
                self.work.notify_one();
            }
            Err(error) => {
                drop(state);
                done(Err(error));
            }
        }
    }

    /// All that waits; waits for some. `None` when the log closes and nothing is left.
    pub(crate) fn take(&self) -> Option<VecDeque<Job>> {
        let mut state = self.lock();
        while state.queue.is_empty() {
            if state.closing {
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let jobs = std::mem::take(&mut state.queue);
        state.queue_bytes = 0;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.announce_room(wakers);
        Some(jobs)
    }

    fn announce_room(&self, wakers: Vec<Waker>) {
        self.room.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends all writing: the first error stays. Gives what waited, to be answered in order.
    pub(crate) fn fail(&self, error: Error) -> (Error, VecDeque<Job>) {
        let mut state = self.lock();
        let error = state.failed.get_or_insert(error).clone();
        let jobs = std::mem::take(&mut state.queue);
        state.queue_bytes = 0;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.announce_room(wakers);
        (error, jobs)
    }

    /// Lets the writer end once the queue is empty.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }
}

/// Resolves when the queue has room, or the log failed. Made by [`Wal::room`](crate::Wal::room).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Room<'a>(pub(crate) &'a Shared);

impl Future for Room<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.failed.is_some() || !self.0.is_full(&state) {
            return Poll::Ready(());
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}
