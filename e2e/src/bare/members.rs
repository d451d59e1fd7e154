//! Members as the operator sees them: the HTTP API's administration over played clusters, without a log, data or Raft.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use conure_client::api::{
    BootstrapRequest, JoinRequest, Problem, RaftConfig, RemoveRequest, Role, Status, Suffrage,
    TransferRequest,
};
use conure_client::problem;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::group::{Entry, Group};

/// How a member behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// As it should.
    #[default]
    Well,
    /// It takes connections and never answers.
    Hangs,
    /// It answers 200 with what is no answer.
    Babbles,
    /// It answers 500.
    Fails,
    /// Its process ends each time, as its data is damaged.
    Damaged,
}

/// What members are whose image says nothing of versions.
const VERSION: &str = "0.1.0";

/// A running member.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The uid of its claim.
    pub(super) volume: String,
    pub(super) role: Role,
    version: String,
    mood: Mood,
}

impl Life {
    pub(super) fn new(namespace: &str, name: &str, volume: &str, role: Role) -> Self {
        let (namespace, name, volume) = (namespace.to_owned(), name.to_owned(), volume.to_owned());
        Self { namespace, name, volume, role, version: VERSION.to_owned(), mood: Mood::Well }
    }

    /// It is of the version that its image's tag names, where the tag names one.
    pub(super) fn runs(&mut self, image: &str) {
        let tag = image.rsplit_once(":v").map_or("", |(_, version)| version);
        if tag.split('.').count() == 3 {
            tag.clone_into(&mut self.version);
        }
    }
}

#[derive(Default)]
struct World {
    lives: HashMap<IpAddr, Life>,
    /// The cluster that a volume belongs to; none while it is empty.
    volumes: HashMap<String, Option<String>>,
    groups: BTreeMap<String, Group>,
    breaches: Vec<String>,
    asked: u64,
}

impl World {
    /// Whether the entry's own data directory is up under that name.
    fn lives_in(&self, group: &str) -> impl Fn(&str, &Entry) -> bool + use<> {
        let up: Vec<(String, String)> = self
            .lives
            .values()
            .filter(|life| self.volumes.get(&life.volume).and_then(Option::as_deref) == Some(group))
            .map(|life| (life.name.clone(), life.volume.clone()))
            .collect();
        move |name, entry| up.iter().any(|(other, volume)| other == name && *volume == entry.node_id)
    }

    fn group_of(&self, life: &Life) -> Option<(String, &Group)> {
        let id = self.volumes.get(&life.volume)?.clone()?;
        let group = self.groups.get(&id)?;
        Some((id, group))
    }

    fn elect_all(&mut self, namespace: &str) {
        let ids: Vec<String> = self
            .lives
            .values()
            .filter(|life| life.namespace == namespace)
            .filter_map(|life| self.volumes.get(&life.volume)?.clone())
            .collect();
        for id in ids {
            let lives = self.lives_in(&id);
            if let Some(group) = self.groups.get_mut(&id) {
                group.elect(lives);
            }
        }
    }
}

/// All played members.
#[derive(Clone)]
pub struct Members {
    world: Arc<Mutex<World>>,
    changed: watch::Sender<u64>,
}

impl Default for Members {
    fn default() -> Self {
        Self { world: Arc::default(), changed: watch::Sender::new(0) }
    }
}

impl Members {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Wakes whoever shows readiness.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A member starts; a volume that was never seen is empty.
    pub(super) fn start(&self, ip: IpAddr, life: Life) {
        let mut world = self.world();
        world.volumes.entry(life.volume.clone()).or_default();
        let namespace = life.namespace.clone();
        world.lives.insert(ip, life);
        world.elect_all(&namespace);
        drop(world);
        self.change();
    }

