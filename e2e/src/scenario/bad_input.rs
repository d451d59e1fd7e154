//! Clusters that cannot be: refused at once, or told why they wait.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::rollout::uids;
use super::world::{PATIENCE, World};
use crate::kubernetes::{Cluster, until};

/// The namespace of the clusters here.
pub(super) const NAMESPACE: &str = "conure-e2e-input";
/// A storage class that nobody made.
const ABSENT_CLASS: &str = "conure-e2e-absent";

/// A change that makes a valid manifest invalid, and what the refusal must say.
fn invalid() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"spec": {"voters": {"replicas": 0}}}), "set voters.replicas to a number between them"),
        (json!({"spec": {"voters": {"replicas": 8}}}), "a cluster has 1 to 7 data members"),
        (json!({"spec": {"voters": {"pvc": {"size": "lots"}}}}), "pvc.size"),
        (json!({"spec": {"image": {"tag": "not a tag"}}}), "tag is no image tag"),
        (json!({"spec": {"image": {"digest": "sha256:1"}}}), "digest is no image digest"),
        (json!({"spec": {"arbiter": {"mode": "Sometimes"}}}), "Sometimes"),
        (json!({"spec": {"security": {"runAsNonRoot": true, "runAsUser": 0}}}), "runAsUser 0 is root"),
        (json!({"spec": {"serverConfig": {"barrierTimeout": "soon"}}}), "barrierTimeout"),
        (json!({"spec": {"repair": {"replaceAfter": "1d"}}}), "like 30m"),
        (
            json!({"spec": {"extraEnv": [{"name": "CONURE_ROLE", "value": "data"}]}}),
            "take them out of extraEnv",
        ),
        (json!({"spec": {"podLabels": {"conuredb.dev/role": "x"}}}), "choose other keys for podLabels"),
        (
            json!({"spec": {"bootstrap": {"existingVolumes": {"clusterID": "a b"}}}}),
            "clusterID is no cluster's id",
        ),
        (json!({"spec": {"tls": {"secretName": "certificate"}}}), "take out spec.tls"),
        (json!({"spec": {"replicas": 3}}), "spec.replicas"),
        (json!({"metadata": {"name": "x".repeat(43)}}), "42"),
        (json!({"metadata": {"name": "1conure"}}), "name"),
        (json!({"metadata": {"name": "conure-peers"}}), "-peers"),
    ]
}

pub(super) async fn invalid_clusters_are_refused_with_the_mend(world: &mut World) -> Result<()> {
    world.access.fresh_namespace(NAMESPACE).await?;
    let kind = ApiResource::erase::<conure_crd::ConureCluster>(&());
    let all: Api<DynamicObject> = Api::namespaced_with(world.access.client(), NAMESPACE, &kind);
    // What `kubectl apply` asks for: a field that nobody knows is an error, not something to leave out.
    let how = PostParams { dry_run: true, ..PostParams::default() };
    all.create(&how, &serde_json::from_value(world.manifest("good", 3))?).await.context("a valid cluster")?;
    for (change, expected) in invalid() {
        let mut manifest = world.manifest("bad", 3);
        merge(&mut manifest, &change);
        let refusal = if expected == "spec.replicas" {
            world.access.apply(NAMESPACE, &manifest.to_string()).await.err().map(|error| format!("{error:#}"))
        } else {
            all.create(&how, &serde_json::from_value(manifest)?).await.err().map(|error| error.to_string())
        };
        let refusal = refusal.with_context(|| format!("{change} was taken"))?;
        ensure!(refusal.contains(expected), "{change} was refused without saying {expected:?}: {refusal}");
    }
    let changes = [
        (json!({"spec": {"voters": {"pvc": {"size": "512Mi"}}}}), "size"),
        (json!({"spec": {"voters": {"pvc": {"storageClassName": "other"}}}}), "storageClassName"),
        (json!({"spec": {"voters": {"replicas": 9}}}), "a cluster has 1 to 7 data members"),
    ];
    for (change, expected) in changes {
        let how = PatchParams { dry_run: true, ..PatchParams::default() };
        let refusal =
            world.cluster.resources().patch(&world.cluster.name, &how, &Patch::Merge(&change)).await;
        let refusal = refusal.err().with_context(|| format!("the change {change} was taken"))?.to_string();
        ensure!(refusal.contains(expected), "{change} was refused without saying {expected:?}: {refusal}");
    }
    let too_many = world.ask_for(9).await.err().context("kubectl scale --replicas=9 was taken")?.to_string();
    ensure!(too_many.contains("1 to 7"), "kubectl scale --replicas=9 was refused with {too_many}");
    Ok(())
}

