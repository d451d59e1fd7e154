//! `conure-db backup` and `conure-db restore`, on real clusters.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use conure_client::Client;

use crate::common::{Node, SERVER, free_port, run, until};
use crate::tools::{contents, conure, conure_fed, key, text};

/// Counts up in two keys, one after the other; what was acknowledged last is in `acknowledged`.
fn count_up(
    client: Client,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> tokio::task::JoinHandle<u64> {
    tokio::spawn(async move {
        let mut number = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            client.put(b"first", number.to_string()).await.unwrap();
            client.put(b"second", number.to_string()).await.unwrap();
            acknowledged.store(number, Ordering::SeqCst);
        }
        number
    })
}

async fn number(client: &Client, key: &[u8]) -> u64 {
    let found = client.get(key).await.unwrap().unwrap();
    std::str::from_utf8(&found.bytes).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_while_writing_is_one_moment_and_restores_every_key() {
    let here = tempfile::tempdir().unwrap();
    let old = Node::ready("node1", &[]).await;
    let client = old.client();
    let mut revisions = Vec::new();
    for number in 0..40 {
        let value = vec![u8::try_from(number).unwrap(); if number % 7 == 0 { 300_000 } else { 20 }];
        revisions.push(client.put(key(number).as_bytes(), value).await.unwrap().revision);
    }
    client.put(&[0xff, 0, b'\n'], vec![0x80, 0]).await.unwrap();
    client.put(b"gone", "1").await.unwrap();
    client.delete(b"gone").await.unwrap();

    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = count_up(client.clone(), Arc::clone(&stop), Arc::clone(&acknowledged));
    until("the writer is under way", async || acknowledged.load(Ordering::SeqCst) > 5).await;
    let before = acknowledged.load(Ordering::SeqCst);
    let (url, file) = (old.url(""), here.path().join("a.backup"));
    let ended = tokio::task::spawn_blocking({
        let file = file.clone();
        move || conure(&["backup", &url, text(&file)])
    });
    let ended = ended.await.unwrap();
    let at_end = acknowledged.load(Ordering::SeqCst);
    until("it is written to all the while", async || acknowledged.load(Ordering::SeqCst) > at_end).await;
    stop.store(true, Ordering::Relaxed);
    let last = writer.await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.error);
    assert!(ended.error.contains("43 keys") && ended.error.lines().count() == 1, "{}", ended.error);
    let old_status = client.status().await.unwrap();

    // What a new volume holds.
    let dir = here.path().join("restored").join("data");
    std::fs::create_dir_all(dir.join("lost+found")).unwrap();
    let restored = conure(&["restore", text(&file), text(&dir)]);
    assert_eq!(restored.code, Some(0), "{}", restored.error);
    conure(&["check", text(&dir)]).good();

    let mut new = Node::over("node1", &dir, &[]);
    new.restart().await;
    new.until_ready().await;
    let restored = new.client();
    for (number, revision) in (0..).zip(&revisions) {
        let found = restored.get(key(number).as_bytes()).await.unwrap().unwrap();
        assert_eq!(found.bytes, client.get(key(number).as_bytes()).await.unwrap().unwrap().bytes);
        assert_eq!(found.revision, *revision, "a key that was not changed keeps its ETag");
    }
    assert_eq!(restored.get(&[0xff, 0, b'\n']).await.unwrap().unwrap().bytes, [0x80, 0][..]);
    assert!(restored.get(b"gone").await.unwrap().is_none());
    let (first, second) = (number(&restored, b"first").await, number(&restored, b"second").await);
    assert!(first == second || first == second + 1, "{first} and {second} never stood side by side");
    assert!(second >= before && first <= last, "{before} was acknowledged before, {second} is there");

    let status = restored.status().await.unwrap();
    assert_ne!(status.cluster_id, old_status.cluster_id);
    assert_eq!((status.incarnation, status.node_id.as_str()), (old_status.incarnation + 1, "node1"));
    assert_eq!(status.leader_http_addr, new.address(), "the restored member does not know where it is");
    let next = restored.put(b"new", "1").await.unwrap().revision;
    assert!(next > old_status.revision && next > 1 << 32, "{next} may have been used before");

    // Others get everything when they join, although the log begins behind it.
    let joined = Node::ready("node2", &[]).await;
    restored.join("node2", &joined.raft_address()).await.unwrap();
    joined.until_ready().await;
    let copied = joined.client();
    for number in [0, 7, 39] {
        let key = key(number);
        let wanted = restored.get(key.as_bytes()).await.unwrap().unwrap();
        assert_eq!(copied.get(key.as_bytes()).await.unwrap().unwrap(), wanted);
    }
    new.kill();
    new.restart().await;
    new.until_ready().await;
    assert_eq!(restored.get(b"new").await.unwrap().unwrap().revision, next);
    assert_eq!(restored.status().await.unwrap().cluster_id, status.cluster_id);
}

