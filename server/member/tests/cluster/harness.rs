//! Starts members and waits for what they come to.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use conure_client::api::{JoinRequest, Role, Suffrage};
use conure_member::{Consistency, JoinProgress, Member, MemberConfig, Refusal, Tuning};
use tempfile::TempDir;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Times that suit tests on a busy machine.
pub(crate) fn tuning() -> Tuning {
    Tuning {
        heartbeat: Duration::from_millis(100),
        election_timeout_min: Duration::from_millis(250),
        election_timeout_max: Duration::from_millis(500),
        ..Tuning::default()
    }
}

/// An address that nothing listens on.
pub(crate) fn free_addr() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A data directory and how its member is started; outlives the member.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) config: MemberConfig,
}

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let addr = free_addr();
        let config = MemberConfig {
            node_id: name.to_owned(),
            data_dir: dir.path().to_owned(),
            raft_addr: addr.clone(),
            raft_advertise_addr: addr,
            http_advertise_addr: format!("{name}:8081"),
            bootstrap: false,
            barrier_timeout: Duration::from_secs(3),
            role: Role::Data,
            cluster_id: None,
            tuning: tuning(),
        };
        Self { dir, config }
    }

    pub(crate) fn bootstrap(mut self) -> Self {
        self.config.bootstrap = true;
        self
    }

    pub(crate) fn arbiter(mut self) -> Self {
        self.config.role = Role::Arbiter;
        self
    }

    pub(crate) fn tuned(mut self, tune: impl FnOnce(&mut Tuning)) -> Self {
        tune(&mut self.config.tuning);
        self
    }

    pub(crate) async fn start(&self) -> Member {
        Member::start(self.config.clone()).await.unwrap()
    }

    /// Empties the directory, as a lost volume would.
    pub(crate) fn wipe(&self) {
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap()
            } else {
                std::fs::remove_file(path).unwrap()
            }
        }
    }

    pub(crate) fn join_request(&self) -> JoinRequest {
        JoinRequest { id: self.config.node_id.clone(), raft_addr: self.config.raft_advertise_addr.clone() }
    }
}

/// Polls until `holds`, or fails the test with what it waited for.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn leads(member: &Member) {
    eventually("a member leads", async || member.status().is_leader).await;
}

/// The one of `members` that leads now.
pub(crate) async fn leader<'a>(members: &[&'a Member]) -> &'a Member {
    let mut found = None;
    eventually("one of them leads", async || {
        found = members.iter().copied().find(|member| member.status().is_leader);
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Joins the member of `place` through whoever leads.
pub(crate) async fn join(leader: &Member, place: &Place) {
    match leader.join(&place.join_request()).await {
        Ok(JoinProgress::Voter(answer)) => {
            assert_eq!((answer.id, answer.suffrage), (place.config.node_id.clone(), Suffrage::Voter));
        }
        other => panic!("{} did not join: {other:?}", place.config.node_id),
    }
}

/// All of a data directory, as it is now, in another one.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

pub(crate) fn bytes(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

/// Writes through whoever of `members` leads, again where no leader took it.
pub(crate) async fn put(members: &[&Member], key: &str, value: &str) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for member in members {
            match member.put(bytes(key), bytes(value)).await {
                Ok(answer) => return answer.revision,
                Err(
                    Refusal::NotLeader(_)
                    | Refusal::NoLeader
                    | Refusal::Stopping
                    | Refusal::NotInCluster(_)
                    | Refusal::UnknownOutcome(_),
                ) => {}
                Err(e) => panic!("put {key}: {e}"),
            }
        }
        assert!(Instant::now() < deadline, "no leader took {key}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a linearizable read on `member` sees.
pub(crate) async fn get(member: &Member, key: &str) -> Option<String> {
    let answer = member.get(key.as_bytes(), Consistency::Linearizable).await.unwrap();
    answer.found.map(|found| String::from_utf8(found.value.to_vec()).unwrap())
}

/// Three members of one cluster, the first of which founded it.
pub(crate) async fn three() -> (Vec<Place>, Vec<Member>) {
    three_of(|place| place).await
}

/// The same, each made by `shape` into what it shall be.
pub(crate) async fn three_of(shape: impl Fn(Place) -> Place) -> (Vec<Place>, Vec<Member>) {
    let places = [Place::new("node1").bootstrap(), Place::new("node2"), Place::new("node3")];
    let places: Vec<Place> = places.into_iter().map(shape).collect();
    let members = together(&places).await;
    (places, members)
}

/// Starts a member in each place, the first of which founds the cluster that the others join.
pub(crate) async fn together(places: &[Place]) -> Vec<Member> {
    let mut members = Vec::new();
    for place in places {
        members.push(place.start().await);
    }
    leads(&members[0]).await;
    for place in &places[1..] {
        join(&members[0], place).await;
    }
    members
}

pub(crate) async fn stop_all(members: Vec<Member>) {
    for member in members {
        member.shutdown().await;
    }
}

/// As crashes at the same moment would.
pub(crate) async fn stop_all_at_once(members: Vec<Member>) {
    for member in members {
        member.halt().await;
    }
}

/// All bytes of a backup.
pub(crate) async fn dump(member: &Member) -> Vec<u8> {
    let backup = member.backup().await.unwrap();
    let read =
        move || backup.map(|piece| piece.unwrap()).fold(Vec::new(), |all, piece| [&all[..], &piece].concat());
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// Every member comes to hold the same, byte for byte.
pub(crate) async fn same_state(members: &[Member]) {
    let applied = |member: &Member| member.status().applied_index;
    eventually("all have applied the same", async || {
        members.iter().all(|member| applied(member) == applied(&members[0]))
    })
    .await;
    let first = dump(&members[0]).await;
    for member in &members[1..] {
        assert!(dump(member).await == first, "{} holds something else", member.status().node_id);
    }
}
