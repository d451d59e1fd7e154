//! The process: settings, data directories, signals, exit codes.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use conure_client::problem as kind;
use reqwest::StatusCode;

use crate::common::{Node, free_port, problem, run, server, until};

#[test]
fn wrong_settings_end_with_2_and_one_line() {
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("bad.yaml"), "node_id: a\nraft_adr: 127.0.0.1:1\n").unwrap();
    std::fs::write(here.path().join("file"), "").unwrap();
    for (arguments, named) in [
        (&["--raft-adr=x"][..], "--raft-adr"),
        (&["--config=bad.yaml"], "raft_adr"),
        (&["--config=nowhere.yaml"], "nowhere.yaml"),
        (&["--http-addr=localhost"], "--http-addr \"localhost\""),
        (&["--raft-addr=127.0.0.1:x"], "--raft-addr \"127.0.0.1:x\""),
        (&["--barrier-timeout=3"], "--barrier-timeout \"3\""),
        (&["--role=voter"], "--role \"voter\""),
        (&["--admin-token-file=nowhere"], "--admin-token-file \"nowhere\""),
        (&["--join=https://a:1"], "--join \"https://a:1\""),
        (&["--join=http://a"], "no port"),
        (&["--data-dir=file"], "file"),
    ] {
        let port = format!("--http-addr=127.0.0.1:{}", free_port());
        let mut command = server(arguments, here.path());
        if !arguments[0].starts_with("--http-addr") {
            command.arg(port);
        }
        let (code, error) = run(&mut command);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        let last = error.lines().last().unwrap();
        assert!(last.starts_with("conure-db: ") && last.contains(named), "{arguments:?}: {error}");
        assert_eq!(error.lines().filter(|line| line.starts_with("conure-db: ")).count(), 1, "{error}");
    }
    let (code, error) = run(server(&[], here.path()).env("CONURE_LOG_FORMAT", "xml"));
    assert_eq!(code, Some(2));
    assert!(error.starts_with("conure-db: CONURE_LOG_FORMAT \"xml\""), "{error}");
}

#[test]
fn an_empty_variable_sets_nothing_for_any_command_and_one_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let here = tempfile::tempdir().unwrap();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let peers = format!("--peers={nobody}");
    for (variable, arguments, code, named) in [
        ("CONURE_DATA_DIR", &["wait", &peers, "--timeout=100ms"][..], 1, "waiting for a cluster"),
        ("CONURE_DATA_DIR", &["recover"], 2, "<DATA_DIR>"),
        ("CONURE_ADMIN_TOKEN_FILE", &["backup", &nobody, "file"], 1, "no backup was made"),
    ] {
        let (ended, error) = run(server(arguments, here.path()).env(variable, ""));
        assert!(ended == Some(code) && error.contains(named), "{variable}: {ended:?} {error}");
    }
    let (code, error) =
        run(server(&["backup", "--admin-token-file=", &nobody, "file"], here.path()).env_clear());
    assert_eq!(code, Some(2), "a flag without its value: {error}");
    let name = std::ffi::OsStr::from_bytes(b"data\xff");
    let (code, error) = run(server(&[], here.path()).env("CONURE_DATA_DIR", name));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("CONURE_DATA_DIR") && error.contains("UTF-8"), "{error}");
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
}

#[test]
fn help_and_version_end_well() {
    let here = tempfile::tempdir().unwrap();
    for argument in ["--help", "--version"] {
        let output = server(&[argument], here.path()).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty());
    }
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_second_process_on_a_directory_or_a_port_is_refused() {
    let node = Node::ready("solo", &[]).await;
    node.client().put(b"a", "1").await.unwrap();
    let data_dir = format!("--data-dir={}", node.directory.display());
    let (http, raft) =
        (format!("--http-addr=127.0.0.1:{}", free_port()), format!("--raft-addr=127.0.0.1:{}", free_port()));
    let here = tempfile::tempdir().unwrap();
    let (code, error) = run(&mut server(&["--node-id=solo", &data_dir, &http, &raft], here.path()));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("in use") && error.contains(&node.directory.display().to_string()), "{error}");

    let taken = format!("--http-addr={}", node.address());
    let (code, error) = run(&mut server(&["--data-dir=other", &taken, &raft], here.path()));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("--http-addr") && error.contains(&node.address()), "{error}");
    let taken = format!("--raft-addr={}", node.raft_address());
    let (code, error) = run(&mut server(&["--data-dir=other", &http, &taken], here.path()));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains(&node.raft_address()), "{error}");
    assert_eq!(node.client().get(b"a").await.unwrap().unwrap().bytes, "1");
}

