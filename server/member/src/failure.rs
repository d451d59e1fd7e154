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
        let first = self.0.send_if_modified(|slot| {
            let first = slot.is_none();
            if first {
                *slot = Some(text.to_owned());
            }
            first
        });
        if first {
            tracing::error!(error = text, "the storage failed; the process must be restarted");
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
