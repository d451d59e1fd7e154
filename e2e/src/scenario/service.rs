//! A key by plain curl through the Service: from a pod, and from outside by a port-forward.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::world::{NAMESPACE, World};

pub(super) async fn plain_curl_writes_and_reads_through_the_service(world: &mut World) -> Result<()> {
    let url = "http://conure:8081/kv?key=greeting";
    // Through the Service each request may meet another member, so every one must serve both.
    for round in 0..6 {
        let body = format!("hello {round}");
        let written = in_pod(world, &["-X", "PUT", "--data-binary", &body, url]).await?;
        ensure!(written.contains("\"revision\""), "PUT answered {written:?}");
        let read = in_pod(world, &[url]).await?;
        ensure!(read == body, "GET answered {read:?}, not {body:?}");
    }
    let config = in_pod(world, &["localhost:8081/raft/config"]).await?;
    ensure!(config.contains("conure-bootstrap-0"), "GET /raft/config answered {config:?}");
    let absent =
        in_pod(world, &["-o", "/dev/null", "-w", "%{http_code}", "http://conure:8081/kv?key=absent"]).await;
    ensure!(absent.as_deref().is_ok_and(|code| code == "404"), "an absent key answered {absent:?}");

    let forward = port_forward(world).await?;
    let mut curl = std::process::Command::new("curl");
    curl.args([
        "-sS",
        "--fail-with-body",
        "--max-time",
        "10",
        &format!("http://{}/kv?key=greeting", forward.address),
    ]);
    let outside =
        tokio::task::spawn_blocking(move || crate::process::output(&mut curl, Duration::from_secs(15)));
    let read = outside.await??;
    ensure!(read == "hello 5", "through the port-forward GET answered {read:?}");
    Ok(())
}

async fn in_pod(world: &World, curl: &[&str]) -> Result<String> {
    let mut arguments =
        vec!["--namespace", NAMESPACE, "exec", "conure-bootstrap-0", "--", "curl", "-sS", "--max-time", "10"];
    arguments.extend(curl);
    world.access.kubectl(&arguments).await
}

/// As `docker run IMAGE --node-id=node1 --bootstrap` would: no configuration, no volume, the image's own user.
pub(super) async fn server_image_runs_alone_with_nothing_else_said(world: &mut World) -> Result<()> {
    let image = &world.settings.server_image;
    let image = format!("--image={}:{}", image.repository, image.tag);
    let run = ["--namespace", NAMESPACE, "run", "alone", "--restart=Never", &image, "--", "--node-id=node1"];
    world.access.kubectl(&[run.as_slice(), &["--bootstrap"]].concat()).await?;
    let wait = ["--namespace", NAMESPACE, "wait", "pod/alone", "--for=condition=Ready", "--timeout=60s"];
    world.access.kubectl(&wait).await?;
    let curl = async |arguments: &[&str]| {
        let exec = ["--namespace", NAMESPACE, "exec", "alone", "--", "curl", "-sS", "--fail-with-body"];
        world.access.kubectl(&[exec.as_slice(), arguments].concat()).await
    };
    crate::kubernetes::until("the member is ready", Duration::from_secs(30), async || {
        curl(&["localhost:8081/readyz"]).await
    })
    .await?;
    curl(&["-X", "PUT", "localhost:8081/kv?key=hello", "-d", "world"]).await?;
    let read = curl(&["localhost:8081/kv?key=hello"]).await?;
    ensure!(read == "world", "GET answered {read:?}");
    let id = world.access.kubectl(&["--namespace", NAMESPACE, "exec", "alone", "--", "id", "-u"]).await?;
    ensure!(id.trim() != "0", "the image runs as root");
    world.access.kubectl(&["--namespace", NAMESPACE, "delete", "pod", "alone", "--timeout=60s"]).await?;
    Ok(())
}

/// A running `kubectl port-forward`, ended when it is dropped. Its output stays open, for it dies when it cannot write.
struct Forward {
    _process: Child,
    _output: Lines<BufReader<ChildStdout>>,
    address: String,
}

async fn port_forward(world: &World) -> Result<Forward> {
    let mut command = Command::from(world.access.kubectl_command());
    command.args(["--namespace", NAMESPACE, "port-forward", "service/conure", ":8081"]);
    let mut child = command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("port-forward has no output")?).lines();
    let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line())
        .await
        .context("kubectl port-forward said nothing for 20 s")??
        .context("kubectl port-forward ended")?;
    let address = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split_whitespace().next());
    let address = address.with_context(|| format!("kubectl port-forward said {line:?}"))?.to_owned();
    Ok(Forward { _process: child, _output: lines, address })
}
