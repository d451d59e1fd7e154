//! One pass over one ConureCluster: a pipeline of steps, each in a file of its own.
//!
//! `observe` (read the children, ask the members) → `validate` → `build` (pure) → `apply` (server-side apply) → `plan`
//! (pure: at most one change) → `act` → `status`. This file only names the steps.
//!
//! **Invariant:** only `observe`, `apply`, `act` and `status` hold a client, and no step remembers anything: the operator
//! may die between any two of them, and the next pass carries on from what it observes.

pub mod act;
pub mod apply;
pub mod build;
mod difference;
pub mod observe;
mod pace;
pub mod plan;
mod quantity;
pub mod recovery;
pub mod status;
pub mod validate;
pub mod view;

use std::collections::BTreeSet;
use std::time::Duration;

use conure_crd::{ConureCluster, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use crate::context::{Context, Note};
use act::Outcome;
use build::{Blueprint, Identity, image};
use observe::Observed;
use plan::{Step, Wish};
use recovery::Stand;
use status::{HeldUp, Objects, Pass, Planned, Written};

/// What passes by itself within this time is no trouble: the DNS name of a new pod that is not known yet, say.
const FAILING_TOLERATED: Duration = Duration::from_secs(15);

/// Why a pass ended before its status was written.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Nothing could be seen.
    #[error(transparent)]
    Observe(#[from] observe::ObserveError),
    /// The status could not be written.
    #[error(transparent)]
    Status(#[from] status::StatusError),
    /// Something hung.
    #[error("the pass was not through after {} s", .0.as_secs())]
    Late(Duration),
}

/// One pass. Answers when to look again, `None` for not before something changes.
pub async fn reconcile(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<Duration>, ReconcileError> {
    let ticket = context.rests.begin(namespace, name);
    let seen = observe::observe(&context.client, namespace, name).await?;
    let Some(observed) = seen.filter(|seen| seen.cluster.metadata.deletion_timestamp.is_none()) else {
        context.forget(namespace, name);
        return Ok(None);
    };
    if let Err(refusal) = validate::validate(&observed) {
        finish(context, &observed, &Pass::Refused(&refusal), false).await?;
        return Ok(Some(pace::refused(&refusal, &observed.cluster)));
    }
    let Some(identity) = view::identity(&observed) else {
        // On record before anything is made with it, and only over the very object that was judged.
        let taken_over = view::taken_over(&observed.cluster).map(str::to_owned);
        let (id, note) = match taken_over {
            Some(id) => {
                let text = format!("the cluster {id} goes on with the volumes that are there");
                let pass = Pass::TakenOver(id.clone());
                finish(context, &observed, &pass, true).await?;
                (id, Note::normal("VolumesTakenOver", text))
            }
            None => {
                let id = uuid::Uuid::new_v4().to_string();
                finish(context, &observed, &Pass::Named(id.clone()), true).await?;
                let note = Note::normal("ClusterIDAssigned", format!("the cluster is {id}"));
                (id, note)
            }
        };
        tracing::info!(cluster_id = id, reason = note.reason, "the cluster has its id");
        context.event(&observed.cluster, "Bootstrap", &note).await;
        return Ok(Some(pace::AT_ONCE));
    };

    if !observed.cluster.spec.paused
        && let Stand::Accepted(record) = recovery::stand(&observed, &identity)
    {
        // On record before anything is done, and only over the very object that was judged.
        let text = format!("the cluster is to go on with {}, whose log holds the most", record.member_name);
        let note = Note { warning: true, ..Note::normal("RecoveryAccepted", text) };
        finish(context, &observed, &Pass::Chosen(record), true).await?;
        context.event(&observed.cluster, "Recover", &note).await;
        return Ok(Some(pace::AT_ONCE));
    }

    let wish = Wish::of(&observed.cluster);
    let blueprint = blueprint(context, &observed, namespace, name, identity);
    let objects = build::objects(&blueprint);
    let paused = observed.cluster.spec.paused;
    let applied = if paused {
        apply::missing(&observed, &objects).map(|missing| (Objects::of(missing), false))
    } else {
        let applied = apply::apply(&context.client, &observed, &blueprint, &objects).await;
        applied.map(|changed| (Objects::AsAsked, changed))
    };

    let volumes = match applied {
        Ok(_) if !paused => apply::volumes(context, &observed, &blueprint, &objects).await,
        _ => Ok(()),
    };
    let mut world = view::world(&observed, &blueprint.identity, &blueprint.sizes, Timestamp::now());
    world.revisions_known &= !matches!(applied, Ok((_, true)));
    let step = plan::plan(wish, &world);
    let (objects, held_up, again) = match (applied, &step) {
        (Err(error), _) => {
            let (why, again) = failed(context, namespace, name, "ApplyFailed", &error);
            (Objects::Failed(why), None, again)
        }
        (Ok((objects, _)), Step::Act(action)) if !paused => {
            let (held_up, again) = match act::act(context, &observed, &blueprint, action).await {
                Ok(outcome) => {
                    context.metrics.acted(action.kind());
                    context.succeeded(namespace, name);
                    done(context, &observed.cluster, action, outcome).await
                }
                Err(error) => {
                    let (why, again) = failed(context, namespace, name, action.failure(), &error);
                    (Some(why), again)
                }
            };
            (objects, held_up, again)
        }
        (Ok((objects, _)), step) => {
            context.succeeded(namespace, name);
            (objects, None, pace::of(step, &observed.cluster))
        }
    };
    let planned = Planned {
        identity: &blueprint.identity,
        image: &blueprint.image,
        objects,
        world: &world,
        step: &step,
        held_up,
        unmet: (observed.cluster.spec.tls.as_ref().map(|_| not_encrypted()))
            .or_else(|| blueprint.image_refused.as_deref().map(image_refused))
            .or(volumes.err().map(|error| not_grown(&error)))
            .or(context.dropped_of_status().map(|fields| older_definition(&fields))),
    };
    if finish(context, &observed, &Pass::Planned(planned), false).await? {
        context.rests.rest(namespace, name, ticket, &observed);
    }
    Ok(Some(again))
}

fn blueprint<'a>(
    context: &Context,
    observed: &'a Observed,
    namespace: &'a str,
    name: &'a str,
    identity: Identity,
) -> Blueprint<'a> {
    let running = view::running_image(observed);
    let wanted = image::choose(&observed.cluster, running.as_deref(), &context.default_image);
    let versions: Vec<&str> =
        observed.answers.values().map(|answer| answer.status.version.as_str()).collect();
    let image_refused = image::too_far(&wanted, running.as_deref(), &versions);
    let mut owner = observed.cluster.controller_owner_ref(&()).unwrap_or_default();
    // To block the owner's deletion takes a right over its finalizers, and nothing waits for it.
    owner.block_owner_deletion = None;
    let sizes = view::sizes(observed, &identity, Wish::of(&observed.cluster));
    Blueprint {
        cluster: &observed.cluster,
        name,
        namespace,
        owner,
        image: if image_refused.is_some() { running.unwrap_or(wanted) } else { wanted },
        image_refused,
        recovering: match recovery::stand(observed, &identity) {
            Stand::UnderWay(record) => Some(record),
            _ => None,
        },
        incarnation: view::incarnation(observed, &identity.cluster_id),
        strangers: view::strangers(observed, &identity.cluster_id),
        claims: view::claims(observed),
        // Before birth a claim may be anybody's.
        volumes: if identity.born { view::live_claims(observed, &sizes) } else { Vec::new() },
        sizes,
        identity,
    }
}

fn image_refused(why: &str) -> HeldUp {
    HeldUp { reason: "VersionStepRefused", message: why.to_owned(), wrong: true }
}

fn not_encrypted() -> HeldUp {
    HeldUp { reason: "TLSNotSupported", message: validate::Refusal::TlsAskedFor.to_string(), wrong: true }
}

fn older_definition(fields: &BTreeSet<String>) -> HeldUp {
    HeldUp { reason: "DefinitionOutdated", message: status::outdated(fields), wrong: true }
}

/// What kept the volumes from becoming what the spec asks for.
fn not_grown(error: &apply::ApplyError) -> HeldUp {
    let wrong = error.is_refusal();
    let message = format!(
        "{error}; a storage class that does not let volumes grow never will: restore a backup into a new ConureCluster \
         with another one, or set pvc.size back"
    );
    HeldUp { reason: "VolumeGrowthRefused", message: if wrong { message } else { error.to_string() }, wrong }
}

async fn done(
    context: &Context,
    cluster: &ConureCluster,
    action: &plan::Action,
    outcome: Outcome,
) -> (Option<HeldUp>, Duration) {
    match outcome {
        Outcome::Done { reason, note } => {
            tracing::info!(reason, note, "done");
            let about = action.member().map(|slot| ("Pod", slot.name(&cluster.name_any())));
            let note = Note { about, ..Note::normal(reason, note) };
            context.event(cluster, action.kind(), &note).await;
            (None, pace::AT_ONCE)
        }
        Outcome::Going(message) => {
            (Some(HeldUp { reason: "CatchingUp", message, wrong: false }), pace::AT_ONCE)
        }
        Outcome::Later(message) => {
            (Some(HeldUp { reason: "DisruptionBudget", message, wrong: false }), pace::SOON)
        }
    }
}

fn failed(
    context: &Context,
    namespace: &str,
    name: &str,
    reason: &'static str,
    error: &dyn std::error::Error,
) -> (HeldUp, Duration) {
    let (lasting, wait) = context.failed(namespace, name);
    tracing::warn!(reason, %error, ?lasting, "a step failed");
    let wrong = lasting > FAILING_TOLERATED;
    (HeldUp { reason, message: error.to_string(), wrong }, wait)
}

/// Writes the status, and an event for what became better or worse. Answers whether all is well and was before.
async fn finish(
    context: &Context,
    observed: &Observed,
    pass: &Pass<'_>,
    guarded: bool,
) -> Result<bool, ReconcileError> {
    let cluster = &observed.cluster;
    let status = status::status(observed, pass, Time(Timestamp::now()));
    let written = match status::write(&context.client, cluster, &status, guarded).await? {
        Written::Same => false,
        Written::Now(fields) => {
            context.status_came_back(&fields);
            true
        }
    };
    let namespace = cluster.namespace().unwrap_or_default();
    context.metrics.cluster(&namespace, &cluster.name_any(), &status, cluster.spec.suspend);
    if written {
        let generation = cluster.status.as_ref().and_then(|status| status.observed_generation);
        let idle = view::idle_arbiter(cluster).filter(|_| generation != status.observed_generation);
        if let Some(text) = idle {
            let note = Note { warning: true, ..Note::normal("ArbiterAddsNoSafety", text) };
            context.event(cluster, "Reconcile", &note).await;
        }
        let before = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        for note in status::notes(&cluster.name_any(), before, &status) {
            context.event(cluster, "Reconcile", &note).await;
        }
    }
    let is = |kind, value| status.conditions.iter().any(|c| c.type_ == kind && c.status == value);
    Ok(!written && is(condition::READY, "True") && is(condition::DEGRADED, "False"))
}
