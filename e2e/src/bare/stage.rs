//! The API server with everything that is played on it, and clusters in namespaces of their own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use conure_crd::{ConureCluster, Reason};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{ApiServer, Kubelets, Members, Mood, Operator, Proxy, Start};
use crate::kubernetes::{Cluster, until};

/// How long any change may take.
pub const PATIENCE: Duration = Duration::from_mins(3);
/// The name of every cluster.
const NAME: &str = "conure";

/// The API server, its nodes and members.
pub struct Stage {
    /// The API server.
    pub server: ApiServer,
    /// All members.
    pub members: Members,
    program: PathBuf,
    scenes: AtomicU32,
    _kubelets: Kubelets,
}

impl Stage {
    /// Starts all of it, its files below `folder`. `program` is the operator.
    pub async fn open(folder: &Path, tools: &Path, checkout: &Path, program: &Path) -> Result<Self> {
        ensure!(program.is_file(), "{}: build the operator first", program.display());
        let server = ApiServer::start(folder, tools, checkout).await?;
        let members = Members::default();
        let kubelets = Kubelets::play(&server.access().client(), &members);
        let program = program.to_owned();
        Ok(Self { server, members, program, scenes: AtomicU32::new(0), _kubelets: kubelets })
    }

    /// A fresh namespace for one cluster.
    pub async fn scene(&self) -> Result<Scene<'_>> {
        let namespace = format!("scene-{}", self.scenes.fetch_add(1, Ordering::Relaxed));
        let all: Api<Namespace> = Api::all(self.server.access().client());
        let metadata = ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() };
        all.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await?;
        let cluster = Cluster::new(self.server.access(), &namespace, NAME);
        let proxy = Proxy::start(self.server.access().client()).await?;
        Ok(Scene { stage: self, cluster, proxy, namespace })
    }
}

/// One cluster, there or not, and the way that its operators have to the API server.
pub struct Scene<'a> {
    stage: &'a Stage,
    /// The cluster.
    pub cluster: Cluster,
    /// What its operators go through.
    pub proxy: Proxy,
    /// Its namespace.
    pub namespace: String,
}

