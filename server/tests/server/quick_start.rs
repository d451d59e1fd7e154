//! What README.md, docs/http-api.md and docs/operations.md show, typed as it stands, in a network of its own so that its ports are free.

use std::path::Path;
use std::process::Command;

/// What a newcomer types, whatever becomes of the README.
const CONTRACT: [&str; 3] = [
    "conure-db --node-id=node1 --data-dir=./data/node1 --bootstrap",
    "conure-db --node-id=node2 --data-dir=./data/node2 --raft-addr=127.0.0.1:7002 --http-addr=:8082 --join=localhost:8081",
    "conure-db --node-id=node3 --data-dir=./data/node3 --raft-addr=127.0.0.1:7003 --http-addr=:8083 --join=localhost:8081",
];

/// The same where somebody joins the members: each begins as a cluster of its own.
const JOINED_BY_HAND: [&str; 5] = [
    "conure-db --node-id=node1 --data-dir=./data/node1 --bootstrap",
    "conure-db --node-id=node2 --data-dir=./data/node2 --raft-addr=127.0.0.1:7002 --http-addr=:8082",
    "conure-db --node-id=node3 --data-dir=./data/node3 --raft-addr=127.0.0.1:7003 --http-addr=:8083",
    r#"curl -X POST localhost:8081/join -H 'Content-Type: application/json' -d '{"ID":"node2","RaftAddr":"127.0.0.1:7002"}'"#,
    r#"curl -X POST localhost:8081/join -H 'Content-Type: application/json' -d '{"ID":"node3","RaftAddr":"127.0.0.1:7003"}'"#,
];

/// Before a page's own lines: a network, and the means to start servers.
const PROLOGUE: &str = r#"set -euo pipefail
ip link set lo up
servers=
trap 'kill -KILL $servers 2>/dev/null || true' EXIT
# A person is slower than a script: a server that was just started answers before the next line is typed.
answers() { curl -sSf --retry 100 --retry-delay 1 --retry-all-errors -o /dev/null "localhost:$1/readyz" 2>/dev/null; }
"#;

/// After them: every server ends well.
const EPILOGUE: &str = r#"
trap - EXIT
for server in $servers; do kill -TERM "$server"; done
for server in $servers; do wait "$server"; done
echo
echo all is well
"#;

/// The lines of a page's blocks that name this file.
fn shown(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page)).unwrap();
    let mut lines = text.lines();
    let mut shown = Vec::new();
    while lines.any(|line| line == "<!-- run by: server/tests/server/quick_start.rs -->") {
        assert_eq!(lines.next(), Some("```sh"));
        shown.extend(lines.by_ref().take_while(|line| *line != "```").map(str::to_owned));
    }
    shown
}

/// Runs a script in an empty directory, with the binaries on the path; what it said.
fn typed(script: &str) -> String {
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("file"), [0, 159, 146, 150]).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_conure-db")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let output = Command::new("unshare")
        .args(["--net", "--map-root-user", "timeout", "100", "bash", "-c"])
        .arg(format!("{PROLOGUE}{script}{EPILOGUE}"))
        .env("PATH", path)
        .current_dir(here.path())
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.ends_with("all is well\n"), "{said}\n{errors}");
    said.into_owned()
}

/// A shell line that types `line`: servers go to the background, and are waited for.
fn type_line(line: &str) -> String {
    // What follows the name is a command, unless it is a flag or nothing.
    if line != "conure-db" && !line.starts_with("conure-db --") {
        return format!("{line}\necho\n");
    }
    let port = line.split("--http-addr=:").nth(1).map_or("8081", |rest| rest.split(' ').next().unwrap());
    format!("{line} &\nservers=\"$servers $!\"\nanswers {port}\n")
}

#[test]
fn the_quick_start_works_as_typed() {
    let lines = shown("README.md");
    for line in CONTRACT {
        assert!(lines.iter().any(|shown| shown == line), "README.md does not show: {line}");
    }
    assert!(!lines.iter().any(|line| line.contains("/join")), "{lines:?}");
    let said = three_members_serve(lines.iter().map(String::as_str));
    assert!(said.contains("world"), "{said}");
}

#[test]
fn members_that_are_joined_by_hand_work_as_typed() {
    let put = "curl -L -X PUT 'localhost:8082/kv?key=hello' -d 'world'";
    three_members_serve(JOINED_BY_HAND.into_iter().chain([put]));
}

/// Types the lines, which make a cluster of three and put `hello`; what was said.
fn three_members_serve<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut script: String = lines.map(type_line).collect();
    script += r#"
members=$(curl -sSf localhost:8082/raft/config)
test "$(echo "$members" | grep -o '"voter"' | wc -l)" = 3
for port in 8081 8082 8083; do test "$(curl -sSf "localhost:$port/kv?key=hello")" = world; done
curl -sSf -X PUT 'localhost:8081/kv?key=colour&value=deep+blue'
for port in 8081 8082 8083; do test "$(curl -sSf "localhost:$port/kv?key=colour")" = "deep blue"; done
"#;
    typed(&script)
}

#[test]
fn the_examples_of_the_api_page_work_on_a_server_with_all_defaults() {
    let lines = shown("docs/http-api.md");
    assert!(lines.len() >= 4, "{lines:?}");
    let script: String =
        std::iter::once("conure-db".to_owned()).chain(lines).map(|line| type_line(&line)).collect();
    let said = typed(&format!("{script}test -d data\n"));
    assert!(said.contains(r#"{"revision":1}"#) && said.contains(r#""deleted":true"#), "{said}");
}

#[test]
fn the_commands_of_the_operations_page_work_beside_the_first_member() {
    let lines = shown("docs/operations.md");
    for command in ["backup", "restore", "inspect", "check", "dump", "load"] {
        assert!(lines.iter().any(|line| line.starts_with(&format!("conure-db {command} "))), "{command}");
    }
    let script: String =
        std::iter::once(CONTRACT[0].to_owned()).chain(lines).map(|line| type_line(&line)).collect();
    let said = typed(&script);
    assert!(said.contains("blue") && said.contains(r#""incarnation":2"#), "{said}");
    assert!(said.contains("nothing is wrong") && said.contains(r#""checkpoint": {"#), "{said}");
}