#[tokio::test]
async fn a_backup_that_nobody_fetches_on_shows_as_a_reader_that_keeps_pages() {
    let node = Node::ready("node1", &[]).await;
    let client = node.client();
    // More than sockets hold.
    for number in 0..16 {
        client.put(key(number).as_bytes(), vec![7; 2_000_000]).await.unwrap();
    }
    let age = async || node.metric("conure_tree_oldest_reader_age_milliseconds").await;
    let kept = async || node.metric("conure_tree_oldest_reader_waiting_pages").await;
    let null = async || {
        let stats = client.raft_stats().await.unwrap();
        stats.pointer("/storage/tree/oldest_reader_age_ms").expect("it is always there").is_null()
    };
    until("no snapshot is held", async || age().await == 0 && null().await).await;
    let held = reqwest::get(node.url("/snapshot")).await.unwrap();
    until("pages wait for it", async || {
        client.put(key(0).as_bytes(), vec![8; 2_000_000]).await.unwrap();
        kept().await > 400
    })
    .await;
    assert!(age().await > 0 && !null().await);
    assert!(node.metric("conure_tree_waiting_pages").await >= kept().await);
    drop(held);
    until("it is let go", async || age().await == 0 && null().await).await;
    assert_eq!(kept().await, 0);
}

/// A backup of a small cluster, as bytes.
async fn small_backup() -> Vec<u8> {
    let node = Node::ready("node1", &[]).await;
    for number in 0..20 {
        node.client().put(key(number).as_bytes(), vec![7; 5_000]).await.unwrap();
    }
    conure(&["backup", &node.address(), "-"]).good()
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused_and_leaves_nothing() {
    let backup = small_backup().await;
    let here = tempfile::tempdir().unwrap();
    let dir = here.path().join("data");
    let mut flipped = backup.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut later = backup.clone();
    later[8] = 99;
    let longer = [&backup[..], b"more"].concat();
    for (bad, named) in [
        (&backup[..0], "cut off after 0 bytes"),
        (&backup[..backup.len() - 1], "cut off"),
        (&backup[..backup.len() / 2], "cut off"),
        (&flipped[..], "damaged"),
        (&longer[..], "damaged"),
        (&later[..], "version 99"),
        (b"no backup at all", "no backup of ConureDB"),
    ] {
        let file = here.path().join("bad.backup");
        std::fs::write(&file, bad).unwrap();
        conure(&["restore", text(&file), text(&dir)]).refused(2, &[named]);
        conure_fed(&["restore", "-", text(&dir)], bad).refused(2, &[named]);
        assert!(!dir.exists(), "something stayed");
    }
    let ended = conure_fed(&["restore", "--cluster-id=again", "--incarnation=7", "-", text(&dir)], &backup);
    ended.good();
    let inspected = conure(&["inspect", "--json", text(&dir)]).json();
    assert_eq!(inspected["identity"]["cluster_id"], "again");
    assert_eq!(inspected["identity"]["incarnation"], 7);
    assert_eq!(inspected["identity"]["state"], "founding");
    assert_eq!(inspected["checkpoint"]["revision"], 20 + 6 * (1_u64 << 32));

    let before = contents(&dir);
    conure_fed(&["restore", "-", text(&dir)], &backup)
        .refused(2, &["belongs to a member already", text(&dir)]);
    assert_eq!(contents(&dir), before);
    let other = here.path().join("other");
    for (flag, named) in [
        ("--incarnation=1", "the incarnation \"1\""),
        ("--node-id=a b", "the member's name \"a b\""),
        ("--cluster-id=", "the cluster's id \"\""),
    ] {
        conure_fed(&["restore", flag, "-", text(&other)], &backup).refused(2, &[named]);
    }
    conure(&["restore", text(&here.path().join("none")), text(&other)])
        .refused(2, &["none", "cannot be opened"]);
    std::fs::write(here.path().join("file"), "").unwrap();
    conure_fed(&["restore", "-", text(&here.path().join("file"))], &backup).refused(2, &["file"]);
}

/// What can stand where a directory or a backup should: the words and, for all, exit code 2 and nothing that stays.
#[tokio::test]
async fn odd_targets_are_named_for_what_they_are_and_left_as_they_are() {
    let backup = small_backup().await;
    let here = tempfile::tempdir().unwrap();
    let path = |name: &str| here.path().join(name);
    std::fs::write(path("good"), &backup).unwrap();
    std::fs::write(path("cut"), &backup[..backup.len() / 2]).unwrap();
    std::fs::write(path("file"), "somebody's").unwrap();
    for folder in ["empty", "with-log/log", "other", "with-lock"] {
        std::fs::create_dir_all(path(folder)).unwrap();
    }
    std::fs::write(path("other/mine"), "mine").unwrap();
    std::fs::write(path("with-lock/lock"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();
    let all = || {
        let list = Command::new("find").arg(here.path()).output().unwrap();
        let mut names: Vec<String> =
            String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    let before = all();
    let not_there = "is a symbolic link to \"nowhere\", which is not there";
    for (file, dir, words) in [
        ("good", "file", "is a file, not a directory; name a directory"),
        ("good", "good", "is a file, not a directory"),
        ("good", "file/below", "is a file, not a directory"),
        ("good", "dangling", not_there),
        ("good", "dangling/below", not_there),
        ("good", "with-log", "has a database (\"log\") already"),
        ("empty", "new", "is a directory; name the file"),
        ("absent", "new", "cannot be opened"),
        ("cut", "new", "cut off"),
        ("cut", "new/and/below", "cut off"),
        ("cut", "empty", "cut off"),
        ("cut", "other", "cut off"),
        ("cut", "with-lock", "cut off"),
    ] {
        let ended = conure(&["restore", text(&path(file)), text(&path(dir))]);
        ended.refused(2, &[words]);
        assert_eq!(all(), before, "restore {file} {dir} left something");
    }
    for command in ["restore - new", "load new"] {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec \"$1\" {command} < .; "), "sh", SERVER]).current_dir(here.path());
        let output = shell.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(2) && error.contains("standard input is a directory"),
            "{error}"
        );
        assert_eq!(all(), before, "{command} left something");
    }
    for (dir, words) in [("file", "is a file, not a directory; name a directory"), ("dangling", not_there)] {
        let (code, error) = run(&mut member(&path(dir), &[]));
        assert!(code == Some(2) && error.contains(words), "{code:?} {error}");
    }
    assert_eq!(all(), before);
    conure(&["restore", text(&path("good")), text(&path("new/and/below"))]).good();
}

