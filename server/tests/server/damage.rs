//! Files of a data directory that are not what was written: the exit code says whether the data or somebody's choice is at fault.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Node, run};
use crate::tools::{conure, stopped_with, text};

/// What is done to one file, and how the member ends then.
struct Row {
    file: &'static str,
    damage: fn(Vec<u8>) -> Vec<u8>,
    code: i32,
    words: &'static [&'static str],
}

const DAMAGED: &str = "conure-db: data damaged: ";

const ROWS: [Row; 12] = [
    Row { file: "identity", damage: |_| Vec::new(), code: 3, words: &[DAMAGED, "identity file", "is empty"] },
    Row {
        file: "identity",
        damage: |whole| vec![0; whole.len()],
        code: 3,
        words: &[DAMAGED, "nothing but zeros"],
    },
    Row { file: "identity", damage: |whole| whole[..5].to_vec(), code: 3, words: &[DAMAGED, "is too short"] },
    Row {
        file: "identity",
        damage: |whole| whole[..30].to_vec(),
        code: 3,
        words: &[DAMAGED, "wrong checksum"],
    },
    Row {
        file: "identity",
        damage: |whole| flipped(whole, 30),
        code: 3,
        words: &[DAMAGED, "wrong checksum"],
    },
    Row {
        file: "identity",
        damage: |_| b"notes on identity".to_vec(),
        code: 2,
        words: &["restore the file"],
    },
    Row {
        file: "tree.db",
        damage: |_| Vec::new(),
        code: 3,
        words: &[DAMAGED, "page 0", "is empty", "restore a backup"],
    },
    Row { file: "tree.db", damage: |_| vec![0; 100], code: 3, words: &[DAMAGED, "page 0", "ends within it"] },
    Row { file: "tree.db", damage: |whole| vec![0; whole.len()], code: 3, words: &[DAMAGED, "page 0"] },
    Row {
        file: "tree.db",
        damage: |whole| whole[..300].to_vec(),
        code: 3,
        words: &[DAMAGED, "page 0", "ends within it"],
    },
    Row { file: "tree.db", damage: |whole| whole[..4096].to_vec(), code: 3, words: &[DAMAGED, "page 1"] },
    Row { file: "tree.db", damage: |_| vec![b'x'; 9000], code: 2, words: &["is not a ConureDB tree file"] },
];

fn flipped(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 1;
    bytes
}

/// The last line of a start that is refused.
fn refusal(command: &mut Command, code: i32) -> String {
    let (ended, error) = run(command);
    let last = error.lines().last().unwrap_or_default().to_owned();
    assert_eq!(ended, Some(code), "{error}");
    last
}

/// Puts the bytes there as long as `f` runs.
fn with_bytes(path: &Path, damage: fn(Vec<u8>) -> Vec<u8>, f: impl FnOnce()) {
    let whole = fs::read(path).unwrap();
    fs::write(path, damage(whole.clone())).unwrap();
    f();
    fs::write(path, whole).unwrap();
}

#[tokio::test]
async fn what_a_power_loss_leaves_is_damage_and_a_foreign_file_is_not() {
    let mut node = stopped_with(20).await;
    let directory = node.directory.clone();
    for (number, row) in ROWS.iter().enumerate() {
        with_bytes(&directory.join(row.file), row.damage, || {
            let line = refusal(&mut node.command(), row.code);
            for words in row.words {
                assert!(line.contains(words), "row {number}, {}: {words:?} is not in {line}", row.file);
            }
            assert_eq!(line.starts_with(DAMAGED), row.code == 3, "row {number}: {line}");
            let checked = conure(&["check", text(&directory)]);
            assert_eq!(checked.code, Some(1), "row {number}: {}", checked.error);
        });
    }
    node.restart().await;
    node.until_ready().await;
    assert!(node.client().get(b"key/007").await.unwrap().is_some());
}

/// `strace` has the system answer every read of the file with `EIO`; without it, or the right to trace, nothing is tried.
#[tokio::test]
async fn an_identity_that_the_disk_cannot_read_is_damage() {
    let node = stopped_with(1).await;
    let traced = |node: &Node, injected: &str| {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-P", text(&node.directory.join("identity"))]);
        command.arg(format!("--inject={injected}"));
        let member = node.command();
        command.arg(member.get_program()).args(member.get_args());
        command
    };
    if Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|ended| ended.success())
    {
        let line = refusal(&mut traced(&node, "pread64:error=EIO"), 3);
        for words in [DAMAGED, "identity file", "the disk cannot read it", "restore a backup"] {
            assert!(line.contains(words), "{line}");
        }
        let line = refusal(&mut traced(&node, "pread64:error=EACCES"), 2);
        assert!(!line.contains("damaged"), "{line}");
    }
}
