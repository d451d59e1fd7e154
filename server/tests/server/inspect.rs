//! `conure-db inspect` and `conure-db check`: what they see, what they find, and that they change nothing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::Node;
use crate::tools::{contents, conure, stopped_with, text};

#[tokio::test]
async fn inspect_shows_a_directory_to_programs_and_to_people() {
    let node = stopped_with(200).await;
    let dir = text(&node.directory).to_owned();
    let before = contents(&node.directory);
    let seen = conure(&["inspect", "--json", &dir]).json();
    assert_eq!(seen["identity"]["node_id"], "node1");
    assert_eq!((&seen["identity"]["state"], &seen["identity"]["role"]), (&"member".into(), &"data".into()));
    assert!(seen["identity"]["raft_node_id"].as_str().unwrap().parse::<u64>().is_ok());
    assert!(!seen["identity"]["cluster_id"].as_str().unwrap().is_empty());
    let database = &seen["database"];
    let page_size = database["page_size_bytes"].as_u64().unwrap();
    assert_eq!(database["file_bytes"], fs::metadata(node.directory.join("tree.db")).unwrap().len());
    assert_eq!((&database["problems"], &database["readers"]), (&0.into(), &0.into()));
    assert!(database["free_pages"].as_u64().unwrap() < database["pages"].as_u64().unwrap());
    let trees = database["trees"].as_array().unwrap();
    let kv = trees.iter().find(|tree| tree["name"] == "kv").unwrap();
    assert_eq!((&kv["keys"], &kv["levels"]), (&200.into(), &2.into()));
    // Every tenth value has 9,000 bytes: three pages of its own.
    assert_eq!(kv["value_pages"], 60);
    let pages = ["branch_pages", "leaf_pages", "value_pages"].map(|name| kv[name].as_u64().unwrap());
    assert_eq!(kv["bytes"], pages.iter().sum::<u64>() * page_size);
    let (checkpoint, log) = (&seen["checkpoint"], &seen["log"]);
    assert_eq!(checkpoint["revision"], 200);
    assert_eq!(checkpoint["members"][0]["raft_addr"], node.raft_address());
    assert_eq!(checkpoint["members"][0]["suffrage"], "voter");
    assert_eq!(
        (&log["last_index"], &log["entries_behind_checkpoint"]),
        (&checkpoint["applied_index"], &0.into())
    );
    assert!(log["bytes"].as_u64().unwrap() > 200_000 && log["segments"] == 1, "{log}");

    let table = String::from_utf8(conure(&["inspect", &dir]).good()).unwrap();
    for shown in
        ["identity\n", "\ntrees\n", "\ncheckpoint\n", "\nlog\n", " kv ", "free pages", "readers", "node1"]
    {
        assert!(table.contains(shown), "{shown:?} is not in\n{table}");
    }
    assert!(table.lines().all(|line| line == line.trim_end()), "{table}");
    let checked = String::from_utf8(conure(&["check", &dir]).good()).unwrap();
    assert!(checked.ends_with("nothing is wrong\n") && checked.contains("200 keys"), "{checked}");
    assert_eq!(contents(&node.directory), before);

    // Whoever may only read may look.
    let read_only = |dir: &Path, mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
    };
    read_only(&node.directory, 0o555);
    let checked = conure(&["check", "--json", &dir]).json();
    read_only(&node.directory, 0o755);
    assert_eq!(checked["clean"], true);
    let parts: Vec<&str> =
        checked["parts"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(parts, ["identity", "database", "keys", "log", "agreement"]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_looked_at_ends_with_2() {
    let node = Node::ready("node1", &[]).await;
    node.client().put(b"a", "1").await.unwrap();
    let here = tempfile::tempdir().unwrap();
    let (none, file, empty) = (here.path().join("none"), here.path().join("file"), here.path().join("empty"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&empty).unwrap();
    for command in ["inspect", "check", "dump"] {
        conure(&[command, text(&node.directory)])
            .refused(2, &["in use by another process", text(&node.directory)]);
        conure(&[command, text(&none)]).refused(2, &["cannot be opened", text(&none)]);
        conure(&[command, text(&file)]).refused(2, &["cannot be opened", text(&file)]);
        conure(&[command, text(&empty)]).refused(2, &["holds no member's data", text(&empty)]);
        conure(&[command]).refused(2, &["DATA_DIR"]);
        conure(&[command, "--what", text(&none)]).refused(2, &["--what"]);
    }
    assert!(!none.exists() && fs::read_dir(&empty).unwrap().count() == 0);
    assert_eq!(node.client().get(b"a").await.unwrap().unwrap().bytes, "1");
}

#[test]
fn every_command_has_help_with_examples() {
    for command in ["inspect", "check", "dump", "load", "backup", "restore", "recover"] {
        let help = String::from_utf8(conure(&[command, "--help"]).good()).unwrap();
        assert!(help.contains(&format!("conure-db {command} ")) && help.contains("Examples:"), "{help}");
        assert!(help.contains("xit code"), "{help}");
    }
}

/// A copy of a directory, to be damaged.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn flip(file: &Path, at: usize, bit: u8) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1 << bit;
    fs::write(file, bytes).unwrap();
}

fn only_log(dir: &Path) -> PathBuf {
    let names: Vec<PathBuf> = fs::read_dir(dir.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension().is_some_and(|ending| ending == "log") && path.file_stem().unwrap() != "log"
        })
        .collect();
    names.into_iter().find(|path| path.file_name().unwrap() != "log.lock").unwrap()
}

/// Checks that `check` finds `dir` broken, and where.
fn broken(dir: &Path, place: &str) {
    let checked = conure(&["check", text(dir)]);
    let out = String::from_utf8_lossy(&checked.out);
    checked.refused(1, &["is broken", text(dir)]);
    assert!(out.contains(place), "{place:?} is not in\n{out}");
    let json = conure(&["check", "--json", text(dir)]).json();
    assert_eq!(json["clean"], false);
    let parts = json["parts"].as_array().unwrap();
    let mut faults = parts.iter().flat_map(|part| part["faults"].as_array().unwrap());
    assert!(faults.any(|fault| fault["place"].as_str().unwrap().contains(place)), "{json}");
}

#[tokio::test]
async fn check_finds_every_flipped_bit_and_says_where() {
    let node = stopped_with(120).await;
    let here = tempfile::tempdir().unwrap();
    let damaged = here.path().join("data");
    let free: Vec<usize> = free_pages(&node.directory);
    let seen = conure(&["inspect", "--json", text(&node.directory)]).json();
    let pages = usize::try_from(seen["database"]["pages"].as_u64().unwrap()).unwrap();
    assert_eq!(free.len() as u64, seen["database"]["free_pages"].as_u64().unwrap());
    let mut tried = 0;
    for page in (0..pages).filter(|page| !free.contains(page)) {
        let at = page * 4096 + (page * 1_237) % 4096;
        copy(&node.directory, &damaged);
        flip(&damaged.join("tree.db"), at, u8::try_from(page % 8).unwrap());
        broken(&damaged, &format!("tree.db, page {page}"));
        tried += 1;
        fs::remove_dir_all(&damaged).unwrap();
    }
    assert!(tried > 20, "{tried}");

    let name = only_log(&node.directory).file_name().unwrap().to_str().unwrap().to_owned();
    // The last batch proves that the one before it was synced; nothing proves the last one.
    let end = fs::metadata(only_log(&node.directory)).unwrap().len() - 512;
    for step in 0..25 {
        let at = usize::try_from(end * step / 25).unwrap() + 7;
        copy(&node.directory, &damaged);
        flip(&damaged.join("log").join(&name), at, 3);
        broken(&damaged, &format!("log/{name}"));
        fs::remove_dir_all(&damaged).unwrap();
    }
}

/// Pages that no tree reaches: flips in them are nobody's loss. Found by flipping.
fn free_pages(dir: &Path) -> Vec<usize> {
    let here = tempfile::tempdir().unwrap();
    let copied = here.path().join("data");
    copy(dir, &copied);
    let seen = conure(&["inspect", "--json", text(dir)]).json();
    let pages = usize::try_from(seen["database"]["pages"].as_u64().unwrap()).unwrap();
    let unharmed = |page: &usize| {
        let at = page * 4096 + 1;
        flip(&copied.join("tree.db"), at, 0);
        let code = conure(&["check", text(&copied)]).code;
        flip(&copied.join("tree.db"), at, 0);
        code == Some(0)
    };
    (0..pages).filter(unharmed).collect()
}

#[tokio::test]
async fn check_finds_lost_and_mixed_files() {
    let (one, two) = (stopped_with(20).await, stopped_with(20).await);
    let here = tempfile::tempdir().unwrap();
    let damaged = here.path().join("data");
    let with = |change: &dyn Fn(&Path), place: &str| {
        copy(&one.directory, &damaged);
        change(&damaged);
        broken(&damaged, place);
        fs::remove_dir_all(&damaged).unwrap();
    };
    with(&|dir| flip(&dir.join("identity"), 20, 1), "identity");
    with(&|dir| fs::remove_file(dir.join("identity")).unwrap(), "identity");
    let take_from_two = |dir: &Path, name: &str| {
        fs::copy(two.directory.join(name), dir.join(name)).unwrap();
    };
    with(&|dir| take_from_two(dir, "identity"), "identity and database");
    with(&|dir| take_from_two(dir, "tree.db"), "database and log");
    with(&|dir| fs::remove_dir_all(dir.join("log")).unwrap(), "database and log");
    with(&|dir| fs::remove_file(dir.join("tree.db")).unwrap(), "tree.db");
    with(&|dir| fs::remove_file(only_log(dir)).unwrap(), "database and log");
    with(
        &|dir| fs::File::options().write(true).open(dir.join("tree.db")).unwrap().set_len(8_192).unwrap(),
        "tree.db",
    );
    with(&|dir| fs::write(dir.join("tree.db"), [7; 20_000]).unwrap(), "tree.db");
    conure(&["check", text(&one.directory)]).good();
}