#[tokio::test]
async fn sigterm_ends_well_and_keeps_the_data() {
    let mut node = Node::ready("solo", &[]).await;
    let revision = node.client().put(b"a", "1").await.unwrap().revision;
    let id = node.client().status().await.unwrap().cluster_id;
    for round in 0..2 {
        if round == 0 {
            node.stop().await;
        } else {
            node.kill();
        }
        node.restart().await;
        node.until_ready().await;
        assert_eq!(node.client().get(b"a").await.unwrap().unwrap().revision, revision);
        assert_eq!(node.client().status().await.unwrap().cluster_id, id);
    }
    node.signal("INT");
    assert!(node.left().await.success());
}

/// As a terminal that closes does it.
#[tokio::test]
async fn sighup_ends_well_and_one_that_was_started_to_ignore_it_goes_on() {
    let mut node = Node::ready("solo", &[]).await;
    node.client().put(b"a", "1").await.unwrap();
    node.signal("HUP");
    let status = node.left().await;
    assert!(status.success(), "{status}: {}", node.log());
    assert!(node.log().contains("SIGHUP"), "{}", node.log());

    // As nohup does it.
    let mut ignoring = std::process::Command::new("sh");
    let member = node.command();
    ignoring.args(["-c", r#"trap "" HUP; exec "$0" "$@""#]).arg(member.get_program()).args(member.get_args());
    ignoring.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    node.start_as(ignoring).await;
    node.until_ready().await;
    node.signal("HUP");
    assert_eq!(node.client().get(b"a").await.unwrap().unwrap().bytes, "1");
    node.client().put(b"a", "2").await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_request_in_flight_is_finished_before_the_process_leaves() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut node = Node::ready("solo", &[]).await;
    let mut stream = tokio::net::TcpStream::connect(node.address()).await.unwrap();
    let head =
        "PUT /kv?key=late HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"1").await.unwrap();
    node.signal("TERM");
    until("it accepts nobody", async || tokio::net::TcpStream::connect(node.address()).await.is_err()).await;
    stream.write_all(b"2").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(node.left().await.success());
    node.restart().await;
    node.until_ready().await;
    assert_eq!(node.client().get(b"late").await.unwrap().unwrap().bytes, "12");
}

#[tokio::test]
async fn a_damaged_directory_ends_with_3_a_foreign_one_with_2_and_both_are_kept() {
    let mut node = Node::ready("solo", &[]).await;
    node.client().put(b"a", "1").await.unwrap();
    node.stop().await;
    let identity = node.directory.join("identity");
    let good = std::fs::read(&identity).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0x10;
    std::fs::write(&identity, &bad).unwrap();
    let (code, error) = run(&mut node.command());
    assert_eq!(code, Some(3), "{error}");
    let last = error.lines().last().unwrap();
    assert!(last.starts_with(conure_client::exit::DATA_DAMAGED_LINE), "{error}");
    assert!(last.contains(&node.directory.display().to_string()), "{error}");
    assert_eq!(std::fs::read(&identity).unwrap(), bad);
    std::fs::write(&identity, "somebody's notes").unwrap();
    let (code, error) = run(&mut node.command());
    assert_eq!(code, Some(2), "{error}");
    std::fs::write(&identity, &good).unwrap();

    // Another member's directory.
    let mut command = node.command();
    command.arg("--node-id=other");
    let data_dir = format!("--data-dir={}", node.directory.display());
    let http = format!("--http-addr={}", node.address());
    let raft = format!("--raft-addr={}", node.raft_address());
    let here = tempfile::tempdir().unwrap();
    let (code, error) = run(&mut server(&["--node-id=other", &data_dir, &http, &raft], here.path()));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("solo") && error.contains("other"), "{error}");

    node.restart().await;
    node.until_ready().await;
    assert_eq!(node.client().get(b"a").await.unwrap().unwrap().bytes, "1");
}

#[tokio::test]
async fn damage_that_is_found_while_serving_is_answered_with_503_and_ends_with_3() {
    let mut node = Node::ready("solo", &[]).await;
    node.client().put(b"good", "1").await.unwrap();
    let value = "a value that is found again ".repeat(40);
    node.client().put(b"bad", value.clone()).await.unwrap();
    node.stop().await;
    let tree = node.directory.join("tree.db");
    let mut bytes = std::fs::read(&tree).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - value.len()).filter(|at| bytes[*at..].starts_with(value.as_bytes())).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + 500] ^= 0x10;
    }
    std::fs::write(&tree, bytes).unwrap();

    node.restart().await;
    node.until_ready().await;
    let refused = reqwest::get(node.url("/kv?key=bad&stale=true")).await.unwrap();
    let refused = problem(refused, StatusCode::SERVICE_UNAVAILABLE, kind::STORAGE).await;
    assert!(refused.detail.contains("corrupt at page"), "{}", refused.detail);
    let ended = node.left().await;
    assert_eq!(ended.code(), Some(3), "{}", node.log());
    let log = node.log();
    assert!(log.lines().last().unwrap().starts_with(conure_client::exit::DATA_DAMAGED_LINE), "{log}");
}

