//! What users see: the status, and an event for each change of it that matters.
//!
//! Computed by a pure function, written by one server-side apply, and only where it differs.

mod conditions;
mod notes;
mod recovery;
mod summary;
mod volumes;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use conure_crd::condition::{ALL, RECOVERED};
use conure_crd::{ConureCluster, ConureClusterStatus, RecoveryStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

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
pub enum StatusError {
    /// The API server refused or did not answer.
    #[error("the status cannot be written: {0}")]
    Write(#[from] kube::Error),
    /// What has to be on record before anything is done is not kept.
    #[error("{}", outdated(.0))]
    Dropped(BTreeSet<String>),
}

/// What is wrong where the API server drops these fields of the status.
pub fn outdated(fields: &BTreeSet<String>) -> String {
    let fields: Vec<String> = fields.iter().map(|field| format!("status.{field}")).collect();
    format!(
        "the definition of ConureCluster in this Kubernetes is older than this operator and does not keep {}; bring it \
         up to date, as upgrading the operator's chart does: kubectl apply --server-side -f crd.yaml",
        fields.join(", ")
    )
}

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
    let mut status = summary::summary(observed, pass, &now);
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

/// What the API server did with the fields of a status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Those that it has now.
    pub kept: BTreeSet<String>,
    /// Those that it will not have or did not keep: the definition is an older one.
    pub dropped: BTreeSet<String>,
}

/// What became of writing the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It was so already.
    Same,
    /// It was written.
    Now(Fields),
}

/// Writes the status, if it differs from the one that was read. `guarded`: only over the very object that was read, and
/// an error where not all of it is kept.
pub async fn write(
    client: &Client,
    cluster: &ConureCluster,
    status: &ConureClusterStatus,
    guarded: bool,
) -> Result<Written, StatusError> {
    if cluster.status.as_ref() == Some(status) {
        return Ok(Written::Same);
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
    let api: Api<ConureCluster> = Api::namespaced(client.clone(), &namespace);
    let params = PatchParams::apply(MANAGER).force();
    let mut dropped = BTreeSet::new();
    loop {
        failpoint::pass("before_write_status");
        let written = api.patch_status(&name, &params, &Patch::Apply(&patch)).await;
        failpoint::pass("after_write_status");
        match written {
            Ok(written) => {
                let kept = written.status.as_ref().map(fields).unwrap_or_default();
                dropped.extend(fields(status).difference(&kept).cloned());
                if guarded && !dropped.is_empty() {
                    return Err(StatusError::Dropped(dropped));
                }
                return Ok(Written::Now(Fields { kept, dropped }));
            }
            // Once more without what the definition does not have; a second time there is nothing left to leave out.
            Err(kube::Error::Api(refused))
                if dropped.is_empty() && !undeclared(&refused.message).is_empty() =>
            {
                dropped = undeclared(&refused.message);
                if guarded {
                    return Err(StatusError::Dropped(dropped));
                }
                if let Some(status) = patch.get_mut("status").and_then(Value::as_object_mut) {
                    status.retain(|field, _| !dropped.contains(field));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The fields that a status has.
fn fields(status: &ConureClusterStatus) -> BTreeSet<String> {
    match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields.into_iter().map(|(name, _)| name).collect(),
        _ => BTreeSet::new(),
    }
}

/// The fields of the status that a refused apply names as unknown to the definition, in part or as a whole.
fn undeclared(message: &str) -> BTreeSet<String> {
    let paths =
        message.split(": field not declared in schema").filter_map(|text| text.split_whitespace().last());
    let fields = paths.filter_map(|path| path.split_once(".status.").map(|(_, path)| path));
    fields.map(|path| path.split(['.', '[', ':']).next().unwrap_or(path).to_owned()).collect()
}

/// The conditions of a resource that cannot be read, in the order in which they are shown, with those that are not the
/// operator's every day.
pub fn unreadable(
    before: &[Condition],
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Time,
) -> Vec<Condition> {
    let said = |holds| Verdict { holds, reason: reason.to_owned(), message: message.to_owned() };
    // Its members may serve: nobody looked.
    let verdicts = [said(Some(false)), said(None), said(Some(false)), said(Some(true)), said(None)];
    let mut conditions = conditions::merge(before, &ALL, verdicts, generation, &now);
    conditions.extend(before.iter().filter(|other| !ALL.contains(&other.type_.as_str())).cloned());
    conditions
}

/// Events of the cluster for what became better or worse.
pub fn notes(cluster: &str, before: &[Condition], after: &ConureClusterStatus) -> Vec<Note> {
    notes::notes(cluster, before, &after.conditions)
}

/// The word for an action, for conditions.
fn progress(action: &Action) -> &'static str {
    match action {
        Action::Bootstrap => "Bootstrapping",
        Action::Join(_) => "MemberJoining",
        Action::Remove(_) => "MemberRemoving",
        Action::ResizeVoters(_) | Action::ResizeArbiter(_) | Action::DeleteVolume(_) => "Scaling",
        Action::Recover(_) | Action::Fence(_) => "Recovering",
        Action::AcceptReplace(_) | Action::Replace(..) => "MemberReplacing",
        Action::Transfer(_) | Action::Evict(_) => "RollingOut",
    }
}
