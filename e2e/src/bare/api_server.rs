//! etcd, the API server and those controllers that work without nodes.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::cluster::control_plane::{apiserver_basics, client_arguments, etcd_arguments};
use crate::cluster::paths::Paths;
use crate::cluster::pki;
use crate::kubernetes::{Access, until};
use crate::process::tail_of;

const READY_LIMIT: Duration = Duration::from_mins(2);

/// What StatefulSets, budgets and owners need; nothing here schedules pods or binds volumes.
const CONTROLLERS: &str =
    "statefulset-controller,disruption-controller,garbage-collector-controller,namespace-controller";

/// An API server that ends with this value.
pub struct ApiServer {
    paths: Paths,
    tools: PathBuf,
    processes: Mutex<Vec<(&'static str, Child)>>,
    access: Access,
}

impl ApiServer {
    /// Starts one afresh, its files below `folder`, with the ConureCluster definition of `checkout`.
    pub async fn start(folder: &Path, tools: &Path, checkout: &Path) -> Result<Self> {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let paths = Paths::at(folder.to_owned());
        pki::create_without_nodes(&paths, "bare", Ipv4Addr::LOCALHOST.into())?;
        let access = Access::new(&paths.kubeconfig(), Some(tools), true).await?;
        let server = Self { paths, tools: tools.to_owned(), processes: Mutex::default(), access };
        server.spawn("etcd", "etcd", etcd_arguments(&server.paths))?;
        server.serve()?;
        server.ready().await?;
        // Before its controllers: they look for new kinds of owners only every half minute.
        let definition = checkout.join("manifests/crd.yaml").display().to_string();
        server.access.kubectl(&["apply", "--server-side", "-f", &definition]).await?;
        let wait =
            ["wait", "--for=condition=Established", "--timeout=60s", "crd/conureclusters.conuredb.dev"];
        server.access.kubectl(&wait).await?;
        let mut arguments = client_arguments(&server.paths, "admin");
        arguments.extend([
            format!("--controllers={CONTROLLERS}"),
            "--concurrent-statefulset-syncs=20".into(),
            "--kube-api-qps=500".into(),
            "--kube-api-burst=1000".into(),
        ]);
        server.spawn("controller-manager", "kube-controller-manager", arguments)?;
        Ok(server)
    }

    /// Starts the API server itself.
    fn serve(&self) -> Result<()> {
        let mut arguments = apiserver_basics(Ipv4Addr::LOCALHOST, "10.96.0.0/16", &self.paths);
        arguments.extend([
            "--authorization-mode=RBAC".into(),
            // Nobody makes a default account, and no pod here needs one.
            "--disable-admission-plugins=ServiceAccount".into(),
            "--endpoint-reconciler-type=none".into(),
        ]);
        self.spawn("apiserver", "kube-apiserver", arguments)
    }

    async fn ready(&self) -> Result<()> {
        let ready = until("the API server answers /readyz", READY_LIMIT, async || {
            self.access.kubectl(&["get", "--raw", "/readyz", "--request-timeout=5s"]).await
        });
        ready.await.map(drop).with_context(|| tail_of(&self.paths.log("apiserver"), 5))
    }

    /// Ends the API server as a crash would and starts it again over the same etcd.
    pub async fn restart(&self) -> Result<()> {
        {
            let mut processes = self.processes();
            let at = processes.iter().position(|(name, _)| *name == "apiserver").context("not started")?;
            let (_, mut process) = processes.remove(at);
            process.kill()?;
            process.wait()?;
        }
        self.serve()?;
        self.ready().await
    }

    fn processes(&self) -> MutexGuard<'_, Vec<(&'static str, Child)>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, name: &'static str, program: &str, arguments: Vec<String>) -> Result<()> {
        let log = self.paths.log(name);
        fs::create_dir_all(log.parent().context("a log in a folder")?)?;
        let log = fs::File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(self.tools.join(program));
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        self.processes().push((name, child));
        Ok(())
    }

    /// The way to it, as the administrator.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The way to it as a service account: with its rights and no others.
    pub async fn client_of(&self, namespace: &str, account: &str) -> Result<Client> {
        let read = Kubeconfig::read_from(self.kubeconfig())?;
        let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{account}"));
        Ok(Client::try_from(config)?)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.paths.kubeconfig()
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.paths.root()
    }

    /// Fails where one of its programs ended.
    pub fn check(&self) -> Result<()> {
        for (name, process) in self.processes().iter_mut() {
            let ended = process.try_wait()?;
            ensure!(ended.is_none(), "{name} ended: {}", tail_of(&self.paths.log(name), 8));
        }
        Ok(())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for (_, process) in self.processes().iter_mut().rev() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
