//! Flags and environment variables.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

/// The ConureDB operator: turns ConureCluster resources into running clusters.
#[derive(Debug, Clone, Parser)]
#[command(name = "conure-operator", version)]
pub struct Config {
    /// The namespace to watch; unset or empty, all of them.
    #[arg(long, env = "WATCH_NAMESPACE")]
    pub watch_namespace: Option<String>,

    /// The server's image for clusters that name neither tag nor digest.
    #[arg(
        long,
        env = "CONURE_SERVER_IMAGE",
        default_value = concat!("conuredb/conuredb:v", env!("CARGO_PKG_VERSION"))
    )]
    pub server_image: String,

    /// Where `/livez`, `/readyz` and `/metrics` are served; `[::]` means both families, or IPv4 where there is no IPv6.
    #[arg(long, env = "CONURE_OPERATOR_HTTP_ADDR", default_value = "[::]:8080")]
    pub http_addr: SocketAddr,

    /// Whether only the holder of a Lease works. Without it, run one operator only.
    #[arg(long, env = "LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_election: bool,

    /// The Lease's name.
    #[arg(long, env = "LEASE_NAME", default_value = "conure-operator")]
    pub lease_name: String,

    /// The Lease's namespace, which is the operator's own; unset, the one of the kubeconfig.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: Option<String>,

    /// This process's name in Leases and events; unset, the host's name.
    #[arg(long, env = "POD_NAME")]
    pub instance: Option<String>,

    /// How many clusters are worked on at a time.
    #[arg(long, env = "CONURE_OPERATOR_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,

    /// How log lines are written.
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged, as tracing's `EnvFilter` takes it.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// The namespace to watch, `None` for all.
    pub fn watched(&self) -> Option<&str> {
        self.watch_namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_well_formed() {
        Config::command().debug_assert();
    }

    #[test]
    fn an_empty_namespace_means_all() {
        let parse = |args: &[&str]| Config::try_parse_from(args).unwrap();
        assert_eq!(parse(&["x", "--watch-namespace="]).watched(), None);
        assert_eq!(parse(&["x", "--watch-namespace=db"]).watched(), Some("db"));
        assert!(Config::try_parse_from(["x", "--concurrency=0"]).is_err());
    }
}
