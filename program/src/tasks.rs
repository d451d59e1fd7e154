//! Tasks by name, and what their panic means.
//!
//! A task is part of the program: when it panics the program cannot do its work any more, and ends. Only one that serves a
//! single request or connection is confined: its panic ends that request, because else whoever found an input that makes one
//! panic could end every member of a cluster with it.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What runs on a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) name: &'static str,
    pub(crate) confined: bool,
}

thread_local! {
    static CURRENT: Cell<Option<Task>> = const { Cell::new(None) };
}

/// The named task that this thread works on.
pub(crate) fn current() -> Option<Task> {
    // None either where the thread is ending.
    CURRENT.try_with(Cell::get).ok().flatten()
}

/// A future that has a name while it is polled.
pub struct Named<F> {
    task: Task,
    inner: Pin<Box<F>>,
}

impl<F> fmt::Debug for Named<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("task", &self.task).finish_non_exhaustive()
    }
}

/// Puts back what ran before, also after a panic.
struct Restore(Option<Task>);

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|current| current.set(self.0));
    }
}

impl<F: Future> Future for Named<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _restore = Restore(current());
        let task = self.task;
        let _ = CURRENT.try_with(|current| current.set(Some(task)));
        self.inner.as_mut().poll(context)
    }
}

/// Work that the program cannot be without.
pub fn named<F: Future>(name: &'static str, work: F) -> Named<F> {
    Named { task: Task { name, confined: false }, inner: Box::pin(work) }
}

/// Work for one request or connection: a panic ends it and nothing else.
pub fn confined<F: Future>(name: &'static str, work: F) -> Named<F> {
    Named { task: Task { name, confined: true }, inner: Box::pin(work) }
}

/// Does work that blocks, and that the program cannot be without, on this thread.
pub fn run_named<T>(name: &'static str, work: impl FnOnce() -> T) -> T {
    let _restore = Restore(current());
    let _ = CURRENT.try_with(|current| current.set(Some(Task { name, confined: false })));
    work()
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It returned.
    Returned,
    /// It panicked, with these words.
    Panicked(String),
}

/// Runs work that the program cannot be without, and tells how it ended. In a program that ends on panics only a return is
/// told.
pub async fn watched(name: &'static str, work: impl Future<Output = ()>) -> Ended {
    let mut work = named(name, work);
    let polled =
        poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut work).poll(context))) {
            Ok(polled) => polled.map(|()| Ended::Returned),
            Err(panic) => Poll::Ready(Ended::Panicked(words(panic.as_ref()))),
        });
    polled.await
}

/// What a panic says, in one line.
pub(crate) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a word").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut future = Box::pin(future);
        match future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn a_task_has_its_name_while_it_runs_and_the_one_around_it_afterwards() {
        let inner = confined("inner", async { assert_eq!(current().map(|task| task.name), Some("inner")) });
        run(named("outer", async {
            inner.await;
            assert_eq!(current(), Some(Task { name: "outer", confined: false }));
        }));
        assert_eq!(current(), None);
    }

    #[test]
    fn a_watched_task_tells_how_it_ended() {
        assert_eq!(run(watched("good", async {})), Ended::Returned);
        let bad = run(watched("bad", async { panic!("a broken\ninvariant") }));
        assert_eq!(bad, Ended::Panicked("a broken invariant".into()));
        assert_eq!(current(), None);
    }
}
