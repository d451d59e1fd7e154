//! The interactive client, from a pipe.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::cluster::freeze;
use crate::common::{Node, cluster};

fn repl(server: &str, input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_repl"))
        .arg(format!("--server={server}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn commands_from_a_pipe_run_without_a_prompt() {
    let node = Node::ready("solo", &[]).await;
    let input = b"# comment\n\nput city \"New York\"\nget city\nput raw \"\\xff\\x00\"\nget raw\ndelete city\ndelete city\nhelp\nexit\nget never\n";
    let output = repl(&node.url(""), input);
    assert!(output.status.success(), "{output:?}");
    let mut lines = output.stdout.split(|byte| *byte == b'\n');
    let expected: [&[u8]; 6] = [
        b"ok, revision 1",
        b"New York",
        b"ok, revision 2",
        b"\xff\0",
        b"deleted, revision 3",
        b"there was no such key, revision 3",
    ];
    for line in expected {
        assert_eq!(lines.next().unwrap(), line);
    }
    assert!(lines.next().unwrap().starts_with(b"put KEY VALUE"));
    assert_eq!(output.stderr, b"");
}

#[tokio::test]
async fn one_failed_command_makes_the_exit_code_1_and_the_rest_still_runs() {
    let node = Node::ready("solo", &[]).await;
    for bad in ["get absent", "put a", "fly", "get \"a"] {
        let output = repl(&node.url(""), format!("{bad}\nput after 1\nget after\n").as_bytes());
        assert_eq!(output.status.code(), Some(1), "{bad}");
        assert!(String::from_utf8(output.stderr).unwrap().starts_with("line 1: "), "{bad}");
        assert!(output.stdout.ends_with(b"\n1\n"), "{bad}");
    }
    let output = repl("https://localhost:1", b"");
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn it_follows_redirects_and_moves_to_another_member() {
    let mut nodes = cluster(3, &[]).await;
    let output = repl(&nodes[2].url(""), b"put a 1\n");
    assert!(output.status.success(), "{output:?}");

    let mut child = Command::new(env!("CARGO_BIN_EXE_repl"))
        .arg(format!("--server={}", nodes[0].url("")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    stdin.write_all(b"get a\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "1");
    nodes[0].kill();
    stdin.write_all(b"get a\nput b 2\nget b\n").unwrap();
    drop(stdin);
    assert_eq!(lines.next().unwrap().unwrap(), "1");
    assert!(lines.next().unwrap().unwrap().starts_with("ok, revision "));
    assert_eq!(lines.next().unwrap().unwrap(), "2");
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn it_leaves_a_frozen_member_and_says_that_the_outcome_is_unknown() {
    let nodes = cluster(3, &[]).await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_repl"))
        .arg(format!("--server={}", nodes[0].url("")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    stdin.write_all(b"put a 1\n").unwrap();
    assert!(lines.next().unwrap().unwrap().starts_with("ok, revision "));
    freeze(&nodes[0]).await;
    stdin.write_all(b"put a 2\nput b 3\nget b\n").unwrap();
    drop(stdin);
    // Only the first one meets the frozen leader, and is not sent again; meanwhile the others elected a new one.
    assert!(lines.next().unwrap().unwrap().starts_with("ok, revision "));
    assert_eq!(lines.next().unwrap().unwrap(), "3");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.starts_with("line 2: the outcome is unknown: ") && errors.lines().count() == 1,
        "{errors}"
    );
    assert_eq!(nodes[1].client().get(b"a").await.unwrap().unwrap().bytes, "1", "it was not sent again");
    nodes[0].signal("CONT");
}
