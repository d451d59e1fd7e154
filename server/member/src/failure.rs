//! The member's storage failed: said once, heard by everyone.

use tokio::sync::watch;

/// A failure that the process must leave for. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Failure(watch::Sender<Option<String>>);

impl Default for Failure {
    fn default() -> Self {
        Self(watch::channel(None).0)
    }
}

impl Failure {
    /// Says what failed; the first text stays.
    pub(crate) fn set(&self, text: &str) {
        self.set_after(text, || ());
    }

    /// Says what failed, as soon as `first` is done: what Raft logs of it does not follow the line with which the process
    /// leaves, and yet its text does not take this one's place.
    pub(crate) fn set_after(&self, text: &str, first: impl FnOnce()) {
        let mut ours = false;
        self.0.send_if_modified(|slot| {
            ours = slot.is_none();
            slot.get_or_insert_with(|| text.to_owned());
            false
        });
        first();
        if ours {
            tracing::error!(error = text, "the storage failed; the process must be restarted");
            self.0.send_modify(|_| ());
        }
    }

    /// What failed, if anything did.
    pub(crate) fn get(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Waits until something fails.
    pub(crate) async fn wait(&self) -> String {
        let mut heard = self.0.subscribe();
        loop {
            if let Some(text) = heard.borrow_and_update().clone() {
                return text;
            }
            if heard.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
