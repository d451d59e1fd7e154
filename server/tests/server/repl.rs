//! The interactive client, from a pipe and on a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use crate::cluster::freeze;
use crate::common::{DEADLINE, Node, cluster, until};

/// Started, with pipes in place of a terminal.
fn started(server: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_repl"))
        .arg(format!("--server={server}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn repl(server: &str, input: &[u8]) -> Output {
    let mut child = started(server);
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
    for bad in ["get absent", "put a", "fly", "get \"\\q\""] {
        let output = repl(&node.url(""), format!("{bad}\nput after 1\nget after\n").as_bytes());
        assert_eq!(output.status.code(), Some(1), "{bad}");
        assert!(String::from_utf8(output.stderr).unwrap().starts_with("line 1: "), "{bad}");
        assert!(output.stdout.ends_with(b"\n1\n"), "{bad}");
    }
    let output = repl("https://localhost:1", b"");
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_quote_goes_on_over_lines_and_nothing_in_it_is_run() {
    let node = Node::ready("solo", &[]).await;
    node.client().put(b"precious", "1").await.unwrap();
    let input = b"put note \"first line\ndelete precious\nlast line\"\nget note\nget precious\n";
    let output = repl(&node.url(""), input);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"ok, revision 2\nfirst line\ndelete precious\nlast line\n1\n");
    // What is wrong in a command ends at its end, and the error names the line where it began.
    for bad in
        [&b"put note \"\\q\ndelete precious\n\""[..], b"put note '\xff\ndelete precious\n'", b"put note\n"]
    {
        let output = repl(&node.url(""), &[b"help\n", bad, b"\nget precious\n"].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.starts_with(b"line 2: ") && output.stdout.ends_with(b"\n1\n"), "{output:?}");
    }
}

#[tokio::test]
async fn after_a_command_without_an_end_or_too_long_nothing_is_run() {
    let node = Node::ready("solo", &[]).await;
    node.client().put(b"precious", "1").await.unwrap();
    let long = [b"# ".to_vec(), vec![b'x'; 17 << 20], b"delete precious\n".to_vec()].concat();
    let long_quote = [&b"put a '"[..], &b"0123456\n".repeat(17 << 17), b"'\ndelete precious\n"].concat();
    let open = b"get precious\nput note \"first line\ndelete precious\n".to_vec();
    let open_escape = b"get precious\nput note \"\\".to_vec();
    for (input, line, ran) in [(long, 1, ""), (long_quote, 1, ""), (open, 2, "1\n"), (open_escape, 2, "1\n")]
    {
        let output = repl_that_may_stop(&node.url(""), input);
        assert_eq!(
            (output.status.code(), String::from_utf8(output.stdout).unwrap().as_str()),
            (Some(1), ran)
        );
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(
            errors.starts_with(&format!("line {line}: ")) && errors.contains("nothing after"),
            "{errors}"
        );
        assert_eq!(node.client().get(b"precious").await.unwrap().unwrap().bytes, "1");
    }
}

/// Like `repl`, where all of the input may not be read.
fn repl_that_may_stop(server: &str, input: Vec<u8>) -> Output {
    let mut child = started(server);
    let mut stdin = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    output
}

#[tokio::test]
async fn it_follows_redirects_and_moves_to_another_member() {
    let mut nodes = cluster(3, &[]).await;
    let output = repl(&nodes[2].url(""), b"put a 1\n");
    assert!(output.status.success(), "{output:?}");

    let mut child = started(&nodes[0].url(""));
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
    let mut child = started(&nodes[0].url(""));
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

const PROMPT: &str = "conure> ";
const PROMPT_GOING_ON: &str = "     -> ";
const UP: &str = "\x1b[A";
const LEFT: &str = "\x1b[D";
const CTRL_D: &str = "\x04";

/// A `repl` on a pseudo-terminal, and whoever types there.
struct Terminal {
    keyboard: File,
    child: Child,
    shown: Arc<Mutex<String>>,
    /// How much of what was shown has been looked at.
    seen: usize,
}

impl Terminal {
    fn open(server: &str, home: &Path) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let screen = || Stdio::from(ioctl_tiocgptpeer(&keyboard, flags).unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_repl"))
            .arg(format!("--server={server}"))
            .env("HOME", home)
            .env("TERM", "xterm")
            .stdin(screen())
            .stdout(screen())
            .stderr(screen())
            .spawn()
            .unwrap();
        let keyboard = File::from(keyboard);
        let shown: Arc<Mutex<String>> = Arc::default();
        let (mut screen, noted) = (keyboard.try_clone().unwrap(), Arc::clone(&shown));
        // Ends with an error once the other side is closed.
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut piece) {
                noted.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        Self { keyboard, child, shown, seen: 0 }
    }

    fn type_(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is shown after what was looked at, and returns what stood before it.
    async fn until_shown(&mut self, text: &str) -> String {
        let (shown, seen) = (Arc::clone(&self.shown), self.seen);
        let new = || shown.lock().unwrap()[seen..].to_owned();
        let began = std::time::Instant::now();
        until(&format!("{text:?} is shown"), async || {
            assert!(began.elapsed() < DEADLINE / 2, "{text:?} is not shown, but {:?}", new());
            new().contains(text)
        })
        .await;
        let new = new();
        let at = new.find(text).unwrap();
        self.seen += at + text.len();
        new[..at].to_owned()
    }

    /// Waits for the prompt, types a line and returns what it was answered.
    async fn answer(&mut self, line: &str) -> String {
        self.until_shown(PROMPT).await;
        self.type_(line);
        self.type_("\r");
        // The echo of the line ends where the cursor leaves it.
        self.until_shown("\n").await;
        self.until_shown("\r\n").await.trim_matches(['\r', '\n']).to_owned()
    }

    /// Waits until the process has left.
    async fn left(mut self) -> std::process::ExitStatus {
        until("repl leaves", async || self.child.try_wait().unwrap().is_some()).await;
        self.child.wait().unwrap()
    }
}

#[tokio::test]
async fn on_a_terminal_lines_are_edited_completed_and_remembered() {
    let node = Node::ready("solo", &[]).await;
    let home = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(&node.url(""), home.path());
    terminal.until_shown("`help` shows the commands").await;
    assert_eq!(terminal.answer("put colour blue").await, "ok, revision 1");
    assert_eq!(terminal.answer(UP).await, "ok, revision 2", "the last command again");
    assert_eq!(terminal.answer(&format!("get colur{LEFT}{LEFT}o")).await, "blue", "a letter in the middle");
    assert_eq!(terminal.answer("gettt\x7f\x7f colour").await, "blue", "two letters taken back");
    assert_eq!(terminal.answer("ge\tcol\t").await, "blue", "a command and a used key are completed");
    assert_eq!(terminal.answer(&format!("{UP}{UP}{UP}{UP}")).await, "ok, revision 3");
    terminal.until_shown(PROMPT).await;
    terminal.type_(CTRL_D);
    assert!(terminal.left().await.success());
    let history = std::fs::read_to_string(home.path().join(".conure_history")).unwrap();
    assert!(history.contains("put colour blue\n"), "{history}");

    let mut terminal = Terminal::open(&node.url(""), home.path());
    assert_eq!(terminal.answer(UP).await, "ok, revision 4", "the history outlives the process");
    // Ctrl-C drops a line, and an unfinished one is not run.
    terminal.until_shown(PROMPT).await;
    terminal.type_("delete colour\x03");
    assert_eq!(terminal.answer("get colour").await, "blue");
    // An open quote goes on after another prompt; Ctrl-C drops all of it.
    for last in ["b\"", "\x03"] {
        terminal.until_shown(PROMPT).await;
        terminal.type_("put colour \"a\r");
        terminal.until_shown(PROMPT_GOING_ON).await;
        terminal.type_("delete colour\r");
        terminal.until_shown(PROMPT_GOING_ON).await;
        terminal.type_(last);
        if last != "\x03" {
            terminal.type_("\r");
            terminal.until_shown("ok, revision 5").await;
        }
    }
    assert_eq!(terminal.answer("get colour").await, "a");
    terminal.until_shown("delete colour\r\nb\r\n").await;
    terminal.until_shown(PROMPT).await;
    terminal.type_("exit\r");
    assert!(terminal.left().await.success());

    // At the end of the input an open quote is an error.
    let mut terminal = Terminal::open(&node.url(""), home.path());
    terminal.until_shown(PROMPT).await;
    terminal.type_("put colour 'a\r");
    terminal.until_shown(PROMPT_GOING_ON).await;
    terminal.type_(CTRL_D);
    terminal.until_shown("a ' is not closed").await;
    assert_eq!(terminal.left().await.code(), Some(1));
}
