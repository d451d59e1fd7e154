//! `--join`: whom a member asks to join it.

use std::net::IpAddr;

use conure_client::{ClientError, Server};

use super::setting::Setting;
use super::{Addr, ConfigError};

/// How many servers may be listed.
const SERVERS_MAX: usize = 32;
const MEND: &str =
    "give the HTTP addresses of other members, separated by commas, such as http://10.0.0.7:8081";

/// Whom a member that is in no cluster asks to join it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The servers as they were listed, each once, without this member itself.
    pub servers: Vec<Server>,
    setting: Setting,
}

impl Join {
    /// Reads a list. `own` is where this member's HTTP API is: what it binds, and what it advertises.
    pub(super) fn parse(setting: &Setting, own: [&Addr; 2]) -> Result<Self, ConfigError> {
        let texts: Vec<&str> =
            setting.value.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
        if texts.is_empty() {
            return Err(setting.error("it names no server", MEND));
        }
        if texts.len() > SERVERS_MAX {
            let reason = format!("it names {} servers", texts.len());
            return Err(
                setting.error(reason, format!("name at most {SERVERS_MAX}; one that is up is enough"))
            );
        }
        let mut servers = Vec::new();
        for text in texts {
            let (server, addr) = server(text).map_err(|reason| setting.error(reason, MEND))?;
            if !own.iter().any(|own| is_same(own, &addr)) && !servers.contains(&server) {
                servers.push(server);
            }
        }
        Ok(Self { servers, setting: setting.clone() })
    }

    /// What is wrong where a member that is in no cluster, and founds none, has nobody to ask.
    #[must_use]
    pub fn nobody(&self) -> ConfigError {
        self.setting.error(
            "it names nobody but this member itself, which is in no cluster",
            "name another member, or start the cluster's first member with --bootstrap",
        )
    }
}

/// A server, and its host and port. The port has to be there: HTTP's own, 80, is nobody's intent.
fn server(text: &str) -> Result<(Server, Addr), String> {
    let server: Server = text.parse().map_err(|error| match error {
        ClientError::Address { reason, .. } => format!("{text:?} is not the address of a server: {reason}"),
        other => other.to_string(),
    })?;
    let bad = |reason: String| format!("{text:?} is not the address of a server: {reason}");
    let given = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    Addr::parse(given).map_err(bad)?;
    // The client's form of it, in which equal hosts are written alike.
    let written = server.to_string();
    let addr = Addr::parse(written.trim_start_matches("http://")).map_err(bad)?;
    Ok((server, addr))
}

/// Whether `addr` leads to what listens at, or is advertised as, `own`.
fn is_same(own: &Addr, addr: &Addr) -> bool {
    if own.port != addr.port {
        return false;
    }
    let here = |host: &str| {
        let ip: Option<IpAddr> = host.parse().ok();
        host.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified())
    };
    if own.is_unspecified() {
        return here(&addr.host);
    }
    let name = |host: &str| match host {
        "127.0.0.1" | "::1" => "localhost".to_owned(),
        host => host.to_ascii_lowercase(),
    };
    name(&own.host) == name(&addr.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str, own: &str) -> Result<Join, ConfigError> {
        let setting = Setting { key: "--join".into(), value: value.into() };
        let own = Addr::parse(own).unwrap();
        Join::parse(&setting, [&own, &Addr::parse("Db1.example.org:8081").unwrap()])
    }

    fn servers(value: &str, own: &str) -> Vec<String> {
        parse(value, own).unwrap().servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn servers_are_listed_once_with_or_without_a_scheme() {
        let listed = servers(" http://a:8081, a:8081/ ,b:8082,,[::1]:9", ":8081");
        assert_eq!(listed, ["http://a:8081", "http://b:8082", "http://[::1]:9"]);
    }

    #[test]
    fn an_own_address_is_skipped_however_it_is_written() {
        for (own, listed) in [
            (":8081", "localhost:8081,127.0.0.1:8081,[::1]:8081,127.0.0.9:8081,0.0.0.0:8081"),
            ("0.0.0.0:8081", "http://LOCALHOST:8081"),
            ("127.0.0.1:8081", "localhost:8081,127.0.0.1:8081"),
            ("10.0.0.7:8081", "10.0.0.7:8081"),
            (":1", "http://db1.example.org:8081"),
        ] {
            let join = parse(listed, own).unwrap();
            assert!(join.servers.is_empty(), "{own} {listed}: {join:?}");
            let error = join.nobody().to_string();
            assert!(
                error.starts_with(&format!("--join {listed:?}: ")) && error.contains("--bootstrap"),
                "{error}"
            );
        }
        for (own, listed) in [
            (":8081", "localhost:8082,10.0.0.7:8081"),
            ("127.0.0.1:8081", "127.0.0.2:8081,a:8081"),
            ("10.0.0.7:8081", "10.0.0.8:8081,localhost:8081"),
        ] {
            assert_eq!(parse(listed, own).unwrap().servers.len(), 2, "{own} {listed}");
        }
    }

    #[test]
    fn what_is_no_server_is_named() {
        let many = vec!["a:1"; SERVERS_MAX + 1].join(",");
        for (value, named) in [
            ("a:1,b", "\"b\" is not the address of a server: it has no port"),
            ("http://b", "no port"),
            ("a:1,https://b:1", "only http://"),
            ("http://a:1/kv", "no path"),
            ("u:p@a:1", "user name"),
            ("a:99999", "\"a:99999\""),
            ("a:0", "port 0"),
            (",", "names no server"),
            (&many, "names 33 servers"),
        ] {
            let error = parse(value, ":8081").unwrap_err().to_string();
            assert!(error.starts_with(&format!("--join {value:?}: ")) && error.contains(named), "{error}");
        }
    }
}