/// Cut by another program, the map has pages that no disk gives: as where a sector cannot be read.
#[tokio::test]
async fn a_page_that_cannot_be_read_is_damage_and_a_sigbus_of_other_cause_is_not() {
    let mut node = Node::ready("solo", &[]).await;
    for number in 0..20_u8 {
        node.client().put(&[b'k', number], vec![number; 100_000]).await.unwrap();
    }
    // One that another process sends ends it as it ends any process.
    node.signal("BUS");
    let ended = node.left().await;
    assert_eq!((ended.code(), ended.signal()), (None, Some(7)), "{}", node.log());

    node.restart().await;
    node.until_ready().await;
    let tree = std::fs::File::options().write(true).open(node.directory.join("tree.db")).unwrap();
    tree.set_len(16 << 10).unwrap();
    // Nobody answers any more.
    let mut number = 0;
    while reqwest::get(node.url(&format!("/kv?key=k%{number:02x}&stale=true"))).await.is_ok() {
        number = (number + 1) % 20;
    }
    let ended = node.left().await;
    assert_eq!(ended.code(), Some(3), "{}", node.log());
    let log = node.log();
    let last = log.lines().last().unwrap();
    assert!(last.starts_with(conure_client::exit::DATA_DAMAGED_LINE), "{log}");
    assert!(last.contains(&node.directory.display().to_string()), "{last}");

    // The tools find fault with it too, with the code of what failed.
    let mut check = server(&["check", node.directory.to_str().unwrap()], &node.directory);
    let (code, error) = run(&mut check);
    assert_eq!(code, Some(1), "{error}");
}

#[tokio::test]
async fn logs_can_be_json() {
    let node = Node::ready("solo", &["--log-format=json"]).await;
    let log = node.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let node = Node::ready("solo", &[]).await;
    for round in 0..3 {
        node.client().put(&[round], "x").await.unwrap();
    }
    assert_eq!(
        node.metric("conure_http_requests_total{route=\"/kv\",method=\"PUT\",status=\"200\"}").await,
        3
    );
    assert_eq!(node.metric("conure_raft_is_leader").await, 1);
    assert_eq!(node.metric("conure_raft_members{suffrage=\"voter\"}").await, 1);
    for positive in
        ["conure_raft_term", "conure_raft_applied_index", "conure_wal_syncs_total", "conure_tree_bytes"]
    {
        assert!(node.metric(positive).await > 0, "{positive}");
    }
    assert_eq!(node.metric("conure_revision").await, 3);
}

#[tokio::test]
async fn a_reserve_that_the_file_system_cannot_have_is_refused_with_the_most_that_it_can() {
    let mut node = Node::ready("node1", &[]).await;
    node.stop().await;
    let (code, error) = run(node.command().arg("--disk-reserve=900000GiB"));
    let last = error.lines().last().unwrap();
    assert_eq!(code, Some(2), "{error}");
    for words in ["disk_reserve \"921600000MiB\"", "the file system of data_dir", "give --disk-reserve="] {
        assert!(last.contains(words), "{last}");
    }
}
