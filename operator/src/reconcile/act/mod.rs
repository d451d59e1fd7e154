//! The one change that the plan chose, made.

mod evict;
mod replace;
mod volume;

use std::time::Duration;

use conure_client::api::Suffrage;
use conure_client::{Client as MemberClient, ClientError};
use conure_crd::names::{self, Component};
use kube::ResourceExt;

use super::apply::{self, ApplyError};
use super::build::{self, Blueprint, TOKEN_KEY};
use super::observe::{Observed, address};
use super::plan::{Action, Slot};
use super::view;
use crate::context::Context;
use crate::failpoint;

/// A join may take its 30 s; everything else answers sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the change was not made, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The member or the leader refused or did not answer.
    #[error("{what}: {source}")]
    Member {
        /// What was asked for.
        what: String,
        /// What came back.
        source: ClientError,
    },
    /// A StatefulSet could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The pod could not be evicted.
    #[error("the pod {pod} cannot be evicted: {source}")]
    Evict {
        /// The pod.
        pod: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// A claim could not be changed or deleted.
    #[error("the claim {claim} cannot be changed: {source}")]
    Volume {
        /// The claim.
        claim: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// The resource's annotation could not be removed.
    #[error("the annotation {annotation} cannot be removed from the ConureCluster: {source}")]
    Annotation {
        /// Its key.
        annotation: &'static str,
        /// What the API server said.
        source: kube::Error,
    },
    /// The pod could not be deleted.
    #[error("the pod {pod} cannot be deleted: {source}")]
    DeletePod {
        /// The pod.
        pod: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// The Secret has no token.
    #[error("the Secret {0} holds no token under the key {TOKEN_KEY:?}")]
    Token(String),
    /// What the action needs went away since it was planned.
    #[error("{0} is not there any more")]
    Gone(String),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done {
        /// The event's reason.
        reason: &'static str,
        /// What was done.
        note: String,
    },
    /// Begun, and to be gone on with.
    Going(String),
    /// Not now: a disruption budget says so.
    Later(String),
}

/// Makes the change.
pub async fn act(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    action: &Action,
) -> Result<Outcome, ActError> {
    match *action {
        Action::Bootstrap => bootstrap(context, observed, blueprint).await,
        Action::Join(slot) => join(observed, blueprint, slot).await,
        Action::Remove(slot) => remove(observed, blueprint, slot).await,
        Action::Transfer(slot) => transfer(observed, blueprint, slot).await,
        Action::ResizeVoters(to) => resize(context, observed, blueprint, Component::Voter, to).await,
        Action::ResizeArbiter(to) => resize(context, observed, blueprint, Component::Arbiter, to).await,
        Action::AcceptReplace(slot) => replace::accept(context, observed, blueprint, slot).await,
        Action::Replace(slot, cause) => replace::replace(context, observed, blueprint, slot, cause).await,
        Action::Recover(slot) => replace::recover(context, observed, blueprint, slot).await,
        Action::Fence(slot) => replace::fence(context, observed, blueprint, slot).await,
        Action::DeleteVolume(slot) => volume::delete(context, observed, blueprint, slot).await,
        Action::Evict(slot) => evict::evict(context, observed, blueprint, slot).await,
    }
}

/// The claim's uid is on record before the member is asked: should the volume be another one when the operator comes
/// back without having seen the answer, nobody can say whether a cluster was born on the old one, and none is begun.
async fn bootstrap(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
) -> Result<Outcome, ActError> {
    let pod = Slot::BOOTSTRAP.name(blueprint.name);
    if blueprint.identity.bootstrap_volume.is_none() {
        let uid = volume::claim_of(observed, &pod)?
            .uid()
            .ok_or_else(|| ActError::Gone(names::volume_claim(&pod)))?;
        let mut blueprint = blueprint.clone();
        blueprint.identity.bootstrap_volume = Some(uid);
        failpoint::pass("before_record_bootstrap");
        write_set(context, &blueprint, Component::Bootstrap).await?;
        failpoint::pass("after_record_bootstrap");
    }
    let what = format!("bootstrapping {pod}");
    let client = member(observed, &pod, &what)?;
    failpoint::pass("before_bootstrap");
    let answer = client.bootstrap(&blueprint.identity.cluster_id).await;
    answer.map_err(|source| ActError::Member { what, source })?;
    failpoint::pass("after_bootstrap");
    let id = &blueprint.identity.cluster_id;
    Ok(Outcome::Done { reason: "Bootstrapped", note: format!("{pod} began the cluster {id}") })
}

async fn join(observed: &Observed, blueprint: &Blueprint<'_>, slot: Slot) -> Result<Outcome, ActError> {
    let pod = slot.name(blueprint.name);
    let what = format!("joining {pod}");
    let client = leader(observed, blueprint, &what)?;
    let address = view::raft_address(blueprint.name, blueprint.namespace, &pod);
    failpoint::pass("before_join");
    let answer = client.join(&pod, &address).await.map_err(|source| ActError::Member { what, source })?;
    failpoint::pass("after_join");
    Ok(match answer.suffrage {
        Suffrage::Voter => {
            Outcome::Done { reason: "MemberJoined", note: format!("{pod} is a caught-up voter") }
        }
        Suffrage::Learner => Outcome::Going(format!(
            "{pod} is a learner and catches up: {} of {} log entries",
            answer.matched_index, answer.last_index
        )),
    })
}

async fn remove(observed: &Observed, blueprint: &Blueprint<'_>, slot: Slot) -> Result<Outcome, ActError> {
    let pod = slot.name(blueprint.name);
    let what = format!("removing {pod}");
    let client = leader(observed, blueprint, &what)?;
    failpoint::pass("before_remove");
    client.remove(&pod).await.map_err(|source| ActError::Member { what, source })?;
    failpoint::pass("after_remove");
    Ok(Outcome::Done { reason: "MemberRemoved", note: format!("{pod} is no longer a member") })
}

async fn transfer(observed: &Observed, blueprint: &Blueprint<'_>, slot: Slot) -> Result<Outcome, ActError> {
    let pod = slot.name(blueprint.name);
    let what = format!("handing leadership to {pod}");
    let client = leader(observed, blueprint, &what)?;
    failpoint::pass("before_transfer_leadership");
    let answer =
        client.transfer_leadership(&pod).await.map_err(|source| ActError::Member { what, source })?;
    failpoint::pass("after_transfer_leadership");
    let note = format!("{} leads, so that the pod of the leader before it can be replaced", answer.leader);
    Ok(Outcome::Done { reason: "LeadershipTransferred", note })
}

async fn resize(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    component: Component,
    to: u32,
) -> Result<Outcome, ActError> {
    let before = blueprint.sizes.get(&component).copied().unwrap_or(0);
    for ordinal in to..before {
        volume::mark_scaled(context, observed, blueprint, Slot { component, ordinal }).await?;
    }
    let mut blueprint = blueprint.clone();
    blueprint.sizes.insert(component, to);
    failpoint::pass("before_scale_statefulset");
    write_set(context, &blueprint, component).await?;
    failpoint::pass("after_scale_statefulset");
    let set = component.stateful_set(blueprint.name);
    let reason = if to > before { "ScaledUp" } else { "ScaledDown" };
    Ok(Outcome::Done { reason, note: format!("StatefulSet {set} from {before} to {to} pods") })
}

async fn write_set(
    context: &Context,
    blueprint: &Blueprint<'_>,
    component: Component,
) -> Result<(), ActError> {
    let name = component.stateful_set(blueprint.name);
    let sets = build::objects(blueprint).stateful_sets;
    let set = sets.iter().find(|set| set.name_any() == name).ok_or(ActError::Gone(name))?;
    apply::stateful_set(&context.client, blueprint.namespace, set).await?;
    Ok(())
}

/// A client for the leader, by its pod's address.
fn leader(observed: &Observed, blueprint: &Blueprint<'_>, what: &str) -> Result<MemberClient, ActError> {
    let (name, _) = view::leader(observed, &blueprint.identity.cluster_id)
        .ok_or_else(|| ActError::Gone("the leader".to_owned()))?;
    member(observed, name, what)
}

fn member(observed: &Observed, name: &str, what: &str) -> Result<MemberClient, ActError> {
    let gone = || ActError::Gone(format!("the pod {name}"));
    let address = observed.pods.get(name).and_then(address).ok_or_else(gone)?;
    let token = observed.token().ok_or_else(|| match &observed.secret {
        Some(secret) => ActError::Token(secret.name_any()),
        None => ActError::Gone("the Secret with the token".to_owned()),
    })?;
    // The plan decides anew what to do after a failure; the client repeats nothing.
    let client = MemberClient::builder()
        .server(address)
        .admin_token(token)
        .attempts(1)
        .connect_timeout(CONNECT_TIMEOUT)
        .build();
    client.map_err(|source| ActError::Member { what: what.to_owned(), source })
}