fn member(dir: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(SERVER);
    command
        .arg(format!("--data-dir={}", dir.display()))
        .arg(format!("--http-addr=127.0.0.1:{}", free_port()))
        .arg(format!("--raft-addr=127.0.0.1:{}", free_port()))
        .args(flags);
    command
}

#[tokio::test]
async fn a_restore_that_was_killed_is_no_members_directory_and_can_be_repeated() {
    let backup = small_backup().await;
    let here = tempfile::tempdir().unwrap();
    let dir = here.path().join("data");
    let mut child = Command::new(SERVER)
        .args(["restore", "-", text(&dir)])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&backup[..backup.len() - 1]).unwrap();
    until("it has begun", async || dir.join("tree.db").exists()).await;
    conure(&["inspect", text(&dir)]).refused(2, &["in use"]);
    child.kill().unwrap();
    child.wait().unwrap();

    let (code, error) = run(&mut member(&dir, &[]));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("broken off") && error.contains("conure-db restore"), "{error}");
    for command in ["inspect", "check", "dump"] {
        conure(&[command, text(&dir)]).refused(2, &["broken off", "repeat"]);
    }
    conure_fed(&["restore", "-", text(&dir)], &backup).good();
    // It holds data, which an arbiter does not.
    let (code, error) = run(&mut member(&dir, &["--role=arbiter"]));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("--role data"), "{error}");
    let mut node = Node::over("node1", &dir, &["--bootstrap=false"]);
    node.restart().await;
    node.until_ready().await;
    assert_eq!(node.client().get(key(19).as_bytes()).await.unwrap().unwrap().bytes, vec![7; 5_000]);
}

