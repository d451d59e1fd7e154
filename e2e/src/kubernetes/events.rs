//! What the operator and Kubernetes said about an object.

use anyhow::Result;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;

use super::Access;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// What it is about, `Kind/name`.
    pub about: String,
    /// The specific reason.
    pub reason: String,
    /// The sentence.
    pub message: String,
}

impl Access {
    /// Every event of a namespace.
    pub async fn events(&self, namespace: &str) -> Result<Vec<Happening>> {
        let events = self.api::<Event>(namespace).list(&ListParams::default()).await?;
        let happening = |event: Event| {
            let about = event.regarding.unwrap_or_default();
            Happening {
                about: format!("{}/{}", about.kind.unwrap_or_default(), about.name.unwrap_or_default()),
                reason: event.reason.unwrap_or_default(),
                message: event.note.unwrap_or_default(),
            }
        };
        Ok(events.items.into_iter().map(happening).collect())
    }
}
