//! What the steps share.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::faults::Faults;
use super::{Settings, Step};
use crate::kubernetes::{Access, Cluster, Targets};
use crate::workload::{Finished, Plan, Workload};

/// The namespace of the cluster that most steps are about.
pub(super) const NAMESPACE: &str = "conure-e2e";
/// The namespace of the operator.
pub(super) const OPERATOR_NAMESPACE: &str = "conure-e2e-operator";
/// How long any change of the cluster may take.
pub(super) const PATIENCE: Duration = Duration::from_mins(3);

/// The Kubernetes, the cluster on it, and the clients that never stop.
pub struct World {
    pub(super) settings: Settings,
    pub(super) access: Access,
    pub(super) cluster: Cluster,
    pub(super) faults: Option<Faults>,
    pub(super) workload: Option<Workload>,
    pub(super) finished: Option<Finished>,
    /// How long the audit log was when this run's operator was installed.
    pub(super) audited_before: u64,
    targets: Option<Targets>,
    began: Instant,
}

impl World {
    /// Finds the Kubernetes and changes nothing.
    pub async fn new(settings: Settings) -> Result<Self> {
        let access =
            Access::new(&settings.kubeconfig, settings.tools.as_deref(), settings.instance.is_some()).await?;
        let cluster = Cluster::new(&access, NAMESPACE, "conure");
        let faults = settings.instance.as_deref().map(Faults::of).transpose()?;
        Ok(Self {
            settings,
            access,
            cluster,
            faults,
            workload: None,
            finished: None,
            audited_before: 0,
            targets: None,
            began: Instant::now(),
        })
    }

    /// From now on the clients' pauses belong to this step.
    pub(super) fn phase(&self, name: &str) {
        if let Some(workload) = &self.workload {
            workload.phase(name);
        }
    }

    /// Says what a step found.
    #[expect(clippy::print_stdout, reason = "a test program's report")]
    pub(super) fn say(&self, text: impl std::fmt::Display) {
        println!("    [{:5.1} s] {text}", self.began.elapsed().as_secs_f64());
    }

    /// Faults of nodes and processes.
    pub(super) fn faults(&self) -> Result<&Faults> {
        self.faults.as_ref().context("this needs the machine on which the nodes are")
    }

    /// Starts the clients, which go on until [`World::stop_workload`].
    pub(super) async fn start_workload(&mut self) -> Result<()> {
        let targets = Targets::of(self.cluster.clone());
        // One of its own for each instance: two runs side by side would write over each other's.
        let instance = self.settings.instance.as_deref().map_or_else(String::new, |name| format!("-{name}"));
        let path = self.settings.output.join(format!("conure-e2e-history{instance}.jsonl"));
        self.workload = Some(Workload::start(targets.subscribe(), &path, Plan::default())?);
        self.targets = Some(targets);
        self.say(format!("4 writers and 4 readers run; their history is {}", path.display()));
        self.acknowledged_more(40).await
    }

    /// Stops the clients and keeps their history.
    pub(super) async fn stop_workload(&mut self) -> Result<&Finished> {
        let workload = self.workload.take().context("the workload never ran")?;
        let finished = workload.finish().await?;
        self.targets = None;
        Ok(self.finished.insert(finished))
    }

    /// Waits until that many more writes are acknowledged.
    pub(super) async fn acknowledged_more(&self, count: u64) -> Result<()> {
        let workload = self.workload.as_ref().context("the workload does not run")?;
        let wanted = workload.acknowledged() + count;
        crate::kubernetes::until(&format!("{count} more writes are acknowledged"), PATIENCE, async || {
            let now = workload.acknowledged();
            if now < wanted { bail!("{} are missing", wanted - now) } else { Ok(()) }
        })
        .await
    }

    /// The state in which steps begin and end.
    pub(super) async fn settled(&self) -> Result<()> {
        self.cluster.ready(3, false, PATIENCE).await
    }

    /// Before a step: where a filter left out the step that starts the clients, they start now on the cluster that an
    /// earlier run left.
    pub async fn prepare(&mut self, step: &Step) -> Result<()> {
        if step.under_load && self.workload.is_none() {
            self.cluster.get().await.context("the cluster is not there; its first steps have to run")?;
            self.start_workload().await?;
        }
        self.phase(step.name);
        Ok(())
    }

    /// Sets the number of data members as a user does, and waits until it is reached.
    pub(super) async fn scale(&self, voters: i32) -> Result<()> {
        let began = Instant::now();
        self.ask_for(voters).await?;
        self.scaled(voters).await?;
        self.say(format!("scaled to {voters} in {:.1} s", began.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Waits until there are so many data members, and an arbiter where the number is even.
    pub(super) async fn scaled(&self, voters: i32) -> Result<()> {
        self.cluster.ready(voters, voters % 2 == 0, PATIENCE).await
    }

    /// `kubectl scale`.
    pub(super) async fn ask_for(&self, voters: i32) -> Result<()> {
        let (name, replicas) = (format!("conure/{}", self.cluster.name), format!("--replicas={voters}"));
        self.access.kubectl(&["--namespace", NAMESPACE, "scale", &name, &replicas]).await?;
        Ok(())
    }

    /// Every one of these events of the cluster was published: its reason, and a part of its text.
    pub(super) async fn told(&self, expected: &[(&str, &str)]) -> Result<()> {
        let about = format!("ConureCluster/{}", self.cluster.name);
        crate::kubernetes::until("every step is an event", Duration::from_secs(30), async || {
            let mut own = self.access.events(NAMESPACE).await?;
            own.retain(|event| event.about == about);
            let is_told = |(reason, text): &(&str, &str)| {
                own.iter().any(|event| event.reason == *reason && event.message.contains(text))
            };
            let untold: Vec<_> = expected.iter().filter(|event| !is_told(event)).collect();
            if untold.is_empty() { Ok(()) } else { bail!("no event says {untold:?}; there are {own:?}") }
        })
        .await
    }

    /// A ConureCluster's manifest with this run's image and small volumes.
    pub(super) fn manifest(&self, name: &str, voters: i32) -> serde_json::Value {
        let image = &self.settings.server_image;
        json!({
            "apiVersion": "conuredb.dev/v1alpha1",
            "kind": "ConureCluster",
            "metadata": {"name": name},
            "spec": {
                "image": {"repository": image.repository, "tag": image.tag},
                "voters": {"replicas": voters, "pvc": {"size": "1Gi"}},
                "arbiter": {"pvc": {"size": "1Gi"}},
            },
        })
    }
}
