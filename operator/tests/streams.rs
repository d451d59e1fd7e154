//! Standard streams that are closed, full or not read: the operator works on without them, and the plugin's answer is never
//! lost in silence.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail as loudly as tests")]

#[path = "../../program/tests/streams_of_a_process.rs"]
mod streams_of_a_process;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use streams_of_a_process::{OtherEnd, Wrong, with};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const OPERATOR: &str = env!("CARGO_BIN_EXE_conure-operator");
const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-conure");
/// How long anything may take that must happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// An API server that tells its version and knows nothing else: enough for an operator that watches, and retries.
async fn api_server() -> u16 {
    let version = r#"{"major":"1","minor":"34","gitVersion":"v1.34.0","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#;
    let router = Router::new().route("/version", get(async move || version));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    port
}

fn kubeconfig(folder: &Path, port: u16) -> std::path::PathBuf {
    let path = folder.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster: {{server: \"http://127.0.0.1:{port}\"}}\n\
         contexts:\n- name: c\n  context: {{cluster: c, user: u}}\nusers:\n- name: u\n  user: {{}}\n"
    );
    fs::write(&path, text).unwrap();
    path
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The operator on that API server, serving its health on `http`.
fn operator(folder: &Path, api: u16, http: u16) -> Command {
    let mut command = Command::new(OPERATOR);
    command.env("KUBECONFIG", kubeconfig(folder, api)).args([
        "--leader-election=false",
        "--log-level=debug",
        &format!("--http-addr=127.0.0.1:{http}"),
    ]);
    command
}

async fn asked(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// Waits for the end; whoever hangs fails the test.
async fn left(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("it does not leave");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_works_and_stops_well_whatever_becomes_of_its_streams() {
    let folder = tempfile::tempdir().unwrap();
    let api = api_server().await;
    for stream in 0..3 {
        for wrong in Wrong::ALL {
            let http = free_port();
            let (mut command, _other_end) = with(&operator(folder.path(), api, http), stream, wrong);
            let mut child = command.spawn().unwrap();
            let began = Instant::now();
            while !asked(http, "/readyz").await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                assert_eq!(child.try_wait().unwrap(), None, "stream {stream} {wrong:?}");
                assert!(began.elapsed() < DEADLINE, "stream {stream} {wrong:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let live = asked(http, "/livez").await.unwrap();
            assert!(live.starts_with("HTTP/1.1 200"), "stream {stream} {wrong:?}: {live}");
            let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
            assert!(killed.success());
            assert_eq!(left(&mut child).await, Some(0), "stream {stream} {wrong:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_cannot_work_ends_with_1_or_2_whatever_becomes_of_its_streams() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = operator(folder.path(), free_port(), free_port());
    let mut wrong_setting = Command::new(OPERATOR);
    wrong_setting.arg("--log-level=a=b=c");
    let mut wrong_flag = Command::new(OPERATOR);
    wrong_flag.arg("--nothing");
    for (command, code) in [(nowhere, 1), (wrong_setting, 2), (wrong_flag, 2)] {
        for stream in 0..3 {
            for wrong in Wrong::ALL {
                let (mut command, _other_end) = with(&command, stream, wrong);
                let ended = left(&mut command.spawn().unwrap()).await;
                assert_eq!(ended, Some(code), "{command:?}, stream {stream} {wrong:?}");
            }
        }
    }
}

/// A kubectl that knows one cluster without members.
fn kubectl(folder: &TempDir) -> String {
    let script = r#"#!/bin/sh
for word; do
  case "$word" in
    conureclusters.conuredb.dev) what=clusters ;;
  esac
done
cluster='{"apiVersion":"conuredb.dev/v1alpha1","kind":"ConureCluster","metadata":{"name":"conure"},"spec":{}}'
for word; do
  if [ "$what" = clusters ] && [ "$word" = conure ]; then echo "$cluster"; exit; fi
done
if [ "$what" = clusters ]; then echo "{\"items\":[$cluster]}"; else echo '{"items":[]}'; fi
"#;
    let path = folder.path().join("kubectl");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_written_is_a_failure_and_a_line_that_cannot_be_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = kubectl(&folder);
    for (program, arguments) in [
        (PLUGIN, &["status"][..]),
        (PLUGIN, &["members", "-o", "json"]),
        (PLUGIN, &["--help"]),
        (OPERATOR, &["--help"]),
        (OPERATOR, &["--version"]),
    ] {
        let mut command = Command::new(program);
        command.args(arguments).env("PATH", &path);
        let good = command.output().unwrap();
        assert!(good.status.success() && !good.stdout.is_empty(), "{command:?}: {good:?}");
        for stream in [0, 2] {
            for wrong in Wrong::ALL {
                let (mut command, _other_end) = with(&command, stream, wrong);
                let ended = left(&mut command.spawn().unwrap()).await;
                assert_eq!(ended, Some(0), "{command:?}, stream {stream} {wrong:?}");
            }
        }
        for wrong in [Wrong::Closed, Wrong::Full, Wrong::Gone] {
            let (mut command, _) = with(&command, 1, wrong);
            let output = command.stderr(Stdio::piped()).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            if wrong == Wrong::Gone && arguments[0].starts_with("--") {
                assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{command:?}");
                continue;
            }
            assert_eq!(output.status.code(), Some(1), "{command:?} {wrong:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.contains("cannot write to standard output"), "{said}");
        }
        let (mut command, other_end) = with(&command, 1, Wrong::Slow);
        let mut child = command.spawn().unwrap();
        drop(command);
        let OtherEnd::Reader(mut reader) = other_end else { panic!("no pipe") };
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut all).unwrap();
        assert!(all.ends_with(&good.stdout));
        assert_eq!(left(&mut child).await, Some(0));
    }
}
