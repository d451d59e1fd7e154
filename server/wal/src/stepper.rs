//! A writer without a thread of its own: it works when a simulation says so.

use std::sync::{Arc, Mutex};

use crate::Error;
use crate::shared::Shared;
use crate::writer::Writer;

/// Does the work of the writer thread, one batch at a time. Cloning shares it.
#[derive(Clone)]
pub struct Stepper {
    /// Empty once the log was closed or failed.
    writer: Arc<Mutex<Option<Writer>>>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Stepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stepper").finish_non_exhaustive()
    }
}

impl Stepper {
    pub(crate) fn new(writer: Writer, shared: Arc<Shared>) -> Self {
        // All is done on this thread: no submission may wait for room.
        shared.lock().writer = Some(std::thread::current().id());
        Self { writer: Arc::new(Mutex::new(Some(writer))), shared }
    }

    /// Whether something waits to be written.
    pub fn has_work(&self) -> bool {
        !self.shared.lock().queue.is_empty()
    }

    /// Writes and syncs all that waits, and calls back. Whether there is a log to write to any more.
    pub fn step(&self) -> bool {
        // Taken already where a callback of this very step lets go of the log.
        let Ok(mut slot) = self.writer.try_lock() else { return true };
        let Some(writer) = slot.as_mut() else { return false };
        if self.has_work()
            && let Some(jobs) = self.shared.take()
            && writer.work(&self.shared, jobs, Vec::new()).is_err()
        {
            *slot = None;
        }
        slot.is_some()
    }

    /// Writes what waits and lets go of the files.
    pub(crate) fn finish(self) {
        self.step();
        if let Ok(mut slot) = self.writer.try_lock()
            && let Some(mut writer) = slot.take()
        {
            // All is durable already: a failure here takes nothing back.
            let _ = writer.prove(&self.shared);
        }
        let (error, jobs) = self.shared.fail(Error::Closed);
        for job in jobs {
            (job.done)(Err(error.clone()));
        }
    }
}
