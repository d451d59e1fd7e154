//! One ConureCluster, its pods and its members.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use conure_client::Client;
use conure_client::api::Status;
use conure_crd::names;
use conure_crd::{ConureCluster, ConureClusterStatus, MemberSuffrage, condition};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};

use super::forward::Forwards;
use super::{Access, until};
use crate::workload::Target;

/// A ConureCluster by its name.
#[derive(Clone)]
pub struct Cluster {
    /// The Kubernetes that it is on.
    pub access: Access,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    forwards: Option<Arc<Forwards>>,
}

impl Cluster {
    /// A cluster, whether it is there or not.
    #[must_use]
    pub fn new(access: &Access, namespace: &str, name: &str) -> Self {
        let forwards = (!access.direct).then(|| Arc::new(Forwards::new(access.api(namespace))));
        Self { access: access.clone(), namespace: namespace.to_owned(), name: name.to_owned(), forwards }
    }

    /// The resources of its kind beside it.
    #[must_use]
    pub fn resources(&self) -> Api<ConureCluster> {
        self.access.api(&self.namespace)
    }

    /// The resource.
    pub async fn get(&self) -> Result<ConureCluster> {
        self.resources().get(&self.name).await.with_context(|| format!("ConureCluster {}", self.name))
    }

    /// Its status, empty before the first.
    pub async fn status(&self) -> Result<ConureClusterStatus> {
        Ok(self.get().await?.status.unwrap_or_default())
    }

    /// The id that its status names.
    pub async fn cluster_id(&self) -> Result<String> {
        self.status().await?.cluster_id.context("status.clusterID is not set")
    }

    /// Merges a change into the resource.
    pub async fn patch(&self, change: serde_json::Value) -> Result<ConureCluster> {
        let patch = Patch::Merge(change);
        Ok(self.resources().patch(&self.name, &PatchParams::default(), &patch).await?)
    }

