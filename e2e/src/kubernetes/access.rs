//! The way to one Kubernetes: its API and its users' programs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource};

use super::until;
use crate::cluster::Kubectl;
use crate::process::output;

/// How long a program may run.
const LIMIT: Duration = Duration::from_mins(5);
/// Marks the namespaces that the tests made.
const MARK: &str = "conuredb.dev/e2e";

/// One Kubernetes.
#[derive(Clone)]
pub struct Access {
    client: Client,
    kubectl: Kubectl,
    helm: PathBuf,
    kubeconfig: PathBuf,
    /// Whether pods can be reached at their own addresses.
    pub(super) direct: bool,
}

impl Access {
    /// The Kubernetes of a kubeconfig; the programs are those of a folder, or else of the PATH. Where pods are not `direct`,
    /// they are reached through the API server.
    pub async fn new(kubeconfig: &Path, tools: Option<&Path>, direct: bool) -> Result<Self> {
        let read = Kubeconfig::read_from(kubeconfig).with_context(|| kubeconfig.display().to_string())?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        let tools = tools.unwrap_or(Path::new(""));
        Ok(Self {
            client: Client::try_from(config)?,
            kubectl: Kubectl::new(tools, kubeconfig.to_owned()),
            helm: tools.join("helm"),
            kubeconfig: kubeconfig.to_owned(),
            direct,
        })
    }

    /// The API's client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The objects of one kind in a namespace.
    #[must_use]
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client(), namespace)
    }

    /// Runs kubectl as a user would type it and answers what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.kubectl.command();
        command.args(arguments);
        run(command).await
    }

    /// A kubectl to which arguments can be added, for what does not end by itself.
    #[must_use]
    pub fn kubectl_command(&self) -> Command {
        self.kubectl.command()
    }

    /// Applies manifests given as text.
    pub async fn apply(&self, namespace: &str, manifests: &str) -> Result<String> {
        let mut command = self.kubectl.command();
        command.args(["--namespace", namespace, "apply", "-f", "-"]);
        let input = manifests.to_owned();
        tokio::task::spawn_blocking(move || crate::process::output_with(&mut command, &input, LIMIT)).await?
    }

    /// Runs helm as a user would type it and answers what it printed.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.helm);
        command.env("KUBECONFIG", &self.kubeconfig).args(arguments);
        run(command).await
    }

    /// Makes a namespace; one that an earlier run left behind is removed first, with everything in it.
    pub async fn fresh_namespace(&self, name: &str) -> Result<()> {
        self.remove_namespace(name).await?;
        let labels = [(MARK.to_owned(), "true".to_owned())].into();
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.into()), labels: Some(labels), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let all: Api<Namespace> = Api::all(self.client());
        all.create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("making namespace {name}"))?;
        Ok(())
    }

    /// Makes a namespace where an earlier step has not.
    pub async fn present_namespace(&self, name: &str) -> Result<()> {
        let all: Api<Namespace> = Api::all(self.client());
        if all.get_opt(name).await?.is_some() { Ok(()) } else { self.fresh_namespace(name).await }
    }

    /// Removes a namespace that these tests made, and waits until it is gone.
    pub async fn remove_namespace(&self, name: &str) -> Result<()> {
        let all: Api<Namespace> = Api::all(self.client());
        let Some(found) = all.get_opt(name).await? else { return Ok(()) };
        let ours = found.metadata.labels.is_some_and(|labels| labels.contains_key(MARK));
        anyhow::ensure!(
            ours,
            "namespace {name} is there and these tests did not make it: remove it or use another cluster"
        );
        all.delete(name, &DeleteParams::default()).await?;
        until(&format!("namespace {name} is gone"), Duration::from_mins(2), async || {
            match all.get_opt(name).await? {
                None => Ok(()),
                Some(left) => anyhow::bail!("{:?}", left.status.and_then(|status| status.conditions)),
            }
        })
        .await
    }
}

async fn run(mut command: Command) -> Result<String> {
    tokio::task::spawn_blocking(move || output(&mut command, LIMIT)).await?
}
