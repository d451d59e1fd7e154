//! Whose turn it is to write: one has the writer, others may wait for it, in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::db::{Writer, lock};

/// The one writer, while nobody has it.
#[derive(Debug)]
pub(crate) struct Turns {
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Debug)]
struct Desk {
    writer: Option<Box<Writer>>,
    /// Those that wait, the first of them next. As long as there are threads at most.
    waiting: VecDeque<u64>,
    next_number: u64,
}

impl Turns {
    pub(crate) fn new(writer: Box<Writer>) -> Self {
        let desk = Desk { writer: Some(writer), waiting: VecDeque::new(), next_number: 0 };
        Self { desk: Mutex::new(desk), changed: Condvar::new() }
    }

    /// The writer, if it is there and nobody waits for it.
    pub(crate) fn take(&self) -> Option<Box<Writer>> {
        let mut desk = lock(&self.desk);
        if desk.waiting.is_empty() { desk.writer.take() } else { None }
    }

    /// The writer, within that time.
    pub(crate) fn take_within(&self, wait: Duration) -> Option<Box<Writer>> {
        let began = Instant::now();
        let mut desk = lock(&self.desk);
        let number = desk.next_number;
        desk.next_number += 1;
        desk.waiting.push_back(number);
        loop {
            let taken = if desk.waiting.front() == Some(&number) { desk.writer.take() } else { None };
            let left = wait.saturating_sub(began.elapsed());
            if taken.is_some() || left.is_zero() {
                desk.waiting.retain(|waiting| *waiting != number);
                self.changed.notify_all();
                return taken;
            }
            desk = match self.changed.wait_timeout(desk, left) {
                Ok((desk, _)) => desk,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    pub(crate) fn put_back(&self, writer: Box<Writer>) {
        lock(&self.desk).writer = Some(writer);
        self.changed.notify_all();
    }

    /// Calls `f` with the writer if it is there.
    pub(crate) fn look<T>(&self, f: impl FnOnce(&Writer) -> T) -> Option<T> {
        lock(&self.desk).writer.as_deref().map(f)
    }
}