    /// A member stops. `expected`: its cluster may lose its quorum with it.
    pub(super) fn stop(&self, ip: IpAddr, expected: bool) {
        let mut world = self.world();
        let Some(life) = world.lives.get(&ip).cloned() else { return };
        let had = |world: &World| {
            world
                .group_of(&life)
                .map(|(id, group)| (group.voters().count(), group.has_quorum(None, world.lives_in(&id))))
        };
        let before = had(&world);
        world.lives.remove(&ip);
        let after = had(&world);
        if let (Some((voters, true)), Some((_, false)), false) = (before, after, expected)
            && voters > 2
        {
            let breach = format!(
                "{}/{} stopped and took the quorum of {voters} voters with it",
                life.namespace, life.name
            );
            world.breaches.push(breach);
        }
        world.elect_all(&life.namespace);
        drop(world);
        self.change();
    }

    /// A pod's volume is no longer needed by its StatefulSet: its member must have left before.
    pub(super) fn scaled_away(&self, ip: IpAddr) {
        let mut world = self.world();
        let Some(life) = world.lives.get(&ip).cloned() else { return };
        let votes = world.group_of(&life).is_some_and(|(_, group)| {
            group.members.get(&life.name).is_some_and(|entry| entry.suffrage == Suffrage::Voter)
        });
        if votes {
            let breach = format!("{}/{} was scaled away while it voted", life.namespace, life.name);
            world.breaches.push(breach);
        }
    }

    /// Whether the member would be ready.
    pub(super) fn ready(&self, ip: IpAddr) -> bool {
        let world = self.world();
        let Some(life) = world.lives.get(&ip).filter(|life| life.mood == Mood::Well) else { return false };
        let group = world.group_of(life);
        group.is_some_and(|(_, group)| {
            let entry = group.members.get(&life.name);
            group.leader.is_some()
                && entry
                    .is_some_and(|entry| entry.node_id == life.volume && entry.suffrage == Suffrage::Voter)
        })
    }

    /// Whether the member's data is damaged.
    pub(super) fn is_damaged(&self, ip: IpAddr) -> bool {
        self.world().lives.get(&ip).is_some_and(|life| life.mood == Mood::Damaged)
    }

    /// Changes how a member behaves.
    pub fn set_mood(&self, namespace: &str, name: &str, mood: Mood) {
        let mut world = self.world();
        let mut lives = world.lives.values_mut();
        if let Some(life) = lives.find(|life| life.namespace == namespace && life.name == name) {
            life.mood = mood;
        }
        drop(world);
        self.change();
    }

    /// What was asked of members of that namespace and must never be.
    #[must_use]
    pub fn breaches(&self, namespace: &str) -> Vec<String> {
        let start = format!("{namespace}/");
        self.world().breaches.iter().filter(|breach| breach.starts_with(&start)).cloned().collect()
    }

    /// How often any member was asked for its status.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.world().asked
    }

    /// The configuration of the cluster with that id.
    #[must_use]
    pub fn config(&self, id: &str) -> Option<RaftConfig> {
        self.world().groups.get(id).map(Group::config)
    }

    /// Serves the member of an address.
    pub(super) fn router(&self, ip: IpAddr) -> Router {
        Router::new()
            .route("/status", get(status))
            .route("/raft/{what}", get(raft))
            .route("/bootstrap", post(bootstrap))
            .route("/join", post(join))
            .route("/remove", post(remove))
            .route("/transfer-leadership", post(transfer))
            .with_state(Member { members: self.clone(), ip })
    }
}

/// The member that a connection leads to.
#[derive(Clone)]
struct Member {
    members: Members,
    ip: IpAddr,
}

type Answer = Result<Response, Refusal>;