#[tokio::test]
async fn a_backup_is_never_written_over_and_needs_the_token() {
    let here = tempfile::tempdir().unwrap();
    let (file, token, wrong) =
        (here.path().join("a.backup"), here.path().join("token"), here.path().join("wrong"));
    std::fs::write(&token, "sesame\n").unwrap();
    std::fs::write(&wrong, "simsim\n").unwrap();
    let node = Node::ready("node1", &[&format!("--admin-token-file={}", token.display())]).await;
    node.client().put(b"a", "1").await.unwrap();
    let url = node.url("");
    conure(&["backup", &url, text(&file)]).refused(1, &["no backup was made", "--admin-token-file"]);
    let flag = |path: &Path| format!("--admin-token-file={}", path.display());
    conure(&["backup", &flag(&wrong), &url, text(&file)]).refused(1, &["no backup was made"]);
    conure(&["backup", &flag(&here.path().join("none")), &url, text(&file)])
        .refused(2, &["--admin-token-file"]);
    conure(&["backup", &flag(&token), &url, text(&file)]).good();
    let first = std::fs::read(&file).unwrap();
    conure(&["backup", &flag(&token), &url, text(&file)]).refused(2, &["is there already", "--force"]);
    node.client().put(b"a", "2").await.unwrap();
    conure(&["backup", "--force", &flag(&token), &url, text(&file)]).good();
    assert_ne!(std::fs::read(&file).unwrap(), first);
    conure(&["backup", &flag(&token), &url, text(here.path())]).refused(2, &["is a directory"]);
    conure(&["backup", &flag(&token), &url, text(&here.path().join("no/where"))])
        .refused(2, &["cannot be made"]);
    conure(&["backup", "https://localhost", text(&file)]).refused(2, &["https://localhost"]);
    let left = std::fs::read_dir(here.path()).unwrap().count();
    assert_eq!(left, 3, "an unfinished file stayed");
}

#[tokio::test]
async fn a_member_that_breaks_off_or_lies_makes_no_backup() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("a.backup");
    let backup = small_backup().await;
    let (half, mut flipped) = (backup[..backup.len() / 2].to_vec(), backup.clone());
    flipped[2_000] ^= 8;
    let nobody = format!("127.0.0.1:{}", free_port());
    conure(&["backup", &nobody, text(&file)]).refused(1, &["no backup was made", &nobody]);
    for (body, declared, named) in [
        (half.clone(), backup.len(), "no backup was made"),
        (half.clone(), half.len(), "cut off"),
        (flipped.clone(), flipped.len(), "damaged"),
        (b"<html>".to_vec(), 6, "no backup"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head = BufReader::new(&stream).lines().map(Result::unwrap);
            let head: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
            assert!(head[0].starts_with("GET /snapshot"));
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {declared}\r\n\r\n").unwrap();
            // A client that has seen enough hangs up.
            let _ = stream.write_all(&body);
        });
        conure(&["backup", &address, text(&file)]).refused(1, &[named]);
        server.join().unwrap();
        assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn an_arbiter_gives_no_backup_and_no_dump() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("a.backup");
    let one = Node::ready("node1", &[]).await;
    one.client().put(b"a", "1").await.unwrap();
    let mut arbiter = Node::start("arbiter", &["--role=arbiter"]).await;
    one.client().join("arbiter", &arbiter.raft_address()).await.unwrap();
    conure(&["backup", &arbiter.url(""), text(&file)]).refused(1, &["no backup was made", "arbiter"]);
    assert!(!file.exists());
    arbiter.stop().await;
    conure(&["dump", text(&arbiter.directory)]).refused(2, &["arbiter"]);
    conure(&["check", text(&arbiter.directory)]).good();
    assert_eq!(
        conure(&["inspect", "--json", text(&arbiter.directory)]).json()["identity"]["role"],
        "arbiter"
    );
}

