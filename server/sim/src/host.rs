//! A member's process on its simulated machine.

use std::time::Duration;

use conure_client::api::Role;
use conure_member::simulation::TcpListener;
use conure_member::{Member, MemberConfig, Tuning};
use tokio::sync::mpsc;

use crate::api;
use crate::world::{self, Order, Process, TWIN, data_dir, note, with};

/// What a member is started with, each time.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) name: String,
    /// The machine that it runs on.
    pub(crate) host: String,
    pub(crate) role: Role,
    /// Whether it starts a cluster of its own where its disk is empty.
    pub(crate) bootstrap: bool,
    pub(crate) tuning: Tuning,
}

impl Slot {
    fn config(&self) -> MemberConfig {
        let (name, host) = (&self.name, &self.host);
        let raft_port = with(|world| world.raft_port(name));
        MemberConfig {
            node_id: name.clone(),
            data_dir: data_dir(host),
            raft_addr: format!("0.0.0.0:{raft_port}"),
            raft_advertise_addr: format!("{host}:{raft_port}"),
            http_advertise_addr: format!("{host}:{}", api::PORT),
            bootstrap: self.bootstrap && !with(|world| world.wiped.contains(name)),
            barrier_timeout: Duration::from_secs(2),
            role: self.role,
            cluster_id: None,
            tuning: self.tuning.clone(),
        }
    }
}

/// Runs a second process on a copy of a member's disk, while there is one.
pub(crate) async fn run_twin(slots: Vec<Slot>) -> turmoil::Result {
    let original = with(|world| world.twin_of.clone());
    match slots.into_iter().find(|slot| Some(&slot.name) == original.as_ref()) {
        Some(slot) => run(Slot { host: TWIN.to_owned(), ..slot }).await,
        None => std::future::pending().await,
    }
}

/// Tells the member where the others are while it finds no leader, as `--join` does.
async fn seek(member: Member) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if member.status().leader.is_empty() {
            let moved = with(|world| world.ports.clone());
            moved.iter().for_each(|(name, port)| member.hint_address(name, &format!("{name}:{port}")));
        }
    }
}

/// Runs the process until it is told to stop.
pub(crate) async fn run(slot: Slot) -> turmoil::Result {
    let name = slot.host.clone();
    let member = match Member::start(slot.config()).await {
        Ok(member) => member,
        Err(e) => {
            world::violated(format!("{name} cannot start: {e}"));
            return Ok(());
        }
    };
    note!("{name} runs");
    let (orders, mut heard) = mpsc::unbounded_channel();
    with(|world| world.processes.insert(name.clone(), Process { member: member.clone(), orders }));
    tokio::spawn(seek(member.clone()));
    let listener = TcpListener::bind(("0.0.0.0", api::PORT)).await?;
    loop {
        tokio::select! {
            order = heard.recv() => match order {
                Some(Order::Jump(ms)) => tokio::time::advance(Duration::from_millis(ms)).await,
                Some(Order::Stop) | None => {
                    member.shutdown().await;
                    with(|world| world.processes.remove(&name));
                    note!("{name} has stopped");
                    return Ok(());
                }
            },
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let member = member.clone();
                tokio::spawn(async move { api::serve(member, stream).await });
            },
        }
    }
}
