//! The API over a member in this process, where a test needs times that no setting gives.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conure_client::Client;
use conure_client::api::{JoinAnswer, Suffrage};
use conure_member::{Member, MemberConfig, Tuning};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{App, bind};
use crate::config::{self, Command, Config};
use crate::process::member_config;

fn free_addr() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A member called `name` as its command line says it, and its API, which is served until the test ends.
async fn start(name: &str, directory: &std::path::Path, flag: &str, tuning: Tuning) -> (Config, Member) {
    let arguments = [
        "conure-db".to_owned(),
        format!("--node-id={name}"),
        format!("--data-dir={}", directory.join(name).display()),
        format!("--http-addr={}", free_addr()),
        format!("--raft-addr={}", free_addr()),
        flag.to_owned(),
    ];
    let Command::Run(config) = config::load(arguments.map(OsString::from), &BTreeMap::new()).unwrap() else {
        panic!("the command line runs a member");
    };
    let app = App::new(&config).unwrap();
    let listener = bind(&config.http_addr).await.unwrap();
    tokio::spawn(listener.serve(app.clone(), std::future::pending()));
    let member = MemberConfig { tuning, ..member_config(&config) };
    let member = Member::start(member).await.unwrap();
    app.set_member(member.clone());
    (*config, member)
}

/// An address that leads to `to`, but lets no more than a MiB through on the way there until it is opened.
async fn gate(to: String) -> (String, watch::Sender<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (opener, open) = watch::channel(false);
    let passed = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (to, mut open, passed) = (to.clone(), open.clone(), Arc::clone(&passed));
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(&to).await?;
                let (mut from_near, mut to_near) = near.split();
                let (mut from_far, mut to_far) = far.split();
                let there = async {
                    let mut piece = vec![0; 1 << 16];
                    loop {
                        let length = from_near.read(&mut piece).await?;
                        if length == 0 || open.wait_for(|open| *open || fits(&passed, length)).await.is_err()
                        {
                            return std::io::Result::Ok(());
                        }
                        to_far.write_all(&piece[..length]).await?;
                    }
                };
                tokio::select! {
                    ended = there => ended,
                    ended = tokio::io::copy(&mut from_far, &mut to_near) => ended.map(drop),
                }
            });
        }
    });
    (address, opener)
}

fn fits(passed: &AtomicUsize, length: usize) -> bool {
    passed.fetch_add(length, Ordering::SeqCst) + length <= 1 << 20
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_still_catches_up_is_202_with_its_progress_and_goes_on_when_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let impatient = Tuning { join_patience: Duration::from_millis(100), ..Tuning::default() };
    let (one, leader) = start("node1", directory.path(), "--bootstrap", impatient).await;
    let (two, joining) = start("node2", directory.path(), "--bootstrap=false", Tuning::default()).await;
    let client = Client::new(one.http_advertise_addr.to_string()).unwrap();
    // More entries than a member that counts as caught up may lack, and more bytes than pass the gate.
    for number in 0..200_u8 {
        client.put(&[number], vec![number; 1 << 15]).await.unwrap();
    }
    let (address, opener) = gate(two.raft_addr.to_string()).await;
    let http = reqwest::Client::new();
    let join = async || {
        let request = http.post(format!("http://{}/join", one.http_advertise_addr));
        let request = request.header("content-type", "application/json");
        let answer =
            request.body(format!(r#"{{"ID":"node2","RaftAddr":"{address}"}}"#)).send().await.unwrap();
        let status = answer.status().as_u16();
        assert!(matches!(status, 200 | 202), "{status}: {}", answer.text().await.unwrap());
        (status, answer.json::<JoinAnswer>().await.unwrap())
    };
    let (status, first) = join().await;
    assert_eq!((status, first.id.as_str(), first.suffrage), (202, "node2", Suffrage::Learner));
    assert!(first.last_index >= 200 && first.matched_index < 100, "{first:?}");

    opener.send(true).unwrap();
    let began = Instant::now();
    let last = loop {
        let (status, answer) = join().await;
        if status == 200 {
            break answer;
        }
        assert!(answer.matched_index >= first.matched_index && began.elapsed() < Duration::from_secs(60));
    };
    assert_eq!(last.suffrage, Suffrage::Voter);
    let follower = Client::new(two.http_advertise_addr.to_string()).unwrap();
    assert_eq!(follower.get(&[199]).await.unwrap().unwrap().bytes.len(), 1 << 15);
    joining.shutdown().await;
    leader.shutdown().await;
}
