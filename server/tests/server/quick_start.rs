//! The quick start, typed as it stands, in a network of its own so that its ports are free.

use std::path::Path;
use std::process::Command;

/// What a newcomer types. The README has the same lines.
const SERVERS: [&str; 3] = [
    "conure-db --node-id=node1 --data-dir=./data/node1 --bootstrap",
    "conure-db --node-id=node2 --data-dir=./data/node2 --raft-addr=127.0.0.1:7002 --http-addr=:8082",
    "conure-db --node-id=node3 --data-dir=./data/node3 --raft-addr=127.0.0.1:7003 --http-addr=:8083",
];
const JOINS: [&str; 2] = [
    r#"curl -X POST localhost:8081/join -H 'Content-Type: application/json' -d '{"ID":"node2","RaftAddr":"127.0.0.1:7002"}'"#,
    r#"curl -X POST localhost:8081/join -H 'Content-Type: application/json' -d '{"ID":"node3","RaftAddr":"127.0.0.1:7003"}'"#,
];

#[test]
fn the_quick_start_works_as_typed() {
    let mut script = String::from("set -eu\nip link set lo up\nservers=\n");
    for (number, server) in SERVERS.iter().enumerate() {
        script += &format!("{server} 2>log{number} &\nservers=\"$servers $!\"\n");
    }
    script += "trap 'kill -KILL $servers 2>/dev/null || true' EXIT\n";
    // A person is slower than this; each server has started its own cluster by then.
    for port in 8081..=8083 {
        script +=
            &format!("curl -sSf --retry 100 --retry-delay 1 --retry-all-errors localhost:{port}/readyz\n");
    }
    for join in JOINS {
        script += &format!("{join}\necho\n");
    }
    script += r#"
members=$(curl -sSf localhost:8082/raft/config)
test "$(echo "$members" | grep -o '"voter"' | wc -l)" = 3
curl -sSf -X PUT 'localhost:8081/kv?key=colour&value=blue'
for port in 8081 8082 8083; do test "$(curl -sSf "localhost:$port/kv?key=colour")" = blue; done
curl -sSfL -X PUT 'localhost:8083/kv?key=colour' -d green
for port in 8081 8082 8083; do test "$(curl -sSf "localhost:$port/kv?key=colour")" = green; done
trap - EXIT
for server in $servers; do kill -TERM "$server"; wait "$server"; done
echo all is well
"#;
    let here = tempfile::tempdir().unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_conure-db")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let output = Command::new("unshare")
        .args(["--net", "--map-root-user", "timeout", "100", "bash", "-c", &script])
        .env("PATH", path)
        .current_dir(here.path())
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let logs: Vec<_> = (0..3)
        .map(|number| std::fs::read_to_string(here.path().join(format!("log{number}"))).unwrap_or_default())
        .collect();
    assert!(
        output.status.success() && said.ends_with("all is well\n"),
        "{said}\n{errors}\n{}",
        logs.join("\n---\n")
    );
}

#[test]
fn the_readme_has_the_same_lines() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    for line in SERVERS.iter().chain(&JOINS) {
        assert!(readme.lines().any(|readme| readme == *line), "README.md lacks: {line}");
    }
}
