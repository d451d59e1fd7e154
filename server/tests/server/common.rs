//! Starts `conure-db` processes in temporary directories on free loopback ports, and ends them.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use conure_client::Client;
use conure_client::api::{Problem, Suffrage};
use reqwest::{Response, StatusCode};
use tempfile::TempDir;

/// How long anything may take that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The server's binary.
pub(crate) const SERVER: &str = env!("CARGO_BIN_EXE_conure-db");

/// A running member.
pub(crate) struct Node {
    child: Child,
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) http_port: u16,
    pub(crate) raft_port: u16,
    arguments: Vec<String>,
    _owned: Option<TempDir>,
}

/// A port that nobody listens on. Two calls give two ports.
pub(crate) fn free_port() -> u16 {
    use std::collections::HashSet;
    use std::sync::{LazyLock, Mutex};
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

impl Node {
    /// Starts a member with an own directory, and waits until it says what it is.
    pub(crate) async fn start(name: &str, arguments: &[&str]) -> Self {
        let owned = tempfile::tempdir().unwrap();
        let mut node = Self::over(name, &owned.path().join("data"), arguments);
        node._owned = Some(owned);
        node.restart().await;
        node
    }

    /// A member over a directory that is there already, not started yet.
    pub(crate) fn over(name: &str, directory: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        Self {
            child,
            name: name.to_owned(),
            directory: directory.to_owned(),
            http_port: free_port(),
            raft_port: free_port(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            _owned: None,
        }
    }

    /// Starts a member that bootstraps, and waits until it serves.
    pub(crate) async fn ready(name: &str, arguments: &[&str]) -> Self {
        let node = Self::start(name, arguments).await;
        node.until_ready().await;
        node
    }

    /// One more argument, from the next start on.
    pub(crate) fn add(&mut self, argument: &str) {
        self.arguments.push(argument.to_owned());
    }

    /// Takes the argument that was added last back.
    pub(crate) fn remove_last(&mut self) {
        self.arguments.pop();
    }

    /// The command line that this member was and will be started with.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(SERVER);
        command
            .arg(format!("--node-id={}", self.name))
            .arg(format!("--data-dir={}", self.directory.display()))
            .arg(format!("--http-addr=127.0.0.1:{}", self.http_port))
            .arg(format!("--raft-addr=127.0.0.1:{}", self.raft_port))
            .args(&self.arguments);
        command
    }

    /// Starts the process again over its directory.
    pub(crate) async fn restart(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.start_as(command).await;
    }

    /// Starts the process as `command` says, which is this member's or one around it.
    pub(crate) async fn start_as(&mut self, mut command: Command) {
        self.child = command.spawn().unwrap();
        // The other ends of its pipes are the test's.
        drop(command);
        let url = self.url("/status");
        let began = Instant::now();
        // While the member opens its directory this is 503.
        while !reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} left with {status}: {}", self.name, self.log());
            }
            assert!(began.elapsed() < DEADLINE, "{} does not answer: {}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn until_ready(&self) {
        let client = self.client();
        let ready = async || client.readyz(None).await.is_ok_and(|probe| probe.ok);
        until(&format!("{} is ready", self.name), ready).await;
    }

    fn log_path(&self) -> PathBuf {
        self.directory.with_file_name("log")
    }

    /// What the process wrote to standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    pub(crate) fn raft_address(&self) -> String {
        format!("127.0.0.1:{}", self.raft_port)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// A client of this member alone.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address()).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let done =
            Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits for the process to leave.
    pub(crate) async fn left(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < DEADLINE, "{} does not leave: {}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM, and the exit code that must be 0.
    pub(crate) async fn stop(&mut self) {
        self.signal("TERM");
        let status = self.left().await;
        assert!(status.success(), "{} left with {status}: {}", self.name, self.log());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// One of this member's metrics, by its whole name with labels; 0 where it has not been counted.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let page = self.client().metrics().await.unwrap();
        let found = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or(0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines.get(lines.len().saturating_sub(200)..).unwrap_or_default();
            eprintln!("--- {} ---\n{}", self.name, end.join("\n"));
        }
    }
}

/// A cluster of members called `node1`, `node2`, …; the first leads at first.
pub(crate) async fn cluster(size: usize, arguments: &[&str]) -> Vec<Node> {
    let mut nodes = vec![Node::ready("node1", arguments).await];
    for number in 2..=size {
        // Not ready yet on purpose: whoever joins must not have to wait for that.
        let node = Node::start(&format!("node{number}"), arguments).await;
        let answer = nodes[0].client().join(&node.name, &node.raft_address()).await.unwrap();
        assert_eq!(answer.suffrage, Suffrage::Voter);
        nodes.push(node);
    }
    for node in &nodes {
        node.until_ready().await;
    }
    nodes
}

/// Polls until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < DEADLINE, "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Checks that an answer is the problem that it should be.
pub(crate) async fn problem(response: Response, status: StatusCode, kind: &str) -> Problem {
    assert_eq!(response.status(), status, "wanted {kind}");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let problem: Problem = response.json().await.unwrap();
    assert_eq!((problem.kind.as_str(), problem.status), (kind, status.as_u16()));
    assert!(!problem.title.is_empty() && !problem.detail.is_empty() && !problem.detail.contains('\n'));
    problem
}

/// Runs a command to its end: exit code and standard error.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A server command with no settings but those in `arguments`.
pub(crate) fn server(arguments: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(SERVER);
    command.args(arguments).current_dir(directory);
    command
}
