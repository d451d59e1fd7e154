//! etcd: its processes, its HTTP gateway for single requests, its own tool for loads.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::http;
use super::load::{Kind, Until, key};
use super::system::{Borne, Name, Place, System, Work};
use super::tool;

/// How long a member may take to say how it is.
const STATUS: Duration = Duration::from_secs(1);

/// On how many connections its tool multiplexes its clients at most, as in etcd's published numbers.
const CONNECTIONS_MAX: usize = 100;

/// See the module.
#[derive(Debug)]
pub struct Etcd {
    /// The server.
    pub program: PathBuf,
    /// Its tool `benchmark`.
    pub tool: PathBuf,
}

impl System for Etcd {
    fn name(&self) -> Name {
        Name::Etcd
    }

    fn command(&self, places: &[Place], at: usize, joins: bool) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(place) = places.get(at) {
            let cluster: Vec<_> =
                places.iter().map(|place| format!("{}=http://{}", place.name(), place.peer)).collect();
            command.arg(format!("--name={}", place.name())).arg("--data-dir").arg(&place.dir);
            command.arg(format!("--listen-client-urls=http://{}", place.client));
            command.arg(format!("--advertise-client-urls=http://{}", place.client));
            command.arg(format!("--listen-peer-urls=http://{}", place.peer));
            command.arg(format!("--initial-advertise-peer-urls=http://{}", place.peer));
            command.arg(format!("--initial-cluster={}", cluster.join(",")));
            command.arg(format!("--initial-cluster-state={}", if joins { "existing" } else { "new" }));
            command.arg("--log-level=error");
        }
        command
    }

    fn announces(&self) -> bool {
        true
    }

    fn founds_together(&self) -> bool {
        true
    }

    fn join_request(&self, place: &Place) -> Vec<u8> {
        http::json("/v3/cluster/member/add", &json!({"peerURLs": [format!("http://{}", place.peer)]}))
    }

    fn leads(&self, client: SocketAddr) -> Result<bool> {
        let (status, body) = http::ask(client, &http::json("/v3/maintenance/status", &json!({})), STATUS)?;
        ensure!(status == 200, "status {status}");
        let answer: Value = serde_json::from_slice(&body)?;
        let own = answer.pointer("/header/member_id").context("a status without a member")?;
        Ok(answer.get("leader") == Some(own))
    }

    fn put_request(&self, key: &str, value: &[u8]) -> Vec<u8> {
        http::json("/v3/kv/put", &json!({"key": STANDARD.encode(key), "value": STANDARD.encode(value)}))
    }

    fn get_request(&self, key: &str) -> Vec<u8> {
        http::json("/v3/kv/range", &json!({"key": STANDARD.encode(key)}))
    }

    fn has_value(&self, body: &[u8]) -> bool {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        answer.pointer("/kvs/0/value").is_some()
    }

    fn bear(&self, members: &[SocketAddr], work: &Work) -> Result<Borne> {
        let endpoints: Vec<_> = members.iter().map(SocketAddr::to_string).collect();
        let run = |total: u64| {
            let mut command = Command::new(&self.tool);
            command.arg("--precise").arg(format!("--endpoints={}", endpoints.join(",")));
            command.arg(format!("--clients={}", work.clients));
            command.arg(format!("--conns={}", work.clients.min(CONNECTIONS_MAX)));
            command.args(arguments(work)).arg(format!("--total={total}"));
            tool::run(&mut command, work.kind == Kind::Mix)
        };
        match work.until {
            Until::Requests(total) => run(total),
            Until::Time(time) => {
                // The tool counts requests, so a short run says how many fit.
                let probe = run((work.clients as u64 * 10).max(200))?;
                let rate = probe.gets.rate + probe.puts.rate;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
                let borne = run((rate * time.as_secs_f64()).max(100.0) as u64)?;
                Ok(Borne { requests: probe.requests + borne.requests, ..borne })
            }
        }
    }
}

fn arguments(work: &Work) -> Vec<String> {
    let value = format!("--val-size={}", work.value_len);
    let words: Vec<String> = match work.kind {
        Kind::Put | Kind::Nothing => {
            let keys = "--key-space-size=100000000";
            ["--target-leader", "put", "--key-size=8", "--sequential-keys", keys, &value]
                .map(str::to_owned)
                .to_vec()
        }
        Kind::Get => ["range", &key(0), "--consistency=l"].map(str::to_owned).to_vec(),
        Kind::StaleGet => ["range", &key(0), "--consistency=s"].map(str::to_owned).to_vec(),
        // It reads a range of all keys: there is one when this is measured.
        Kind::Mix => ["txn-mixed", &key(0), "--rw-ratio=9", "--limit=1", "--key-size=8", &value]
            .map(str::to_owned)
            .to_vec(),
    };
    words
}
