//! Members with few file descriptors and many idle connections.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{DEADLINE, Node, until};

/// Enough for several checkpoints, in which the log and the database open files.
const PUTS: u32 = 350;

/// A process that ends with its owner.
struct Limited(Child);

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The member that `node` describes, with that limit of open files.
fn limited(node: &Node, files: usize) -> Limited {
    let member = node.command();
    let child = Command::new("prlimit")
        .arg(format!("--nofile={files}:{files}"))
        .arg(member.get_program())
        .args(member.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Limited(child.unwrap())
}

async fn put(stream: &mut TcpStream, number: u32) -> String {
    let request = format!("PUT /kv?key={number}&value=v HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = timeout(DEADLINE, stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// Up to `count` connections that send nothing.
async fn idle(address: &str, count: usize) -> Vec<TcpStream> {
    let mut idle = Vec::new();
    for _ in 0..count {
        // Where the queue is full the kernel keeps whoever comes waiting.
        match timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => idle.push(stream),
            _ => break,
        }
    }
    idle
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_end_no_member_however_few_its_descriptors_are() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    for files in [64, 256, 512, 1024] {
        let here = tempfile::tempdir().unwrap();
        let node = Node::over("solo", &here.path().join("data"), &["--checkpoint-entries=100"]);
        let mut member = limited(&node, files);
        until("it is ready", async || node.client().readyz(None).await.is_ok_and(|probe| probe.ok)).await;
        let mut stream = TcpStream::connect(node.address()).await.unwrap();
        assert!(put(&mut stream, 0).await.starts_with("HTTP/1.1 200 "), "{files}");
        let http = idle(&node.address(), files + 200).await;
        let raft = idle(&node.raft_address(), files).await;
        // More than each of them may have; where the machine is busy, not all are taken.
        assert!(http.len() >= files / 2 && raft.len() > files / 8, "{files}: {} {}", http.len(), raft.len());
        for number in 1..PUTS {
            let answer = put(&mut stream, number).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{files}, put {number}: {answer}");
        }
        assert!(member.0.try_wait().unwrap().is_none(), "{files}");
        drop((http, raft));
        until("there is room again", async || {
            node.client().get(b"349").await.is_ok_and(|found| found.is_some_and(|found| found.bytes == "v"))
        })
        .await;
    }
}