/// An answer that is no.
struct Refusal(Box<Response>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl Refusal {
    fn of(answer: impl IntoResponse) -> Self {
        Self(Box::new(answer.into_response()))
    }
}

fn refuse(code: StatusCode, kind: &str, detail: impl Into<String>) -> Refusal {
    let body = Problem {
        kind: kind.to_owned(),
        title: "refused".to_owned(),
        status: code.as_u16(),
        detail: detail.into(),
    };
    let kind = [("content-type", "application/problem+json")];
    Refusal::of((code, kind, serde_json::to_string(&body).unwrap_or_default()))
}

fn conflict(kind: &str, detail: impl Into<String>) -> Refusal {
    refuse(StatusCode::CONFLICT, kind, detail)
}

fn ok(body: impl Serialize) -> Answer {
    Ok(Json(body).into_response())
}

impl Member {
    /// The life behind the address, once its mood allows an answer.
    async fn life(&self) -> Result<Life, Refusal> {
        let life = self.members.world().lives.get(&self.ip).cloned();
        let gone = || refuse(StatusCode::SERVICE_UNAVAILABLE, problem::NOT_LEADER, "this member has stopped");
        let life = life.ok_or_else(gone)?;
        match life.mood {
            Mood::Well => Ok(life),
            Mood::Hangs => std::future::pending().await,
            Mood::Babbles => Err(Refusal::of("<html>welcome</html>")),
            Mood::Fails => Err(Refusal::of((StatusCode::INTERNAL_SERVER_ERROR, "out of order"))),
            Mood::Damaged => Err(gone()),
        }
    }

    /// Changes the cluster of the member, which has to lead it.
    async fn lead(&self, work: impl FnOnce(&mut World, &str, &Life) -> Answer) -> Answer {
        let life = self.life().await?;
        let mut world = self.members.world();
        let found = world.group_of(&life).filter(|(_, group)| group.leader.as_ref() == Some(&life.name));
        let Some((id, _)) = found else {
            let detail = "this member does not lead";
            return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, problem::NOT_LEADER, detail));
        };
        let answer = work(&mut world, &id, &life);
        let lives = world.lives_in(&id);
        if let Some(group) = world.groups.get_mut(&id) {
            group.index += 1;
            group.elect(lives);
        }
        drop(world);
        self.members.change();
        answer
    }
}

async fn status(State(member): State<Member>) -> Answer {
    let life = member.life().await?;
    let mut world = member.members.world();
    world.asked += 1;
    let found = world.group_of(&life);
    let group = found.as_ref().map(|(_, group)| *group);
    let leader = group.and_then(|group| group.leader.clone()).unwrap_or_default();
    let address = group.and_then(|group| group.members.get(&leader)).map(|entry| entry.raft_addr.clone());
    let index = group.map_or(0, |group| group.index);
    ok(Status {
        is_leader: leader == life.name,
        leader_raft_addr: address.clone().unwrap_or_default(),
        raft_addr: String::new(),
        leader_http_addr: address.unwrap_or_default().replace(":7001", ":8081"),
        leader,
        node_id: life.name.clone(),
        role: life.role,
        term: group.map_or(0, |group| group.term),
        revision: index,
        commit_index: index,
        applied_index: index,
        incarnation: u64::from(group.is_some()),
        cluster_id: found.map(|(id, _)| id).unwrap_or_default(),
        version: life.version.clone(),
        health: "ok".to_owned(),
    })
}

async fn raft(State(member): State<Member>, Path(what): Path<String>) -> Answer {
    let life = member.life().await?;
    let world = member.members.world();
    let group = world.group_of(&life).map(|(_, group)| group);
    match what.as_str() {
        "config" => ok(group.map(Group::config).unwrap_or(RaftConfig { members: Vec::new() })),
        "stats" => ok(json!({"raft_node_id": life.volume})),
        _ => Err(refuse(StatusCode::NOT_FOUND, problem::ROUTE_NOT_FOUND, what)),
    }
}

async fn bootstrap(State(member): State<Member>, Json(request): Json<BootstrapRequest>) -> Answer {
    let life = member.life().await?;
    let mut world = member.members.world();
    let id = request.cluster_id;
    if world.volumes.get(&life.volume).is_some_and(Option::is_some) {
        return Err(conflict(problem::INVALID, format!("{} belongs to a cluster already", life.name)));
    }
    // A namespace here holds one cluster in its whole life.
    let born = world
        .lives
        .values()
        .any(|other| other.namespace == life.namespace && world.group_of(other).is_some());
    if born || world.groups.contains_key(&id) {
        world
            .breaches
            .push(format!("{}/{} was asked to begin a second cluster, {id}", life.namespace, life.name));
    }
    let entry = Entry {
        node_id: life.volume.clone(),
        raft_addr: own_address(&life),
        role: Role::Data,
        suffrage: Suffrage::Voter,
    };
    world.groups.insert(id.clone(), Group::of(&life.name, entry));
    world.volumes.insert(life.volume, Some(id.clone()));
    drop(world);
    member.members.change();
    ok(json!({"cluster_id": id}))
}

