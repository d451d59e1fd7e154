//! Files that the system refuses: what is said of them costs no data.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Node, SERVER};
use crate::tools::{contents, stopped_with, text};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that rights hold for, also where root runs the tests.
fn without_capabilities(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps=-all", "--bounding-set=-all", SERVER]);
        command
    } else {
        Command::new(SERVER)
    };
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Starts a member that is to be refused.
fn refused(node: &Node) -> String {
    let member = node.command();
    let arguments: Vec<&str> = member.get_args().map(|argument| argument.to_str().unwrap()).collect();
    let (code, error) = without_capabilities(&arguments);
    let last = error.lines().last().unwrap_or_default().to_owned();
    assert_eq!(code, Some(2), "{error}");
    harmless(&last);
    last
}

/// No advice may cost data, or speak of damage.
fn harmless(line: &str) {
    for costly in ["empty", "restore", "damaged", "join again", "choose another"] {
        assert!(!line.contains(costly), "{line}");
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn files_that_may_not_be_read_are_named_with_what_gives_the_right() {
    let node = stopped_with(20).await;
    let dir = &node.directory;
    let segment = std::fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_none_or(|end| end != "lock")).max().unwrap();
    let before = contents(dir);
    for path in [dir.join("identity"), dir.join("tree.db"), segment, dir.join("lock")] {
        set_mode(&path, 0o000);
        let line = refused(&node);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            line.contains("Permission denied") && line.contains("chmod") && line.contains(name),
            "{line}"
        );
        for command in [&["inspect"][..], &["check"], &["dump"], &["recover", "--confirm=x"]] {
            let mut arguments = command.to_vec();
            arguments.insert(1, text(dir));
            let (code, error) = without_capabilities(&arguments);
            // A cluster's id that is not this one's is refused before the log and the database are opened for writing.
            if command[0] == "recover" && !["identity", "lock"].contains(&name) && !error.contains("denied") {
                continue;
            }
            assert!(code == Some(2) && error.contains("Permission denied"), "{command:?} {path:?}: {error}");
            harmless(error.lines().last().unwrap());
        }
        set_mode(&path, 0o600);
    }
    assert_eq!(contents(dir), before);
}

#[tokio::test]
async fn a_directory_that_takes_no_new_files_is_refused_at_the_start() {
    let mut node = stopped_with(20).await;
    let dir = node.directory.clone();
    for folder in [dir.clone(), dir.join("log")] {
        set_mode(&folder, 0o555);
        let line = refused(&node);
        assert!(line.contains("Permission denied") && line.contains(text(&folder)), "{line}");
        set_mode(&folder, 0o755);
    }
    if is_root() {
        // As where somebody copied it: everything can be read, and nothing written.
        chown(dir.join("log"), Some(1), None).unwrap();
        let line = refused(&node);
        assert!(line.contains("(user 1)") && line.contains("(user 0)") && line.contains("chown"), "{line}");
        chown(dir.join("log"), Some(0), None).unwrap();
    }
    node.restart().await;
    node.until_ready().await;
    assert!(!dir.join("trial.unfinished").exists() && !dir.join("log/trial.unfinished").exists());
    assert!(node.client().get(crate::tools::key(3).as_bytes()).await.unwrap().is_some());
}
