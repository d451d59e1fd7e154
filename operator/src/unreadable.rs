//! A resource that this operator cannot read: its definition is a newer one, or somebody got around the present one.
//!
//! **Invariant:** nothing is made or changed for such a resource but its conditions.

use conure_crd::ConureCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::context::{Context, Note};
use crate::failpoint;
use crate::reconcile::apply::MANAGER;
use crate::reconcile::status;

/// The reason of its conditions and of its event.
const REASON: &str = "ResourceUnreadable";

/// Says so where people look: in the conditions, and in an event when that is new. A failure is logged, and nothing more.
pub async fn report(context: &Context, namespace: &str, name: &str, why: &str) {
    if let Err(error) = tell(context, namespace, name, why).await {
        tracing::warn!(namespace, cluster = name, %error, "its conditions cannot be written");
    }
}

async fn tell(context: &Context, namespace: &str, name: &str, why: &str) -> Result<(), kube::Error> {
    let kind = ApiResource::erase::<ConureCluster>(&());
    let all: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &kind);
    let Some(found) = all.get_opt(name).await? else { return Ok(()) };
    let message = format!(
        "this operator, version {}, cannot read the resource and leaves it and its members alone: {why}; correct it, or \
         install the operator that the present definition of ConureCluster belongs to",
        env!("CARGO_PKG_VERSION")
    );
    let before = conditions(&found.data);
    let after =
        status::unreadable(&before, REASON, &message, found.metadata.generation, Time(Timestamp::now()));
    if after == before {
        return Ok(());
    }
    // A merge, as the rest of the status is not known. Over the very object that was read.
    let patch = json!({
        "metadata": {"resourceVersion": found.resource_version()},
        "status": {"conditions": after},
    });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    failpoint::pass("before_write_status");
    let written = all.patch_status(name, &params, &Patch::Merge(&patch)).await;
    failpoint::pass("after_write_status");
    written?;
    let mut about = ConureCluster::new(name, Default::default());
    about.metadata = found.metadata;
    let note = Note { warning: true, ..Note::normal(REASON, message) };
    context.event(&about, "Reconcile", &note).await;
    Ok(())
}

/// The conditions that can be read.
fn conditions(data: &Value) -> Vec<Condition> {
    let found = data.pointer("/status/conditions").and_then(Value::as_array);
    found.into_iter().flatten().filter_map(|found| serde_json::from_value(found.clone()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_whatever_the_rest_is() {
        let good = json!({"type": "Ready", "status": "True", "reason": "R", "message": "",
            "lastTransitionTime": "2026-11-26T00:00:00Z"});
        let data = json!({"spec": {"arbiter": {"mode": "Sometimes"}}, "status": {"conditions": [good, 7]}});
        assert_eq!(conditions(&data).len(), 1);
        for data in [json!({}), json!({"status": 7}), json!({"status": {"conditions": "none"}})] {
            assert_eq!(conditions(&data), []);
        }
    }
}
