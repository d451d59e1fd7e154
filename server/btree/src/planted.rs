//! Bugs that a test plants, to see that the judge of crashes finds them.
//!
//! **Invariant:** without the feature `planted-bugs` there are none.

use crate::Options;

/// A bug that loses data when the power fails at a bad moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "planted-bugs"),
    expect(unreachable_pub, reason = "public where it can be asked for")
)]
pub enum Planted {
    /// A commit returns without the sync that makes it durable.
    NoCommitSync,
    /// A commit whose meta page cannot list its pages does not sync them before it.
    NoDataSync,
    /// Pages that the last durable commit can reach are used again.
    ReusesPagesEarly,
    /// Opening trusts a meta page whose listed pages are not there.
    TrustsList,
    /// The file is cut before the commit that gives its end up is durable.
    CutsEarly,
    /// Opening takes for durable what it reads, once a sync has returned.
    OpensBySyncAlone,
}

impl Options {
    /// Whether this bug was asked for.
    pub(crate) fn has(&self, bug: Planted) -> bool {
        #[cfg(feature = "planted-bugs")]
        return self.planted == Some(bug);
        #[cfg(not(feature = "planted-bugs"))]
        {
            let _ = bug;
            false
        }
    }
}
