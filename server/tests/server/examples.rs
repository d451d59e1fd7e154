//! What stands in examples/, run as it stands there: only addresses and directories are this machine's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_yaml::Value;
use tempfile::TempDir;

use crate::common::{Node, SERVER, until};

/// Longer than the process takes at most to stop.
const STOPPED: Duration = conure_member::STOP_MAX.saturating_add(Duration::from_secs(5));

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A member for each name, not started yet.
fn members(here: &TempDir, names: &[String]) -> Vec<Node> {
    let member = |name: &String| {
        let directory = here.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        Node::over(name, &directory.join("data"), &[])
    };
    names.iter().map(member).collect()
}

/// The text with this machine's addresses in the place of the example's.
fn here(text: &str, own: &Node, members: &[Node]) -> String {
    let mut text = text.replace("0.0.0.0:7001", &own.raft_address());
    for member in members {
        text = text.replace(&format!("{}:8081", member.name), &member.address());
        text = text.replace(&format!("{}:7001", member.name), &member.raft_address());
    }
    text
}

fn log_of(member: &Node, command: &mut Command) {
    let log = std::fs::File::create(member.directory.with_file_name("log")).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
}

/// Starts all, the one that starts the cluster last, and writes on the second what is read on the third.
async fn serve(mut members: Vec<Node>, mut commands: Vec<Command>) {
    for at in [1, 2, 0] {
        let mut command = std::mem::replace(&mut commands[at], Command::new("true"));
        log_of(&members[at], &mut command);
        members[at].start_as(command).await;
    }
    for member in &members {
        until(&format!("{} sees three members", member.name), async || {
            member.client().raft_config().await.is_ok_and(|config| config.members.len() == 3)
        })
        .await;
        member.until_ready().await;
    }
    members[1].client().put(b"hello", "world").await.unwrap();
    assert_eq!(members[2].client().get(b"hello").await.unwrap().unwrap().bytes, "world");
    for member in &members {
        assert!(!member.log().contains(" WARN conure"), "{}", member.log());
    }
    for member in &mut members {
        member.stop().await;
    }
}

#[tokio::test]
async fn the_compose_file_makes_a_cluster() {
    let mut file: Value = serde_yaml::from_str(&example("compose.yaml")).unwrap();
    file.apply_merge().unwrap();
    let dockerfile =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Dockerfile.server"));
    let dockerfile = dockerfile.unwrap();
    let services = file["services"].as_mapping().unwrap();
    let names: Vec<String> = services.keys().map(|name| name.as_str().unwrap().to_owned()).collect();
    let here_is = tempfile::tempdir().unwrap();
    let nodes = members(&here_is, &names);
    let mut commands = Vec::new();
    for (name, node) in names.iter().zip(&nodes) {
        let service = &services[name.as_str()];
        assert_eq!(service["build"]["dockerfile"], "Dockerfile.server");
        let volume = service["volumes"][0].as_str().unwrap().strip_prefix(&format!("{name}:")).unwrap();
        assert!(dockerfile.contains(&format!("\nVOLUME {volume}\n")), "{volume}");
        assert!(volume.ends_with("/data") && dockerfile.contains("\nWORKDIR /var/lib/conuredb\n"));
        assert!(file["volumes"].get(name.as_str()).is_some(), "{name}");
        assert!(service["ports"][0].as_str().unwrap().ends_with(":8081"));
        let grace = humantime::parse_duration(service["stop_grace_period"].as_str().unwrap()).unwrap();
        assert!(grace >= STOPPED, "{grace:?}");

        let mut command = Command::new(SERVER);
        command.current_dir(node.directory.parent().unwrap());
        for (variable, value) in service["environment"].as_mapping().unwrap() {
            command.env(variable.as_str().unwrap(), here(value.as_str().unwrap(), node, &nodes));
        }
        command.env("CONURE_HTTP_ADDR", node.address());
        commands.push(command);
    }
    serve(nodes, commands).await;
}

/// The settings of a unit's section, the last of each name.
fn section<'a>(unit: &'a str, name: &str) -> BTreeMap<&'a str, &'a str> {
    let mut lines = unit.lines().skip_while(|line| *line != format!("[{name}]"));
    lines.next().unwrap();
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect()
}

/// The shared file as one of the machines has it.
fn shared_file(own: &Node, members: &[Node]) -> PathBuf {
    let text = here(&example("conure-db.yaml"), own, members);
    let text = text.replace("\":8081\"", &format!("\"{}\"", own.address()));
    let text = text.replace("/var/lib/conuredb/data", own.directory.to_str().unwrap());
    let path = own.directory.with_file_name("conure-db.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn the_unit_of_systemd_makes_a_cluster() {
    let unit = example("conure-db.service");
    let service = section(&unit, "Service");
    let stop: u64 = service["TimeoutStopSec"].parse().unwrap();
    assert!(Duration::from_secs(stop) >= STOPPED, "{stop}");
    assert_eq!((service["Restart"], service["RestartPreventExitStatus"]), ("on-failure", "2 3"));
    assert_eq!(service["StateDirectory"], "conuredb");
    let first = "CONURE_BOOTSTRAP=true";
    assert!(unit.contains(first) && service["EnvironmentFile"].starts_with("-/etc/conuredb/"));

    let here_is = tempfile::tempdir().unwrap();
    let nodes = members(&here_is, &["db1", "db2", "db3"].map(str::to_owned));
    let mut commands = Vec::new();
    for node in &nodes {
        let file = shared_file(node, &nodes);
        let mut words = service["ExecStart"].split(' ');
        assert_eq!(words.next(), Some("/usr/local/bin/conure-db"));
        let mut command = Command::new(SERVER);
        for word in words {
            let word = word.replace("%H", &node.name);
            let word = word.replace("/etc/conuredb/conure-db.yaml", file.to_str().unwrap());
            command.arg(here(&word, node, &nodes));
        }
        if node.name == "db1" {
            let (variable, value) = first.split_once('=').unwrap();
            command.env(variable, value);
        }
        commands.push(command);
    }
    serve(nodes, commands).await;
}
