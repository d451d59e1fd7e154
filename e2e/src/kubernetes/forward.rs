//! Ways to pods through the API server, for a Kubernetes whose pods cannot be reached from here.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use conure_crd::names::HTTP_PORT;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};

/// How many connections to one pod there may be.
const CONNECTIONS_MAX: usize = 64;

/// One address of this machine for each pod that is there.
pub(super) struct Forwards {
    pods: Api<Pod>,
    open: Mutex<HashMap<String, Forward>>,
}

/// The address for one pod.
struct Forward {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forwards {
    pub(super) fn new(pods: Api<Pod>) -> Self {
        Self { pods, open: Mutex::new(HashMap::new()) }
    }

    /// The address that leads to a pod; it stays the same as long as the pod does.
    pub(super) async fn address(&self, pod: &Pod) -> Result<SocketAddr> {
        let uid = pod.metadata.uid.clone().context("a pod without a uid")?;
        let mut open = self.open.lock().await;
        if let Some(forward) = open.get(&uid) {
            return Ok(forward.address);
        }
        let name = pod.metadata.name.clone().context("a pod without a name")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(serve(listener, self.pods.clone(), name));
        open.insert(uid, Forward { address, task });
        Ok(address)
    }

    /// Closes what leads to pods that are gone.
    pub(super) async fn keep(&self, pods: &[Pod]) {
        let there = |uid: &String| pods.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid));
        self.open.lock().await.retain(|uid, _| there(uid));
    }
}

async fn serve(listener: TcpListener, pods: Api<Pod>, name: String) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        connections.spawn(carry(stream, pods.clone(), name.clone()));
    }
}

/// One connection. When it ends badly, it ends: that is what its client is told.
async fn carry(mut stream: TcpStream, pods: Api<Pod>, name: String) {
    let Ok(port) = u16::try_from(HTTP_PORT) else { return };
    let Ok(mut forwarder) = pods.portforward(&name, &[port]).await else { return };
    if let Some(mut upstream) = forwarder.take_stream(port) {
        let _ = copy_bidirectional(&mut stream, &mut upstream).await;
    }
    forwarder.abort();
}
