//! Whether the volumes have the size that the spec asks for.

use conure_crd::names;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::super::observe::Observed;
use super::super::plan::{Slot, World};
use super::super::quantity;
use kube::ResourceExt;

/// Which members' volumes are still smaller, in one line; `None` where none is.
pub(super) fn growing(observed: &Observed, world: &World) -> Option<String> {
    let spec = &observed.cluster.spec;
    let smaller = |slot: Slot| {
        let claim = names::volume_claim(&slot.name(&observed.cluster.name_any()));
        let capacity = capacity(observed.claims.get(&claim)?)?;
        let wanted = if slot.holds_data() { &spec.voters.pvc.size.0 } else { &spec.arbiter.pvc.size.0 };
        quantity::larger(wanted, &capacity).then(|| format!("{claim} has {capacity} of {wanted}"))
    };
    let all: Vec<String> = world.pods.keys().copied().filter_map(smaller).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// What the volume really has; `None` while it is not bound.
fn capacity(claim: &PersistentVolumeClaim) -> Option<String> {
    Some(claim.status.as_ref()?.capacity.as_ref()?.get("storage")?.0.clone())
}