pub(super) async fn image_that_cannot_be_pulled_is_named_and_mended(world: &mut World) -> Result<()> {
    world.access.present_namespace(NAMESPACE).await?;
    let mut manifest = world.manifest("unpulled", 1);
    merge(&mut manifest, &json!({"spec": {"image": {"tag": "conure-e2e-nowhere"}}}));
    world.access.apply(NAMESPACE, &manifest.to_string()).await?;
    let cluster = Cluster::new(&world.access, NAMESPACE, "unpulled");
    names_cause(world, &cluster, "conure-e2e-nowhere").await?;
    let tag = &world.settings.server_image.tag;
    cluster.patch(json!({"spec": {"image": {"tag": tag}}})).await?;
    cluster.ready(1, false, PATIENCE).await.context("after the mend")?;
    cluster.resources().delete("unpulled", &DeleteParams::default()).await?;
    Ok(())
}

/// The operator's own image: it is on every node, and its program does not know what the server is told.
pub(super) async fn image_without_the_server_is_named_and_mended(world: &mut World) -> Result<()> {
    world.access.present_namespace(NAMESPACE).await?;
    let other = &world.settings.operator_image;
    let mut manifest = world.manifest("foreign", 1);
    merge(&mut manifest, &json!({"spec": {"image": {"repository": other.repository, "tag": other.tag}}}));
    world.access.apply(NAMESPACE, &manifest.to_string()).await?;
    let cluster = Cluster::new(&world.access, NAMESPACE, "foreign");
    names_cause(world, &cluster, "unexpected argument '--bootstrap'").await?;
    let (reason, message) = cluster.condition("Degraded", "True", PATIENCE).await?;
    ensure!(reason == "CrashLooping" && message.contains("foreign-bootstrap-0"), "{reason}: {message}");
    let server = world.manifest("foreign", 1);
    cluster.patch(json!({"spec": {"image": server["spec"]["image"]}})).await?;
    cluster.ready(1, false, PATIENCE).await.context("after the mend")?;
    cluster.resources().delete("foreign", &DeleteParams::default()).await?;
    Ok(())
}

pub(super) async fn absent_storage_class_is_named_and_mended(world: &mut World) -> Result<()> {
    world.access.present_namespace(NAMESPACE).await?;
    let classes: Api<StorageClass> = Api::all(world.access.client());
    if classes.get_opt(ABSENT_CLASS).await?.is_some() {
        classes.delete(ABSENT_CLASS, &DeleteParams::default()).await?;
    }
    let mut manifest = world.manifest("unbound", 1);
    merge(&mut manifest, &json!({"spec": {"voters": {"pvc": {"storageClassName": ABSENT_CLASS}}}}));
    world.access.apply(NAMESPACE, &manifest.to_string()).await?;
    let cluster = Cluster::new(&world.access, NAMESPACE, "unbound");
    names_cause(world, &cluster, ABSENT_CLASS).await?;

    let mut class = default_class(&classes).await?;
    class.metadata = kube::api::ObjectMeta { name: Some(ABSENT_CLASS.into()), ..Default::default() };
    classes.create(&PostParams::default(), &class).await?;
    let ready = cluster.ready(1, false, PATIENCE).await.context("after the mend");
    cluster.resources().delete("unbound", &DeleteParams::default()).await?;
    classes.delete(ABSENT_CLASS, &DeleteParams::default()).await?;
    ready
}

pub(super) async fn storage_that_cannot_grow_is_named_and_the_size_may_be_taken_back(
    world: &mut World,
) -> Result<()> {
    world.access.present_namespace(NAMESPACE).await?;
    const RIGID: &str = "conure-e2e-rigid";
    let classes: Api<StorageClass> = Api::all(world.access.client());
    if classes.get_opt(RIGID).await?.is_some() {
        classes.delete(RIGID, &DeleteParams::default()).await?;
    }
    let mut class = default_class(&classes).await?;
    class.metadata = kube::api::ObjectMeta { name: Some(RIGID.into()), ..Default::default() };
    class.allow_volume_expansion = Some(false);
    classes.create(&PostParams::default(), &class).await?;
    let mut manifest = world.manifest("rigid", 1);
    merge(&mut manifest, &json!({"spec": {"voters": {"pvc": {"storageClassName": RIGID}}}}));
    world.access.apply(NAMESPACE, &manifest.to_string()).await?;
    let cluster = Cluster::new(&world.access, NAMESPACE, "rigid");
    cluster.ready(1, false, PATIENCE).await?;
    let size = |size: &str| json!({"spec": {"voters": {"pvc": {"size": size}}}});
    cluster.patch(size("2Gi")).await?;
    names_cause(world, &cluster, "resize").await?;
    let (reason, _) = cluster.condition("Degraded", "True", PATIENCE).await?;
    ensure!(reason == "VolumeGrowthRefused", "the reason is {reason}");
    cluster.condition("Available", "True", PATIENCE).await?;
    cluster.patch(size("1Gi")).await.context("the size is taken back")?;
    cluster.ready(1, false, PATIENCE).await?;
    // No local volume can really grow; but where the class allows it, the claim asks for more.
    let allow = Patch::Merge(json!({"allowVolumeExpansion": true}));
    classes.patch(RIGID, &PatchParams::default(), &allow).await?;
    cluster.patch(size("2Gi")).await?;
    let claims = world.access.api::<PersistentVolumeClaim>(NAMESPACE);
    until("the claim asks for 2Gi", PATIENCE, async || {
        let claim = claims.get("data-rigid-bootstrap-0").await?;
        let requests = claim.spec.and_then(|spec| spec.resources?.requests).unwrap_or_default();
        let asked = requests.get("storage").map(|size| size.0.clone()).unwrap_or_default();
        ensure!(asked == "2Gi", "it asks for {asked}");
        Ok(())
    })
    .await?;
    let (reason, message) = cluster.condition("Ready", "False", PATIENCE).await?;
    ensure!(reason == "VolumesGrowing" && message.contains("1Gi of 2Gi"), "it says {reason}: {message}");
    // Admission knows of it from the status, which the pass after the claim's change writes.
    until("the status says what the claim asks for", PATIENCE, async || {
        let reached = cluster.status().await?.data_volume_size.map(|size| size.0);
        ensure!(reached.as_deref() == Some("2Gi"), "it says {reached:?}");
        Ok(())
    })
    .await?;
    let refusal =
        cluster.patch(size("1Gi")).await.err().context("the claim's size was taken back")?.to_string();
    ensure!(refusal.contains("a volume cannot shrink"), "{refusal}");
    cluster.resources().delete("rigid", &DeleteParams::default()).await?;
    classes.delete(RIGID, &DeleteParams::default()).await?;
    Ok(())
}

