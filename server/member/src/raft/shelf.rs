//! A snapshot whose transfer broke off, kept so that the next one can go on with the very same.
//!
//! **Invariant:** nothing stays here for longer than its time: a view keeps pages of the tree from being used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::store::View;

/// So long after its transfer broke off the receiver remembers what it got.
const KEPT: Duration = Duration::from_secs(60);
/// However often it breaks off: then what came since is worth a new one.
const AGE_MAX: Duration = Duration::from_secs(15 * 60);

#[derive(Debug)]
struct Kept {
    view: Arc<View>,
    since: Instant,
    first: Instant,
}

/// Room for one view. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<Option<Kept>>>);

impl Shelf {
    fn slot(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps it for the next transfer.
    pub(crate) fn keep(&self, view: &Arc<View>) {
        let now = Instant::now();
        let mut slot = self.slot();
        let first = slot.as_ref().filter(|kept| kept.view.id == view.id).map_or(now, |kept| kept.first);
        *slot = Some(Kept { view: Arc::clone(view), since: now, first });
    }

    /// The view that a transfer is to go on with, if there is one.
    pub(crate) fn take(&self) -> Option<Arc<View>> {
        self.sweep();
        self.slot().as_ref().map(|kept| Arc::clone(&kept.view))
    }

    /// It arrived.
    pub(crate) fn forget(&self, view: &Arc<View>) {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|kept| kept.view.id == view.id) {
            *slot = None;
        }
    }

    /// Lets go of one whose time is over.
    pub(crate) fn sweep(&self) {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|kept| kept.since.elapsed() > KEPT || kept.first.elapsed() > AGE_MAX) {
            *slot = None;
        }
    }

    pub(crate) fn clear(&self) {
        *self.slot() = None;
    }
}