#[tokio::test]
async fn a_backup_that_is_stopped_leaves_no_file() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("a.backup");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for signal in ["TERM", "INT"] {
        let child = Command::new(SERVER)
            .args(["backup", &address, text(&file)])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It has asked, so it listens to signals and waits.
        let (_stream, _) = listener.accept().unwrap();
        assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 1);
        let sent =
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&ended.stderr).contains(&format!("stopped by SIG{signal}")));
        assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_backup_that_was_killed_is_taken_over_by_the_next_one_and_one_that_runs_is_not() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("a.backup");
    let node = Node::ready("node1", &[]).await;
    node.client().put(b"a", vec![7; 100_000]).await.unwrap();
    // It accepts, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for signal in ["KILL", "HUP"] {
        let mut child =
            Command::new(SERVER).args(["backup", "--force", &address, text(&file)]).spawn().unwrap();
        let (_stream, _) = silent.accept().unwrap();
        conure(&["backup", "--force", &node.url(""), text(&file)])
            .refused(2, &["another backup", text(&file)]);
        let sent =
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success() && !child.wait().unwrap().success());
        // It stops in good order where it is asked to.
        assert_eq!(here.path().join("a.backup.unfinished").exists(), signal == "KILL");
        conure(&["backup", "--force", &node.url(""), text(&file)]).good();
        let left: Vec<String> = contents(here.path()).into_keys().collect();
        assert_eq!(left, [text(&file)], "something stayed after SIG{signal}");
    }
    conure(&["restore", text(&file), text(&here.path().join("restored"))]).good();
}

#[tokio::test]
async fn a_backup_that_meets_the_limit_of_file_sizes_says_so_and_leaves_nothing() {
    let here = tempfile::tempdir().unwrap();
    let node = Node::ready("node1", &[]).await;
    node.client().put(b"a", vec![7; 1_000_000]).await.unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 8; exec \"$@\"", "sh", SERVER, "backup", &node.url(""), "a.backup"]);
    let (code, error) = run(command.current_dir(here.path()));
    assert!(code == Some(1) && error.contains("cannot write the backup: File too large"), "{code:?} {error}");
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
}

#[test]
fn where_it_cannot_go_is_said_before_anything_is_asked_for() {
    let here = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("nowhere", here.path().join("dangling")).unwrap();
    let pipe = Command::new("mkfifo").arg(here.path().join("pipe")).status().unwrap();
    assert!(pipe.success());
    // Nobody listens there: whoever asks ends with code 1.
    let url = format!("http://127.0.0.1:{}", free_port());
    for (file, named) in [
        ("new/", "directory"),
        (".", "directory"),
        ("dangling", "link to nothing"),
        ("pipe", "not a regular file"),
    ] {
        let file = format!("{}/{file}", here.path().display());
        conure(&["backup", "--force", &url, &file]).refused(2, &[named]);
    }
    let shell = |script: &str| {
        let output = Command::new("sh").args(["-c", script, "sh", SERVER, &url]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (closed, named) in [(">&-", "is closed"), ("1</dev/null", "not open for writing")] {
        for command in ["backup \"$2\" -", "dump ./nothing"] {
            let (code, error) = shell(&format!("exec \"$1\" {command} {closed}"));
            assert!(code == Some(1) && error.contains(named), "{command} {closed}: {code:?} {error}");
        }
    }
    // Output that is discarded on purpose is accepted: nobody listens, so the request fails.
    assert_eq!(shell("exec \"$1\" backup \"$2\" - >/dev/null").0, Some(1));
}
