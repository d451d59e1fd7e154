//! ConureDB: its processes, its HTTP API, its load.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::http;
use super::load::Load;
use super::system::{Borne, Name, Place, System, Work};

/// How long a member may take to say how it is.
const STATUS: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Conure {
    /// The program.
    pub program: PathBuf,
}

impl System for Conure {
    fn name(&self) -> Name {
        Name::Conure
    }

    fn command(&self, places: &[Place], at: usize, joins: bool) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(place) = places.get(at) {
            command.arg(format!("--node-id={}", place.name())).arg("--data-dir").arg(&place.dir);
            command.arg(format!("--raft-addr={}", place.peer)).arg(format!("--http-addr={}", place.client));
            command.arg(format!("--bootstrap={}", !joins));
        }
        command
    }

    fn announces(&self) -> bool {
        false
    }

    fn founds_together(&self) -> bool {
        false
    }

    fn join_request(&self, place: &Place) -> Vec<u8> {
        http::json("/join", &json!({"ID": place.name(), "RaftAddr": place.peer.to_string()}))
    }

    fn leads(&self, client: SocketAddr) -> Result<bool> {
        let (status, body) = http::ask(client, &http::request("GET", "/status", b""), STATUS)?;
        ensure!(status == 200, "status {status}");
        let answer: Value = serde_json::from_slice(&body)?;
        answer.get("is_leader").and_then(Value::as_bool).context("a status without is_leader")
    }

    fn put_request(&self, key: &str, value: &[u8]) -> Vec<u8> {
        http::request("PUT", &format!("/kv?key={key}"), value)
    }

    fn get_request(&self, key: &str) -> Vec<u8> {
        http::request("GET", &format!("/kv?key={key}"), b"")
    }

    fn has_value(&self, body: &[u8]) -> bool {
        !body.is_empty()
    }

    fn bear(&self, members: &[SocketAddr], work: &Work) -> Result<Borne> {
        let leader = *members.first().context("no members")?;
        let Work { kind, clients, value_len, until } = *work;
        let load = Load { kind, leader, members: members.to_vec(), clients, value_len, until };
        let done = load.run()?;
        let (gets, puts) = (done.gets(), done.puts());
        Ok(Borne { gets, puts, requests: gets.requests + puts.requests })
    }
}
