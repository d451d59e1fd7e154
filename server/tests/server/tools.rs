//! What the tests of the commands on data directories and backups share.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{Node, SERVER};

/// A command's end: exit code, standard output, standard error.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) error: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: output.stdout,
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What it printed, when it ended well.
    pub(crate) fn good(self) -> Vec<u8> {
        assert_eq!(self.code, Some(0), "{}", self.error);
        self.out
    }

    /// Checks that it ended with `code` and one line that names all of `named`.
    pub(crate) fn refused(&self, code: i32, named: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.error);
        assert_eq!(self.error.lines().count(), 1, "{}", self.error);
        assert!(self.error.starts_with("conure-db: "), "{}", self.error);
        for name in named {
            assert!(self.error.contains(name), "{name:?} is not in {}", self.error);
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.error))
    }
}

/// Runs `conure-db` with these arguments to its end.
pub(crate) fn conure(arguments: &[&str]) -> Ended {
    let mut command = Command::new(SERVER);
    Ended::of(command.args(arguments).stdin(Stdio::null()).output().unwrap())
}

/// The same with bytes on its standard input, of which it may leave some.
pub(crate) fn conure_fed(arguments: &[&str], input: &[u8]) -> Ended {
    let mut child = Command::new(SERVER)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        // One that refuses stops reading.
        let _ = stdin.write_all(&input);
    });
    let ended = Ended::of(child.wait_with_output().unwrap());
    feeder.join().unwrap();
    ended
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every file below `dir` with its bytes.
pub(crate) fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(text(&path).to_owned(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// A member that holds `keys` keys, `key/000` and so on, some with long values, and was stopped.
pub(crate) async fn stopped_with(keys: u32) -> Node {
    let mut node = Node::ready("node1", &[]).await;
    for number in 0..keys {
        let len = if number % 10 == 9 { 9_000 } else { 50 };
        node.client().put(key(number).as_bytes(), vec![b'v'; len]).await.unwrap();
    }
    node.stop().await;
    node
}

pub(crate) fn key(number: u32) -> String {
    format!("key/{number:03}")
}
