//! What users see: the status, and an event for each change of it that matters.
//!
//! Computed by a pure function, written by one server-side apply, and only where it differs.

mod conditions;
mod notes;
mod recovery;
mod summary;
mod volumes;

#[cfg(test)]
mod tests;

use conure_crd::condition::{ALL, RECOVERED};
use conure_crd::{ConureCluster, ConureClusterStatus, RecoveryStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::apply::MANAGER;
use super::build::Identity;
use super::observe::Observed;
use super::plan::{Action, Step, World};
use super::validate::Refusal;
use crate::context::Note;
use crate::failpoint;

pub use conditions::Verdict;

/// Why the status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the status cannot be written: {0}")]
pub struct StatusError(#[from] kube::Error);

/// How a pass ended.
#[derive(Debug, Clone)]
pub enum Pass<'a> {
    /// The cluster was given its id, and nothing else yet.
    Named(String),
    /// The cluster was given the id that its volumes have: it was born long ago.
    TakenOver(String),
    /// The member with which the cluster goes on was chosen, and nothing was done with it yet.
    Chosen(RecoveryStatus),
    /// Nothing may be done.
    Refused(&'a Refusal),
    /// The pipeline ran to its end.
    Planned(Planned<'a>),
}

/// What the pipeline found and did.
#[derive(Debug, Clone)]
pub struct Planned<'a> {
    /// The cluster's birth.
    pub identity: &'a Identity,
    /// The image that the spec asks for.
    pub image: &'a str,
    /// Whether the objects are as the spec asks.
    pub objects: Objects,
    /// What the plan looked at.
    pub world: &'a World,
    /// What it chose.
    pub step: &'a Step,
    /// What went wrong in doing it, or what it waits for.
    pub held_up: Option<HeldUp>,
    /// What the spec asks for and was not brought, although the rest was: larger volumes, an image.
    pub unmet: Option<HeldUp>,
}

/// How the objects stand to the spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// Every one is there, as the spec asks.
    AsAsked,
    /// These are not, and are left alone: the resource is paused.
    Left(Vec<String>),
    /// The API server did not take one.
    Failed(HeldUp),
}

impl Objects {
    /// Of a paused resource, by what is missing.
    pub fn of(missing: Vec<String>) -> Self {
        if missing.is_empty() { Self::AsAsked } else { Self::Left(missing) }
    }
}

/// Why a step that was chosen is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldUp {
    /// A word for conditions and events.
    pub reason: &'static str,
    /// What was said.
    pub message: String,
    /// Whether it counts as something wrong; waiting does not, nor does what passes by itself.
    pub wrong: bool,
}

/// The status after a pass.
pub fn status(observed: &Observed, pass: &Pass<'_>, now: Time) -> ConureClusterStatus {
    let before = observed.cluster.status.clone().unwrap_or_default();
    let mut status = summary::summary(observed, pass);
    if let Pass::Chosen(record) = pass {
        status.recovery = Some(record.clone());
        return status;
    }
    let verdict = conditions::judge(observed, pass, &now);
    status.conditions =
        conditions::merge(&before.conditions, &ALL, verdict, observed.cluster.metadata.generation, &now);
    if let Pass::Planned(planned) = pass
        && let Some(verdict) = recovery::verdict(observed, planned)
    {
        let generation = observed.cluster.metadata.generation;
        status.conditions.extend(conditions::merge(
            &before.conditions,
            &[RECOVERED],
            [verdict],
            generation,
            &now,
        ));
    }
    status
}

/// Writes the status, if it differs from the one that was read. `guarded`: only over the very object that was read.
pub async fn write(
    client: &Client,
    cluster: &ConureCluster,
    status: &ConureClusterStatus,
    guarded: bool,
) -> Result<bool, StatusError> {
    if cluster.status.as_ref() == Some(status) {
        return Ok(false);
    }
    let name = cluster.name_any();
    let namespace = cluster.namespace().unwrap_or_default();
    let mut patch = json!({
        "apiVersion": "conuredb.dev/v1alpha1",
        "kind": "ConureCluster",
        "metadata": {"name": name},
        "status": status,
    });
    if guarded && let Some(metadata) = patch.get_mut("metadata") {
        *metadata =
            json!({"name": name, "uid": cluster.uid(), "resourceVersion": cluster.resource_version()});
    }
    failpoint::pass("before_write_status");
    let api: Api<ConureCluster> = Api::namespaced(client.clone(), &namespace);
    let written = api.patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch)).await;
    failpoint::pass("after_write_status");
    written?;
    Ok(true)
}

/// Events of the cluster for what became better or worse.
pub fn notes(
    cluster: &str,
    before: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
    after: &ConureClusterStatus,
) -> Vec<Note> {
    notes::notes(cluster, before, &after.conditions)
}

/// The word for an action, for conditions.
fn progress(action: &Action) -> &'static str {
    match action {
        Action::Bootstrap => "Bootstrapping",
        Action::Join(_) => "MemberJoining",
        Action::Remove(_) => "MemberRemoving",
        Action::ResizeVoters(_) | Action::ResizeArbiter(_) | Action::DeleteVolume(_) => "Scaling",
        Action::Recover(_) => "Recovering",
        Action::AcceptReplace(_) | Action::Replace(..) => "MemberReplacing",
        Action::Transfer(_) | Action::Evict(_) => "RollingOut",
    }
}
