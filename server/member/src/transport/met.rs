//! Which process each member is.
//!
//! A node id belongs to a data directory, and a directory can be copied. The process that is found at the address at which the
//! cluster knows a member is that member.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many members are remembered; one that is not is looked for again.
const KEPT_MAX: usize = 64;

/// The process that was found at each member's address, by node id; shared by a member's links.
#[derive(Debug, Clone, Default)]
pub(crate) struct Met(Arc<Mutex<BTreeMap<u64, u64>>>);

impl Met {
    /// Whether the member `id` is the process `boot`, as far as is known.
    pub(crate) fn is(&self, id: u64, boot: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id) == Some(&boot)
    }

    /// The process `boot` was found where the member `id` is.
    pub(crate) fn set(&self, id: u64, boot: u64) {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        met.insert(id, boot);
        if met.len() > KEPT_MAX {
            met.pop_first();
        }
    }
}
