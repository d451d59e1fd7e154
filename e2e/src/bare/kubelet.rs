//! What nodes do to pods and claims: an address and a member behind it, Ready when that serves, and volumes that are bound.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use conure_client::api::Role;
use conure_client::exit::{DATA_DAMAGED, DATA_DAMAGED_LINE};
use conure_crd::names;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::members::{Life, Members};

/// Pods and claims that are worked on at a time.
const AT_ONCE: usize = 16;

/// Plays every node until it is dropped.
pub struct Kubelets {
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Kubelets {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A pod that runs.
struct Running {
    namespace: String,
    name: String,
    ip: IpAddr,
    since: Timestamp,
    ready: bool,
    server: JoinHandle<()>,
}

impl Kubelets {
    /// Begins to play.
    #[must_use]
    pub fn play(client: &Client, members: &Members) -> Self {
        let claims = tokio::spawn(bind_claims(client.clone()));
        let pods =
            Pods { client: client.clone(), members: members.clone(), running: HashMap::new(), next: 0 };
        Self { tasks: [claims, tokio::spawn(pods.play())] }
    }
}

async fn bind_claims(client: Client) {
    let all: Api<PersistentVolumeClaim> = Api::all(client.clone());
    watcher::watcher(all, watcher::Config::default())
        .default_backoff()
        .filter_map(async |event| match event {
            Ok(Event::Apply(claim) | Event::InitApply(claim)) => Some(claim),
            _ => None,
        })
        .for_each_concurrent(AT_ONCE, async |claim| {
            if claim.metadata.deletion_timestamp.is_some() {
                release(&client, &claim.namespace().unwrap_or_default(), &claim.name_any()).await;
                return;
            }
            let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
            if phase == Some("Bound") {
                return;
            }
            let claims: Api<PersistentVolumeClaim> =
                Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default());
            let bound = json!({"status": {"phase": "Bound"}});
            // Gone again, most likely; else its next event brings it back.
            let _ =
                claims.patch_status(&claim.name_any(), &PatchParams::default(), &Patch::Merge(bound)).await;
        })
        .await;
}

/// Lets a claim go that was deleted, once no pod is on it: until then its finalizer keeps it.
async fn release(client: &Client, namespace: &str, claim: &str) {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let Some(pod) = names::claimant(claim) else { return };
    let Ok(Some(live)) = claims.get_opt(claim).await else { return };
    if live.metadata.deletion_timestamp.is_none() || !matches!(pods.get_opt(pod).await, Ok(None)) {
        return;
    }
    let free = json!({"metadata": {"uid": live.uid(), "finalizers": null}});
    // Gone already, or another one by now.
    let _ = claims.patch(claim, &PatchParams::default(), &Patch::Merge(free)).await;
}

struct Pods {
    client: Client,
    members: Members,
    /// By uid.
    running: HashMap<String, Running>,
    next: u32,
}

impl Pods {
    async fn play(mut self) {
        let all: Api<Pod> = Api::all(self.client.clone());
        let mut events = watcher::watcher(all, watcher::Config::default()).default_backoff().boxed();
        let mut listed = HashSet::new();
        let mut changes = self.members.changes();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(Event::Apply(pod))) => self.seen(&pod).await,
                    Some(Ok(Event::Delete(pod))) => self.gone(&pod.uid().unwrap_or_default()).await,
                    Some(Ok(Event::Init)) => listed.clear(),
                    Some(Ok(Event::InitApply(pod))) => {
                        listed.insert(pod.uid().unwrap_or_default());
                        self.seen(&pod).await;
                    }
                    // Whoever went while nobody looked.
                    Some(Ok(Event::InitDone)) => {
                        let known: Vec<String> = self.running.keys().cloned().collect();
                        for uid in known.iter().filter(|uid| !listed.contains(*uid)) {
                            self.gone(uid).await;
                        }
                    }
                    Some(Err(_)) => {}
                    None => return,
                },
                Ok(()) = changes.changed() => self.show_readiness().await,
            }
        }
    }

    async fn seen(&mut self, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        if pod.metadata.deletion_timestamp.is_some() || self.running.contains_key(&uid) {
            return;
        }
        // A claim that is not there yet comes with the pod's next event.
        if let Err(error) = self.run(pod, uid).await {
            eprintln!("{} cannot be played: {error:#}", pod.name_any());
        }
    }

    async fn run(&mut self, pod: &Pod, uid: String) -> Result<()> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &namespace);
        let claim = claims.get(&names::volume_claim(&name)).await?;
        ensure!(claim.metadata.deletion_timestamp.is_none(), "its volume is going");
        self.next += 1;
        let [_, a, b, c] = self.next.to_be_bytes();
        let ip = IpAddr::V4(Ipv4Addr::new(127, a + 1, b, c));
        let port = u16::try_from(names::HTTP_PORT)?;
        let listener = TcpListener::bind((ip, port)).await.with_context(|| format!("{ip}:{port}"))?;
        let router = self.members.router(ip);
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let role = pod.labels().get("conuredb.dev/role").map(String::as_str);
        let role = if role == Some("arbiter") { Role::Arbiter } else { Role::Data };
        let volume = claim.uid().unwrap_or_default();
        let since = Timestamp::now();
        let running =
            Running { namespace: namespace.clone(), name: name.clone(), ip, since, ready: false, server };
        self.running.insert(uid.clone(), running);
        let mut images =
            pod.spec.iter().flat_map(|spec| &spec.containers).filter_map(|one| one.image.as_deref());
        let mut life = Life::new(&namespace, &name, &volume, role);
        life.runs(images.next_back().unwrap_or_default());
        self.members.start(ip, life);
        self.show(&uid, self.members.ready(ip)).await
    }

    async fn gone(&mut self, uid: &str) {
        let Some(running) = self.running.remove(uid) else { return };
        running.server.abort();
        let sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), &running.namespace);
        // A pod's name is its StatefulSet's and its ordinal.
        let set = running.name.rsplit_once('-').map_or("", |(set, _)| set);
        let set = sets.get_opt(set).await.ok().flatten();
        let set = set.filter(|set| set.metadata.deletion_timestamp.is_none());
        let replicas = set.as_ref().and_then(|set| set.spec.as_ref()?.replicas);
        let ordinal: Option<i32> =
            running.name.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok());
        if let (Some(replicas), Some(ordinal)) = (replicas, ordinal)
            && ordinal >= replicas
        {
            self.members.scaled_away(running.ip);
        }
        self.members.stop(running.ip, replicas.is_none());
        release(&self.client, &running.namespace, &names::volume_claim(&running.name)).await;
    }

    async fn show_readiness(&mut self) {
        let changed: Vec<(String, bool)> = self
            .running
            .iter()
            .map(|(uid, running)| (uid.clone(), running.ready, self.members.ready(running.ip)))
            .filter(|(_, shown, now)| shown != now)
            .map(|(uid, _, now)| (uid, now))
            .collect();
        for (uid, ready) in changed {
            // Gone just now: its own event says so.
            let _ = self.show(&uid, ready).await;
        }
    }

    async fn show(&mut self, uid: &str, ready: bool) -> Result<()> {
        let Some(running) = self.running.get_mut(uid) else { return Ok(()) };
        let condition =
            |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }});
        let conditions = [
            condition("PodScheduled", true),
            condition("Initialized", true),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ];
        let started = json!({"running": {"startedAt": running.since}});
        let said = format!("{DATA_DAMAGED_LINE}page 7 is not what was written");
        let (state, last, restarts) = if self.members.is_damaged(running.ip) {
            let ended = json!({"terminated": {"exitCode": DATA_DAMAGED, "message": said}});
            (json!({"waiting": {"reason": "CrashLoopBackOff"}}), ended, 1)
        } else {
            (started, json!({}), 0)
        };
        let status = json!({"metadata": {"uid": uid}, "status": {
            "phase": "Running",
            "podIP": running.ip.to_string(),
            "podIPs": [{"ip": running.ip.to_string()}],
            "startTime": running.since,
            "conditions": conditions,
            "containerStatuses": [{"name": "conure-db", "image": "played", "imageID": "", "ready": ready,
                "restartCount": restarts, "started": restarts == 0, "state": state, "lastState": last}],
        }});
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &running.namespace);
        pods.patch_status(&running.name, &PatchParams::default(), &Patch::Strategic(status)).await?;
        running.ready = ready;
        Ok(())
    }
}