pub(super) async fn template_that_the_api_server_refuses_is_named_and_never_ready(
    world: &mut World,
) -> Result<()> {
    world.settled().await?;
    let before = uids(&world.cluster.pods().await?);
    let asked = world.cluster.patch(json!({"spec": {"nodeSelector": {"disk": "no label"}}})).await?;
    let seen = refused(world, asked.metadata.generation).await;
    world.cluster.patch(json!({"spec": {"nodeSelector": {"disk": null}}})).await?;
    seen?;
    world.settled().await?;
    ensure!(uids(&world.cluster.pods().await?) == before, "a pod was replaced for a spec that cannot be");
    Ok(())
}

async fn refused(world: &World, generation: Option<i64>) -> Result<()> {
    let first = until("the cluster speaks of the new generation", PATIENCE, async || {
        let conditions = world.cluster.status().await?.conditions;
        let ready =
            conditions.into_iter().find(|condition| condition.type_ == "Ready").context("no Ready")?;
        ensure!(ready.observed_generation == generation, "it speaks of {:?}", ready.observed_generation);
        Ok(ready)
    })
    .await?;
    let says = format!("Ready={} {}: {}", first.status, first.reason, first.message);
    world.say(&says);
    ensure!(first.status == "False" && first.reason == "ApplyFailed", "{says}");
    ensure!(first.message.contains("nodeSelector"), "the message does not name the field: {says}");
    world.cluster.condition("Degraded", "True", PATIENCE).await?;
    world.cluster.condition("Available", "True", PATIENCE).await?;
    world.told(&[("ApplyFailed", "nodeSelector")]).await
}

async fn default_class(classes: &Api<StorageClass>) -> Result<StorageClass> {
    let is_default = |class: &StorageClass| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.is_some_and(|all| {
            all.get("storageclass.kubernetes.io/is-default-class").is_some_and(|v| v == "true")
        })
    };
    let mut all = classes.list(&ListParams::default()).await?.items;
    all.retain(is_default);
    all.pop().context("this Kubernetes has no default storage class")
}

/// A condition and an event of the cluster name what is wrong.
async fn names_cause(world: &World, cluster: &Cluster, cause: &str) -> Result<()> {
    let said = until(
        &format!("a condition of {} names {cause}", cluster.name),
        Duration::from_secs(90),
        async || {
            let conditions = cluster.status().await?.conditions;
            let ready = conditions
                .iter()
                .find(|condition| condition.type_ == "Ready")
                .context("no condition Ready")?;
            ensure!(ready.status == "False", "Ready is {}", ready.status);
            let found = conditions.iter().find(|condition| condition.message.contains(cause));
            match found {
                Some(found) => {
                    Ok(format!("{}={} {}: {}", found.type_, found.status, found.reason, found.message))
                }
                None => bail!("Ready is False: {}: {}", ready.reason, ready.message),
            }
        },
    )
    .await?;
    world.say(said);
    let about = format!("ConureCluster/{}", cluster.name);
    until(&format!("an event of {about} names {cause}"), Duration::from_secs(30), async || {
        let events = world.access.events(&cluster.namespace).await?;
        let own: Vec<_> = events.into_iter().filter(|event| event.about == about).collect();
        ensure!(own.iter().any(|event| event.message.contains(cause)), "its events are {own:?}");
        Ok(())
    })
    .await
}

/// Puts the fields of `change` into `target`.
fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}
