//! Layers, defaults, and what is said of bad values.

use std::io::Write as _;

use super::*;

fn run(args: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let args = std::iter::once("conure-db").chain(args.iter().copied()).map(OsString::from);
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(*value))).collect();
    match load(args, &environment)? {
        Command::Run(config) => Ok(*config),
        other => panic!("{other:?}"),
    }
}

fn yaml(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn without_anything_the_defaults_hold() {
    let config = run(&[], &[]).unwrap();
    assert_eq!(config.node_id, "node1");
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!(config.raft_advertise_addr.to_string(), "127.0.0.1:7001");
    assert_eq!(config.http_addr.to_string(), ":8081");
    assert_eq!(config.http_advertise_addr.to_string(), "127.0.0.1:8081");
    assert!(config.bootstrap);
    assert_eq!(config.barrier_timeout, Duration::from_secs(3));
    assert_eq!((config.checkpoint_entries, config.log_keep_entries), (50_000, 5_000));
    assert_eq!(config.election_timeout, Duration::from_millis(600));
    assert_eq!(config.heartbeat_interval, Duration::from_millis(100));
    assert_eq!(config.snapshot_rate, Some(64 << 20));
    assert_eq!(config.disk_reserve, None);
    assert_eq!(config.role, Role::Data);
    assert_eq!(config.leader_routing, LeaderRouting::Redirect);
    assert_eq!(config.admin_token_file, None);
}

#[test]
fn flags_win_over_environment_and_environment_over_the_file() {
    let file = yaml("node_id: from-file\ndata_dir: /file\nrole: arbiter\nbootstrap: false\n");
    let path = file.path().to_str().unwrap();
    let environment = [("CONURE_NODE_ID", "from-env"), ("CONURE_DATA_DIR", "/env"), ("CONURE_ROLE", "")];
    let config = run(&["--config", path, "--node-id=from-flag"], &environment).unwrap();
    assert_eq!(config.node_id, "from-flag");
    assert_eq!(config.data_dir, PathBuf::from("/env"));
    assert_eq!(config.role, Role::Arbiter);
    assert!(!config.bootstrap);
    let config = run(&[], &[("CONURE_CONFIG", path)]).unwrap();
    assert_eq!(config.node_id, "from-file");
}

#[test]
fn bootstrap_stands_alone_or_with_a_value() {
    assert!(run(&["--bootstrap"], &[("CONURE_BOOTSTRAP", "false")]).unwrap().bootstrap);
    assert!(run(&["--bootstrap=true"], &[]).unwrap().bootstrap);
    assert!(!run(&["--bootstrap=false"], &[]).unwrap().bootstrap);
    assert!(!run(&[], &[("CONURE_BOOTSTRAP", "false")]).unwrap().bootstrap);
}

#[test]
fn one_that_joins_founds_a_cluster_only_where_that_is_asked_for() {
    let listed = |config: &Config| {
        config.join.as_ref().unwrap().servers.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let config = run(&["--join=a:1,http://b:2"], &[]).unwrap();
    assert!(!config.bootstrap);
    assert_eq!(listed(&config), ["http://a:1", "http://b:2"]);
    assert!(run(&["--join=a:1", "--bootstrap"], &[]).unwrap().bootstrap);
    assert!(run(&["--bootstrap"], &[("CONURE_JOIN", "a:1")]).unwrap().bootstrap);
    assert!(!run(&["--bootstrap=false"], &[("CONURE_JOIN", "a:1")]).unwrap().bootstrap);
    for text in ["join: [a:1, http://b:2]\n", "join: a:1,http://b:2\n"] {
        let file = yaml(text);
        let path = format!("--config={}", file.path().display());
        let config = run(&[&path], &[]).unwrap();
        assert!(!config.bootstrap);
        assert_eq!(listed(&config), ["http://a:1", "http://b:2"]);
        assert!(run(&[&path, "--bootstrap"], &[]).unwrap().bootstrap);
        assert!(run(&[&path], &[("CONURE_BOOTSTRAP", "true")]).unwrap().bootstrap);
    }
    let file = yaml("join: {a: 1}\n");
    let error = run(&["--config", file.path().to_str().unwrap()], &[]).unwrap_err().to_string();
    assert!(error.contains("join takes a list of servers"), "{error}");
}

#[test]
fn redirects_name_the_advertised_host_with_the_http_port() {
    let args = ["--raft-addr=0.0.0.0:7001", "--raft-advertise-addr=conure-0.conure-peers.ns.svc:7001"];
    let config = run(&args, &[]).unwrap();
    assert_eq!(config.http_advertise_addr.to_string(), "conure-0.conure-peers.ns.svc:8081");
    let config = run(&["--raft-addr=[::1]:7001", "--http-addr=:9"], &[]).unwrap();
    assert_eq!(config.http_advertise_addr.to_string(), "[::1]:9");
}

#[test]
fn a_bad_value_is_named_with_its_key_and_mend_in_one_line() {
    let bad = [
        ("node-id", "a b"),
        ("node-id", ""),
        ("data-dir", ""),
        ("raft-addr", "localhost"),
        ("raft-addr", "0.0.0.0:7001"),
        ("raft-addr", "http://127.0.0.1:7001"),
        ("http-addr", "http://:8081"),
        ("raft-advertise-addr", ":7001"),
        ("http-addr", "8081"),
        ("http-addr", ":99999"),
        ("http-advertise-addr", "[::]:1"),
        ("http-allowed-hosts", "a.example:80"),
        ("bootstrap", "yes"),
        ("join", "https://a:1"),
        ("join", "http://a:1/kv"),
        ("join", "http://u:p@a:1"),
        ("join", "a"),
        ("join", ""),
        ("cluster-id", "a b"),
        ("barrier-timeout", "3"),
        ("barrier-timeout", "0s"),
        ("barrier-timeout", "11m"),
        ("checkpoint-entries", "99"),
        ("checkpoint-entries", "many"),
        ("log-keep-entries", "-1"),
        ("election-timeout", "99ms"),
        ("election-timeout", "61s"),
        ("election-timeout", "1"),
        ("heartbeat-interval", "9ms"),
        ("heartbeat-interval", "soon"),
        ("snapshot-rate", "1"),
        ("snapshot-rate", "64MB"),
        ("snapshot-rate", "-1"),
        ("snapshot-rate", "99999999999GiB"),
        ("disk-reserve", "1"),
        ("disk-reserve", "0"),
        ("disk-reserve", "5%"),
        ("disk-reserve", "2GB"),
        ("role", "voter"),
        ("leader-routing", "proxy"),
        ("admin-token-file", ""),
        ("log-format", "xml"),
        ("log-level", "loud"),
        ("log-level", "info,x=loud"),
    ];
    for (key, value) in bad {
        let error = run(&[&format!("--{key}={value}")], &[]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("--{key} {value:?}: ")), "{error}");
        assert!(error.contains("; ") && !error.contains('\n'), "{error}");
        if !value.is_empty() {
            let variable = format!("CONURE_{}", key.replace('-', "_").to_uppercase());
            let error = run(&[], &[(&variable, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{variable} {value:?}: ")), "{error}");
        }
        if key != "bootstrap" && key != "http-allowed-hosts" {
            let key = key.replace('-', "_");
            let file = yaml(&format!("{key}: '{value}'\n"));
            let error = run(&["--config", file.path().to_str().unwrap()], &[]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key} in {} {value:?}: ", file.path().display())), "{error}");
        }
    }
}

#[test]
fn heartbeats_fit_into_the_election_timeout() {
    let config = run(&["--election-timeout=5s", "--heartbeat-interval=1s"], &[]).unwrap();
    assert_eq!(
        (config.election_timeout, config.heartbeat_interval),
        (Duration::from_secs(5), Duration::from_secs(1))
    );
    let error = run(&["--heartbeat-interval=200ms"], &[]).unwrap_err().to_string();
    assert!(error.starts_with("--heartbeat-interval \"200ms\": ") && error.contains("600ms"), "{error}");
    let error = run(&["--election-timeout=400ms"], &[]).unwrap_err().to_string();
    assert!(error.starts_with("--heartbeat-interval \"100ms\": ") && error.contains("400ms"), "{error}");
}

#[test]
fn a_rate_is_bytes_with_a_unit() {
    for (text, rate) in [
        ("0", None),
        ("1048576", Some(1 << 20)),
        ("1MiB", Some(1 << 20)),
        ("2Gi", Some(2 << 30)),
        ("2048KiB", Some(2 << 20)),
    ] {
        assert_eq!(run(&["--snapshot-rate", text], &[]).unwrap().snapshot_rate, rate, "{text}");
    }
    assert_eq!(run(&["--disk-reserve=16MiB"], &[]).unwrap().disk_reserve, Some(16 << 20));
    assert_eq!(run(&[], &[("CONURE_DISK_RESERVE", "3Gi")]).unwrap().disk_reserve, Some(3 << 30));
}

#[test]
fn an_unknown_flag_is_one_line_with_a_tip() {
    let error = run(&["--raft-adr=127.0.0.1:1"], &[]).unwrap_err().to_string();
    assert!(
        error.contains("--raft-adr") && error.contains("--raft-addr'") && !error.contains('\n'),
        "{error}"
    );
    for args in [vec!["stray"], vec!["--node-id"], vec!["--node-id=a", "--node-id=b"], vec!["wait"]] {
        let error = run(&args, &[]).unwrap_err().to_string();
        assert!(!error.contains('\n') && !error.is_empty(), "{error}");
    }
}

#[test]
fn an_unknown_or_missing_file_and_key_are_named() {
    let error = run(&["--config=/nowhere.yaml"], &[]).unwrap_err().to_string();
    assert!(error.starts_with("--config \"/nowhere.yaml\": cannot be read"), "{error}");
    for (text, named) in
        [("raftaddr: a", "raftaddr"), ("bootstrap: maybe", "maybe"), ("- a\n", "sequence"), ("a: [", "line")]
    {
        let file = yaml(text);
        let error = run(&["--config", file.path().to_str().unwrap()], &[]).unwrap_err().to_string();
        assert!(error.contains(named) && error.starts_with("--config ") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn unknown_variables_are_reported_but_those_of_a_service_are_not() {
    let of_services = [
        ("CONURE_SERVICE_HOST", "10.0.0.1"),
        ("CONURE_SERVICE_PORT", "8081"),
        ("CONURE_SERVICE_PORT_HTTP", "8081"),
        ("CONURE_PORT", "tcp://10.0.0.1:8081"),
        ("CONURE_PORT_8081_TCP", "tcp://10.0.0.1:8081"),
        ("CONURE_PORT_8081_TCP_PROTO", "tcp"),
        ("CONURE_PORT_8081_TCP_PORT", "8081"),
        ("CONURE_PORT_8081_TCP_ADDR", "10.0.0.1"),
        ("CONURE_A_HTTP_SERVICE_HOST", "10.0.0.1"),
        ("CONURE_A_HTTP_PORT", "tcp://10.0.0.1:8081"),
        ("CONURE_A_HTTP_PORT_8081_UDP_PORT", "8081"),
        ("PATH", "/"),
    ];
    let mistakes = [
        ("CONURE_HTTP_PORT", "9"),
        ("CONURE_NODEID", "a"),
        ("CONURE_PORT_OF_HTTP", "9"),
        ("CONURE_RAFT_PORT", "7001"),
        ("CONURE_SERVICE_ACCOUNT", "a"),
    ];
    let environment: Vec<_> = of_services.into_iter().chain(mistakes).collect();
    let unknown = run(&[], &environment).unwrap().unknown_variables;
    assert_eq!(unknown, mistakes.map(|(name, _)| name));
}

#[test]
fn a_variable_that_is_not_utf8_is_refused_by_name() {
    use std::os::unix::ffi::OsStringExt as _;
    let environment =
        BTreeMap::from([("CONURE_DATA_DIR".to_owned(), OsString::from_vec(b"/x\xff".to_vec()))]);
    let error = load(["conure-db"].map(OsString::from), &environment).unwrap_err().to_string();
    assert!(error.starts_with("CONURE_DATA_DIR ") && error.contains("not UTF-8"), "{error}");
}

#[test]
fn a_number_in_the_file_that_is_none_is_named_with_its_key() {
    for value in ["5e4", "1.5", "many", "-1", "true", "'5e4'"] {
        for key in ["checkpoint_entries", "log_keep_entries"] {
            let file = yaml(&format!("node_id: a\n{key}: {value}\n"));
            let error = run(&["--config", file.path().to_str().unwrap()], &[]).unwrap_err().to_string();
            let named = format!("{key} in {} {:?}: ", file.path().display(), value.trim_matches('\''));
            assert!(error.starts_with(&named), "{error}");
        }
    }
    for value in ["[5000]", "{a: 1}"] {
        let file = yaml(&format!("node_id: a\ncheckpoint_entries: {value}\n"));
        let error = run(&["--config", file.path().to_str().unwrap()], &[]).unwrap_err().to_string();
        assert!(error.contains("checkpoint_entries"), "{error}");
    }
}

#[test]
fn help_names_every_setting() {
    let Command::Print(help) = load(["conure-db", "--help"].map(OsString::from), &BTreeMap::new()).unwrap()
    else {
        panic!("no help")
    };
    for key in Key::ALL {
        assert!(help.contains(&key.flag()), "{}", key.flag());
    }
}
