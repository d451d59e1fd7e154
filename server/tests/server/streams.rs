//! Standard streams that are closed, full or not read: what is said to nobody is lost, and nothing else is.

use std::io::{PipeReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use conure_client::problem as kind;
use reqwest::StatusCode;

use crate::common::{Node, SERVER, problem, until};
use crate::streams_of_a_process::{OtherEnd, Wrong, with};
use crate::tools::{conure, stopped_with, text};

/// How long any command here may take.
const COMMAND_MAX: Duration = Duration::from_secs(60);

async fn answers_administration(node: &Node) {
    let remove = reqwest::Client::new().post(node.url("/remove")).header("Content-Type", "application/json");
    let answer = remove.body("{\"ID\":\"nobody\"}").send().await.unwrap();
    problem(answer, StatusCode::NOT_FOUND, kind::UNKNOWN_MEMBER).await;
}

async fn is_alive(node: &Node) -> bool {
    reqwest::get(node.url("/livez")).await.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

#[tokio::test]
async fn a_member_serves_and_stops_well_whatever_becomes_of_its_streams() {
    for stream in 0..3 {
        for wrong in Wrong::ALL {
            let folder = tempfile::tempdir().unwrap();
            let mut node = Node::over("solo", &folder.path().join("data"), &["--log-level=debug"]);
            let (command, _other_end) = with(&node.command(), stream, wrong);
            node.start_as(command).await;
            node.until_ready().await;
            node.client().put(b"a", "1").await.unwrap();
            answers_administration(&node).await;
            assert_eq!(node.client().get(b"a").await.unwrap().unwrap().bytes, "1");
            assert!(is_alive(&node).await, "{stream} {wrong:?}");
            node.stop().await;
        }
    }
}

/// Members whose log goes into a pipe.
async fn members_with_piped_logs() -> (Vec<Node>, Vec<PipeReader>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (mut nodes, mut readers) = (Vec::<Node>::new(), Vec::new());
    for number in 1..=3 {
        let data = folder.path().join(format!("{number}/data"));
        std::fs::create_dir_all(&data).unwrap();
        let mut node = Node::over(&format!("node{number}"), &data, &[]);
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = node.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
        node.start_as(command).await;
        if let Some(first) = nodes.first() {
            first.client().join(&node.name, &node.raft_address()).await.unwrap();
        }
        node.until_ready().await;
        nodes.push(node);
        readers.push(reader);
    }
    (nodes, readers, folder)
}

#[tokio::test]
async fn a_log_whose_reader_dies_takes_no_member_apart() {
    let (mut nodes, readers, _folder) = members_with_piped_logs().await;
    drop(readers);
    answers_administration(&nodes[0]).await;
    // Elections, votes and broken connections are what Raft and the keeper log about.
    nodes[0].signal("STOP");
    let leader = async |node: &Node| node.client().status().await.unwrap().leader;
    until("another one leads", async || {
        let leader = leader(&nodes[1]).await;
        !leader.is_empty() && leader != "node1"
    })
    .await;
    nodes[0].signal("CONT");
    until("the old leader follows", async || leader(&nodes[0]).await == leader(&nodes[1]).await).await;
    for node in &nodes {
        node.until_ready().await;
        assert!(is_alive(node).await, "{}", node.name);
        answers_administration(node).await;
        node.client().put(node.name.as_bytes(), "1").await.unwrap();
    }
    for node in &mut nodes {
        node.stop().await;
    }
}

/// A command, what it prints where all is well, and its exit code there.
struct Tool {
    command: Command,
    answers: bool,
    code: i32,
}

impl Tool {
    fn new(answers: bool, code: i32, arguments: &[&str]) -> Self {
        let mut command = Command::new(SERVER);
        command.args(arguments);
        Self { command, answers, code }
    }

    /// The exit code and standard error with a stream that is wrong, once its other end was used.
    fn ended(&self, stream: u8, wrong: Wrong) -> (Option<i32>, String) {
        let (mut command, other_end) = with(&self.command, stream, wrong);
        let said = tempfile::NamedTempFile::new().unwrap();
        if stream != 2 {
            command.stderr(said.reopen().unwrap());
        }
        let mut child = command.spawn().unwrap();
        drop(command);
        // A pipe for answers is read in the end, else the command would wait forever; one for lines is not.
        match other_end {
            OtherEnd::Reader(mut reader) if stream == 1 => {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).unwrap();
                return (child.wait().unwrap().code(), std::fs::read_to_string(said.path()).unwrap());
            }
            OtherEnd::Writer(writer) => drop(writer),
            held => {
                let began = std::time::Instant::now();
                while child.try_wait().unwrap().is_none() {
                    assert!(began.elapsed() < COMMAND_MAX, "{:?} hangs", self.command);
                    std::thread::sleep(Duration::from_millis(10));
                }
                drop(held);
            }
        }
        (child.wait().unwrap().code(), std::fs::read_to_string(said.path()).unwrap())
    }

    fn check(&self, stream: u8, wrong: Wrong) {
        let (code, said) = self.ended(stream, wrong);
        let loses_its_answer = stream == 1 && self.answers && wrong != Wrong::Slow;
        let wanted = if loses_its_answer { 1 } else { self.code };
        assert_eq!(code, Some(wanted), "{:?}, stream {stream} {wrong:?}: {said}", self.command);
        if loses_its_answer {
            assert!(said.contains("cannot write "), "{:?}: {said}", self.command);
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }

    fn check_all(&self) {
        for stream in 0..3 {
            for wrong in Wrong::ALL {
                self.check(stream, wrong);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_lose_their_lines_and_never_their_answer_or_their_exit_code() {
    let node = stopped_with(20).await;
    let dir = text(&node.directory).to_owned();
    let peers = "--peers=http://127.0.0.1:1";
    for tool in [
        Tool::new(true, 0, &["inspect", &dir]),
        Tool::new(true, 0, &["inspect", "--json", &dir]),
        Tool::new(true, 0, &["check", &dir]),
        Tool::new(true, 0, &["check", "--json", &dir]),
        Tool::new(true, 0, &["dump", &dir]),
        Tool::new(false, 0, &["recover", &dir, "--once"]),
        Tool::new(false, 2, &["recover", &dir]),
        Tool::new(false, 0, &["wait", "--data-dir", &dir, peers]),
        Tool::new(false, 1, &["wait", "--data-dir=/nowhere", peers, "--timeout=1ms"]),
        Tool::new(false, 2, &["inspect", "/nowhere"]),
        Tool::new(false, 2, &["load", "/nowhere/new", "--node-id=new"]),
        Tool::new(false, 2, &["--raft-adr=x"]),
        Tool::new(false, 2, &["--data-dir", &dir, "--node-id=another"]),
    ] {
        tokio::task::spawn_blocking(move || tool.check_all()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_need_no_standard_error_and_are_not_written_to_nobody() {
    let node = Node::ready("solo", &[]).await;
    node.client().put(b"a", "1").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (url, backup) = (node.url(""), folder.path().join("kept"));
    let run = move || {
        Tool::new(true, 0, &["backup", &url, "-"]).check_all();
        Tool::new(false, 0, &["backup", "--force", &url, text(&backup)]).check_all();
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn new_clusters_and_recoveries_need_no_standard_error() {
    let node = stopped_with(20).await;
    let folder = tempfile::tempdir().unwrap();
    let dir = text(&node.directory);
    let dump = folder.path().join("dump");
    std::fs::write(&dump, conure(&["dump", dir]).good()).unwrap();
    let id =
        conure(&["inspect", "--json", dir]).json()["identity"]["cluster_id"].as_str().unwrap().to_owned();
    for wrong in Wrong::ALL {
        let place = |what: &str| folder.path().join(format!("{what}-{wrong:?}"));
        let recovered = place("recovered");
        copy(&node.directory, &recovered);
        Tool::new(false, 0, &["recover", text(&recovered), "--confirm", &id]).check(2, wrong);
        let loaded = place("loaded");
        let load = Tool::new(false, 0, &["load", text(&loaded), "--node-id=new"]);
        let (mut command, _other_end) = with(&load.command, 2, wrong);
        assert!(command.stdin(std::fs::File::open(&dump).unwrap()).status().unwrap().success());
        for new in [recovered, loaded] {
            conure(&["check", text(&new)]).good();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

#[test]
fn help_that_cannot_be_written_is_a_failure_unless_its_reader_saw_enough() {
    for program in [SERVER, env!("CARGO_BIN_EXE_repl")] {
        for argument in ["--help", "--version"] {
            let mut command = Command::new(program);
            command.arg(argument);
            let help = Tool { command, answers: true, code: 0 };
            for stream in [0, 2] {
                for wrong in Wrong::ALL {
                    help.check(stream, wrong);
                }
            }
            for wrong in [Wrong::Closed, Wrong::Full, Wrong::Slow] {
                help.check(1, wrong);
            }
            assert_eq!(help.ended(1, Wrong::Gone), (Some(0), String::new()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repl_stops_where_its_answers_go_nowhere_and_goes_on_where_only_its_lines_do() {
    let node = Node::ready("solo", &[]).await;
    let input = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(input.path(), "put a 1\nget absent\nput b 2\n").unwrap();
    let started = |stream: u8, wrong: Wrong| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_repl"));
        command.arg(format!("--server={}", node.url("")));
        let (mut command, other_end) = with(&command, stream, wrong);
        command.stdin(std::fs::File::open(input.path()).unwrap());
        (command, other_end)
    };
    for wrong in Wrong::ALL {
        node.client().delete(b"b").await.unwrap();
        let (mut command, _other_end) = started(2, wrong);
        // A command failed, and the one after it ran.
        assert_eq!(command.status().unwrap().code(), Some(1), "{wrong:?}");
        assert_eq!(node.client().get(b"b").await.unwrap().unwrap().bytes, "2", "{wrong:?}");
    }
    for wrong in [Wrong::Closed, Wrong::Full, Wrong::Gone] {
        node.client().delete(b"b").await.unwrap();
        let (mut command, _other_end) = started(1, wrong);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{wrong:?}: {said}");
        assert!(said.starts_with("repl: cannot write to standard output: "), "{wrong:?}: {said}");
        assert!(node.client().get(b"b").await.unwrap().is_none(), "{wrong:?}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_repl"));
    command.arg(format!("--server={}", node.url("")));
    for wrong in Wrong::ALL {
        let (mut command, other_end) = with(&command, 0, wrong);
        let mut child = command.spawn().unwrap();
        drop((command, other_end));
        assert_eq!(child.wait().unwrap().code(), Some(0), "{wrong:?}");
    }
}