/// As the operator names members: `POD.CLUSTER-peers.NAMESPACE.svc:7001`.
fn own_address(life: &Life) -> String {
    let set = life.name.rsplit_once('-').map_or("", |(set, _)| set);
    let cluster = set.trim_end_matches("-bootstrap").trim_end_matches("-arbiter");
    let host = conure_crd::names::member_host(cluster, &life.namespace, &life.name);
    format!("{host}:{}", conure_crd::names::RAFT_PORT)
}

/// The first request makes a learner of a new member, and the next one a voter of it.
async fn join(State(member): State<Member>, Json(request): Json<JoinRequest>) -> Answer {
    member
        .lead(|world, id, leader| {
            let same = |life: &&Life| life.namespace == leader.namespace && life.name == request.id;
            let Some(life) = world.lives.values().find(same).cloned() else {
                return Err(refuse(
                    StatusCode::BAD_GATEWAY,
                    problem::INVALID,
                    "the member cannot be reached",
                ));
            };
            match world.volumes.get(&life.volume).cloned().flatten() {
                Some(other) if other != id => {
                    return Err(conflict(problem::FOREIGN_CLUSTER, format!("it belongs to {other}")));
                }
                _ => {}
            }
            let Some(group) = world.groups.get_mut(id) else {
                return Err(conflict(problem::INVALID, "no group"));
            };
            let known = group.members.get(&request.id).filter(|entry| entry.node_id == life.volume);
            let suffrage = if known.is_some() { Suffrage::Voter } else { Suffrage::Learner };
            let entry = Entry {
                node_id: life.volume.clone(),
                raft_addr: request.raft_addr.clone(),
                role: life.role,
                suffrage,
            };
            group.members.insert(request.id.clone(), entry);
            let index = group.index;
            world.volumes.insert(life.volume, Some(id.to_owned()));
            let code = if suffrage == Suffrage::Voter { StatusCode::OK } else { StatusCode::ACCEPTED };
            let body =
                json!({"id": request.id, "suffrage": suffrage, "matched_index": index, "last_index": index});
            Ok((code, Json(body)).into_response())
        })
        .await
}

async fn remove(State(member): State<Member>, Json(request): Json<RemoveRequest>) -> Answer {
    member
        .lead(|world, id, leader| {
            let lives = world.lives_in(id);
            let breach = format!("{}/{} was asked to remove {}", leader.namespace, leader.name, request.id);
            let Some(group) = world.groups.get_mut(id) else {
                return Err(conflict(problem::INVALID, "no group"));
            };
            let Some(entry) = group.members.get(&request.id).cloned() else {
                return Err(refuse(StatusCode::NOT_FOUND, problem::UNKNOWN_MEMBER, "no such member"));
            };
            if entry.suffrage == Suffrage::Voter && !group.has_quorum(Some(&request.id), lives) {
                world.breaches.push(format!("{breach}, which would leave no live quorum"));
                return Err(conflict(problem::NO_QUORUM, "the removal would leave no live quorum"));
            }
            group.members.remove(&request.id);
            world.volumes.insert(entry.node_id, None);
            ok(json!({"removed": request.id}))
        })
        .await
}

async fn transfer(State(member): State<Member>, Json(request): Json<TransferRequest>) -> Answer {
    member
        .lead(|world, id, _| {
            let lives = world.lives_in(id);
            let Some(group) = world.groups.get_mut(id) else {
                return Err(conflict(problem::INVALID, "no group"));
            };
            let fit = group.members.get(&request.id).is_some_and(|entry| lives(&request.id, entry));
            if !fit {
                return Err(conflict(problem::CANNOT_LEAD, format!("{} cannot lead", request.id)));
            }
            group.leader = Some(request.id.clone());
            group.term += 1;
            ok(json!({"leader": request.id}))
        })
        .await
}