    /// Its pods, by name.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let labels: Vec<String> =
            names::selector_labels(&self.name).iter().map(|(key, value)| format!("{key}={value}")).collect();
        let list = ListParams::default().labels(&labels.join(","));
        let mut pods = self.access.api::<Pod>(&self.namespace).list(&list).await?.items;
        pods.retain(|pod| names::parse_pod(&self.name, pod_name(pod)).is_some());
        pods.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
        Ok(pods)
    }

    /// One of its pods.
    pub async fn pod(&self, name: &str) -> Result<Pod> {
        Ok(self.access.api::<Pod>(&self.namespace).get(name).await?)
    }

    /// The node that a pod runs on.
    pub async fn node_of(&self, pod: &str) -> Result<String> {
        let found = self.pod(pod).await?;
        found.spec.and_then(|spec| spec.node_name).with_context(|| format!("{pod} is on no node yet"))
    }

    /// Deletes a pod; `at_once` gives its process no time to end well.
    pub async fn delete_pod(&self, name: &str, at_once: bool) -> Result<()> {
        let how = if at_once { DeleteParams::default().grace_period(0) } else { DeleteParams::default() };
        self.access.api::<Pod>(&self.namespace).delete(name, &how).await?;
        Ok(())
    }

    /// Deletes a member's volume, and its pod, so that it comes back with nothing.
    pub async fn lose_volume(&self, pod: &str) -> Result<()> {
        let claims = self.access.api::<PersistentVolumeClaim>(&self.namespace);
        let claim = names::volume_claim(pod);
        let before = claims.get(&claim).await?.metadata.uid;
        claims.delete(&claim, &DeleteParams::default()).await?;
        self.delete_pod(pod, true).await?;
        // A claim that is still in use only starts to go; a pod that was quicker would hold on to the old one.
        until(&format!("{pod} has a new volume"), Duration::from_mins(2), async || {
            let found = claims.get_opt(&claim).await?;
            match found {
                Some(now) if now.metadata.uid != before => Ok(()),
                Some(_) => {
                    let pods = self.access.api::<Pod>(&self.namespace);
                    let _ = pods.delete(pod, &DeleteParams::default().grace_period(0)).await;
                    bail!("the old claim is still going")
                }
                None => bail!("no new claim yet"),
            }
        })
        .await
    }

    /// Every member that has an address.
    pub async fn targets(&self) -> Result<Vec<Target>> {
        let mut targets = Vec::new();
        let pods = self.pods().await?;
        for pod in &pods {
            let status = pod.status.as_ref();
            let running = status.is_some_and(|status| status.phase.as_deref() == Some("Running"));
            if !running || pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let ip =
                status.and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse::<IpAddr>().ok());
            let address = match (&self.forwards, ip) {
                (Some(forwards), Some(_)) => forwards.address(pod).await?,
                (None, Some(ip)) => SocketAddr::new(ip, u16::try_from(names::HTTP_PORT)?),
                (_, None) => continue,
            };
            targets.push(Target { name: pod_name(pod).to_owned(), url: format!("http://{address}") });
        }
        if let Some(forwards) = &self.forwards {
            forwards.keep(&pods).await;
        }
        Ok(targets)
    }

    /// A client of one member alone.
    pub async fn member(&self, name: &str) -> Result<Client> {
        let targets = self.targets().await?;
        let target = targets.iter().find(|target| target.name == name);
        let url = &target.with_context(|| format!("{name} has no address"))?.url;
        Ok(Client::builder().server(url).attempts(1).timeout(Duration::from_secs(5)).build()?)
    }

    /// A client that asks any member and tries again.
    pub async fn any_member(&self) -> Result<Client> {
        let targets = self.targets().await?;
        Ok(Client::builder().servers(targets.into_iter().map(|target| target.url)).build()?)
    }

    /// What one member says of itself.
    pub async fn member_status(&self, name: &str) -> Result<Status> {
        Ok(self.member(name).await?.status().await?)
    }

    /// The member that leads, by its own word.
    pub async fn leader(&self) -> Result<String> {
        let mut reasons = Vec::new();
        for target in self.targets().await? {
            match self.member_status(&target.name).await {
                Ok(status) if status.is_leader => return Ok(target.name),
                Ok(status) => reasons.push(format!("{} follows {:?}", target.name, status.leader)),
                Err(error) => reasons.push(format!("{}: {error:#}", target.name)),
            }
        }
        bail!("no member leads: {}", reasons.join("; "))
    }

    /// Waits until the cluster is Ready in its present generation with that many data members, the arbiter there or not,
    /// and every pod and every member is exactly what that means.
    pub async fn ready(&self, voters: i32, arbiter: bool, limit: Duration) -> Result<()> {
        let what = format!(
            "{} is Ready with {voters} data members{}",
            self.name,
            if arbiter { " and an arbiter" } else { "" }
        );
        until(&what, limit, || async { self.check_ready(voters, arbiter).await }).await
    }

    async fn check_ready(&self, voters: i32, arbiter: bool) -> Result<()> {
        let resource = self.get().await?;
        let status = resource.status.clone().unwrap_or_default();
        let ready = find_condition(&status, condition::READY);
        let Some(ready) = ready else { bail!("no condition Ready yet") };
        let says = format!("Ready={} {}: {}", ready.status, ready.reason, ready.message);
        ensure!(ready.status == "True", "{says}");
        let generation = resource.metadata.generation;
        ensure!(ready.observed_generation == generation, "{says}, of an older generation");
        ensure!(
            status.observed_generation == generation,
            "status.observedGeneration is of an older generation"
        );
        let expected = usize::try_from(voters)? + usize::from(arbiter);
        let names: Vec<&str> = status.members.iter().map(|member| member.name.as_str()).collect();
        ensure!(names.len() == expected, "members are {names:?}, not {expected}");
        for member in &status.members {
            ensure!(member.ready, "{} is not ready: {:?}", member.name, member.health);
            ensure!(member.suffrage == Some(MemberSuffrage::Voter), "{} is no voter", member.name);
        }
        ensure!(
            status.replicas == voters && status.ready_replicas == voters,
            "{} of {} data pods",
            status.ready_replicas,
            status.replicas
        );
        // The status may be a moment old: the pods themselves have to be there and ready.
        let pods = self.pods().await?;
        let ready: Vec<&str> = pods.iter().filter(|pod| is_ready(pod)).map(pod_name).collect();
        ensure!(pods.len() == expected, "there are {} pods, not {expected}", pods.len());
        ensure!(ready.len() == expected, "only the pods {ready:?} are ready");
        Ok(())
    }

    /// Waits until a condition has a status, and answers its reason and message.
    pub async fn condition(&self, kind: &str, wanted: &str, limit: Duration) -> Result<(String, String)> {
        until(&format!("{}'s condition {kind} is {wanted}", self.name), limit, async || {
            let status = self.status().await?;
            let found = find_condition(&status, kind).context("no such condition")?;
            ensure!(found.status == wanted, "it is {}, {}: {}", found.status, found.reason, found.message);
            Ok((found.reason.clone(), found.message.clone()))
        })
        .await
    }
}

fn find_condition<'a>(
    status: &'a ConureClusterStatus,
    kind: &str,
) -> Option<&'a k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

/// A pod's name.
fn pod_name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// Whether a pod is ready and not on its way out.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}