impl Scene<'_> {
    /// How its operators are started.
    #[must_use]
    pub fn start(&self) -> Start {
        Start {
            program: self.stage.program.clone(),
            folder: self.stage.server.folder().join(&self.namespace),
            url: self.proxy.url().to_owned(),
            namespace: self.namespace.clone(),
            failpoints: String::new(),
            candidate: None,
            port: 0,
        }
    }

    /// An operator of this namespace, with what the crate `fail` is told.
    pub fn operator(&self, failpoints: &str) -> Result<Operator> {
        Start { failpoints: failpoints.to_owned(), ..self.start() }.operator()
    }

    /// Makes the resource with that many data members and with `more` of the spec.
    pub async fn create(&self, voters: i32, more: Value) -> Result<()> {
        let mut spec =
            json!({"image": {"tag": "v1"}, "voters": {"replicas": voters, "pvc": {"size": "1Gi"}}});
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        let cluster: ConureCluster = serde_json::from_value(json!({
            "apiVersion": "conuredb.dev/v1alpha1", "kind": "ConureCluster", "metadata": {"name": NAME}, "spec": spec,
        }))?;
        self.cluster.resources().create(&PostParams::default(), &cluster).await?;
        Ok(())
    }

    /// Waits until the cluster is Ready with that many data members, and an arbiter where their number is even.
    pub async fn settled(&self, voters: i32) -> Result<()> {
        self.cluster.ready(voters, voters % 2 == 0, PATIENCE).await
    }

    /// Changes how one of its members behaves.
    pub fn set_mood(&self, member: &str, mood: Mood) {
        self.stage.members.set_mood(&self.namespace, member, mood);
    }

    /// The uid of a member's claim, where it has one.
    pub async fn claim_uid(&self, member: &str) -> Result<Option<String>> {
        let claims: Api<PersistentVolumeClaim> = self.cluster.access.api(&self.namespace);
        let claim = claims.get_opt(&conure_crd::names::volume_claim(member)).await?;
        Ok(claim.and_then(|claim| claim.uid()))
    }

    /// Deletes the resource.
    pub async fn delete(&self) -> Result<()> {
        self.cluster.resources().delete(NAME, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until nothing of the cluster is left but its volumes.
    pub async fn gone(&self) -> Result<()> {
        until("nothing but volumes is left", PATIENCE, async || {
            let left = [
                self.names::<StatefulSet>().await?,
                self.names::<Pod>().await?,
                self.names::<Service>().await?,
                self.names::<PodDisruptionBudget>().await?,
                self.names::<Secret>().await?,
            ]
            .concat();
            ensure!(left.is_empty(), "there are {}", left.join(", "));
            Ok(())
        })
        .await
    }

    /// Nothing was asked of the members that must never be.
    pub fn unharmed(&self) -> Result<()> {
        let breaches = self.stage.members.breaches(&self.namespace);
        ensure!(breaches.is_empty(), "{}", breaches.join("; "));
        Ok(())
    }

    /// All that there is, without what differs between two clusters that are the same.
    pub async fn shape(&self) -> Result<Value> {
        let resource = self.cluster.resources().get_opt(NAME).await?;
        let status = resource.and_then(|resource| resource.status).unwrap_or_default();
        self.explained(&status.conditions).await?;
        let conditions: Vec<Value> =
            status.conditions.iter().map(|found| json!([found.type_, found.status, found.reason])).collect();
        let id = status.cluster_id.unwrap_or_default();
        let config = self.stage.members.config(&id).filter(|_| !id.is_empty());
        let members: Vec<Value> = config
            .into_iter()
            .flat_map(|config| config.members)
            .map(|member| json!([member.id, member.raft_addr, member.role, member.suffrage]))
            .collect();
        let shown: Vec<Value> = status
            .members
            .iter()
            .map(|member| json!([member.name, member.role, member.suffrage, member.ready, member.health]))
            .collect();
        let sets: Vec<Value> = self
            .list::<StatefulSet>()
            .await?
            .into_iter()
            .map(|set| {
                let annotations: Vec<&String> = set.annotations().keys().collect();
                json!({"name": set.name_any(), "annotations": annotations, "spec": set.spec})
            })
            .collect();
        let budgets: Vec<Value> =
            self.list::<PodDisruptionBudget>().await?.into_iter().map(|budget| json!(budget.spec)).collect();
        let shape = json!({
            "conditions": conditions, "members": members, "shown": shown, "sets": sets, "budgets": budgets,
            "services": self.names::<Service>().await?, "secrets": self.names::<Secret>().await?,
            "claims": self.names::<PersistentVolumeClaim>().await?, "pods": self.names::<Pod>().await?,
        });
        let mut text = shape.to_string();
        for (own, neutral) in [(id.as_str(), "ID"), (self.namespace.as_str(), "NAMESPACE")] {
            if !own.is_empty() {
                text = text.replace(own, neutral);
            }
        }
        serde_json::from_str(&text).context("a shape is JSON")
    }

    /// Every reason given is one that is kept for its condition, or for events.
    async fn explained(&self, conditions: &[Condition]) -> Result<()> {
        for found in conditions {
            let known = Reason::named(&found.reason).is_some_and(|reason| reason.explains(&found.type_));
            ensure!(known, "{} is {} because of {}", found.type_, found.status, found.reason);
        }
        for event in self.list::<Event>().await? {
            let reason = event.reason.unwrap_or_default();
            let own = event.reporting_controller.as_deref() == Some("conure-operator");
            ensure!(!own || Reason::named(&reason).is_some_and(Reason::is_told), "an event is {reason:?}");
        }
        Ok(())
    }

    async fn list<K>(&self) -> Result<Vec<K>>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = self.cluster.access.api(&self.namespace);
        Ok(api.list(&ListParams::default()).await?.items)
    }

    async fn names<K>(&self) -> Result<Vec<String>>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let mut names: Vec<String> = self
            .list::<K>()
            .await?
            .iter()
            .map(|object| format!("{} {}", K::kind(&()), object.name_any()))
            .collect();
        names.sort();
        Ok(names)
    }
}
