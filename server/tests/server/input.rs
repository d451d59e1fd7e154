//! Bad requests: each gets the problem that it deserves.

use conure_client::problem as kind;
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::raw;
use crate::common::{DEADLINE, Node, problem, run, server};

#[tokio::test]
async fn bad_queries_are_400() {
    let node = Node::ready("solo", &[]).await;
    let http = reqwest::Client::new();
    let cases = [
        ("GET", "/kv", kind::BAD_QUERY),
        ("GET", "/kv?", kind::BAD_QUERY),
        ("GET", "/kv?key", kind::BAD_QUERY),
        ("GET", "/kv?key=a&key=a", kind::BAD_QUERY),
        ("GET", "/kv?key=a&%6bey=b", kind::BAD_QUERY),
        ("GET", "/kv?key=a&value=b", kind::BAD_QUERY),
        ("GET", "/kv?key=a&stale=yes", kind::BAD_QUERY),
        ("GET", "/kv?key=a&colour=secret", kind::BAD_QUERY),
        ("GET", "/kv?key=%f", kind::BAD_QUERY),
        ("GET", "/kv?key=%zz", kind::BAD_QUERY),
        ("DELETE", "/kv?key=a&stale=true", kind::BAD_QUERY),
        ("PUT", "/kv?value=secret", kind::BAD_QUERY),
        ("PUT", "/kv?key=a&value=secret&value=secret", kind::BAD_QUERY),
        ("GET", "/kv?key=", kind::BAD_KEY),
        ("GET", "/readyz?cluster=a", kind::BAD_QUERY),
    ];
    for (method, path, wanted) in cases {
        let method: Method = method.parse().unwrap();
        let answer = http.request(method, node.url(path)).send().await.unwrap();
        let problem = problem(answer, StatusCode::BAD_REQUEST, wanted).await;
        assert!(!problem.detail.contains("secret"), "{problem:?}");
    }
    let long = format!("/kv?key={}", "k".repeat(4097));
    problem(reqwest::get(node.url(&long)).await.unwrap(), StatusCode::BAD_REQUEST, kind::BAD_KEY).await;
    let gets = ["/status", "/raft/config", "/raft/stats", "/snapshot", "/livez", "/metrics"];
    let posts = ["/join", "/remove", "/bootstrap", "/transfer-leadership"];
    for (path, method) in
        gets.map(|path| (path, Method::GET)).into_iter().chain(posts.map(|path| (path, Method::POST)))
    {
        for query in ["x=secret", "secret", "x=1&x=1", "key=secret"] {
            let url = node.url(&format!("{path}?{query}"));
            let answer = http.request(method.clone(), url).send().await.unwrap();
            let problem = problem(answer, StatusCode::BAD_REQUEST, kind::BAD_QUERY).await;
            assert!(problem.detail.contains("no parameters"), "{path}: {problem:?}");
        }
    }
}

#[tokio::test]
async fn a_put_says_its_value_once_and_clearly() {
    let node = Node::ready("solo", &[]).await;
    let http = reqwest::Client::new();
    let both = http.put(node.url("/kv?key=a&value=b")).body("c").send().await.unwrap();
    problem(both, StatusCode::BAD_REQUEST, kind::TWO_VALUES).await;
    let chunk = futures::stream::iter([Ok::<_, std::io::Error>("c")]);
    let chunked = http.put(node.url("/kv?key=a&value=b")).body(reqwest::Body::wrap_stream(chunk));
    problem(chunked.send().await.unwrap(), StatusCode::BAD_REQUEST, kind::TWO_VALUES).await;
    // What a bare `curl -X PUT` sends.
    let bare = raw(&node, "PUT /kv?key=a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(bare.starts_with("HTTP/1.1 411 "), "{bare}");
    assert_eq!(node.client().get(b"a").await.unwrap(), None);

    let empty = raw(&node, "PUT /kv?key=a&value= HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(empty.starts_with("HTTP/1.1 200 "), "{empty}");
    let empty = raw(&node, "PUT /kv?key=b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
    assert!(empty.starts_with("HTTP/1.1 200 "), "{empty}");
    for key in [b"a", b"b"] {
        assert_eq!(node.client().get(key).await.unwrap().unwrap().bytes, "");
    }
}

#[tokio::test]
async fn a_raw_number_sign_never_makes_two_keys_one() {
    let node = Node::ready("solo", &[]).await;
    node.client().put(b"item", "kept").await.unwrap();
    let targets = [
        "/kv?key=item#1",
        "/kv?key=item#zzz",
        "/kv?key=item#",
        "/kv?key=item#x&stale=maybe",
        "/kv#?key=item",
        "http://localhost/kv?key=item#1",
        "/status#",
        "/nothing#",
    ];
    for target in targets {
        for (method, body) in [("PUT", "two"), ("GET", ""), ("DELETE", "")] {
            let length = body.len();
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}\
                 GET /kv?key=item HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            );
            let answers = whole(&node, &request).await;
            assert!(answers.starts_with("HTTP/1.1 400 "), "{method} {target}: {answers}");
            assert!(
                answers.contains(kind::INVALID) && answers.contains("%23"),
                "{method} {target}: {answers}"
            );
            // The connection goes on, and nothing was changed.
            assert!(
                answers.contains("HTTP/1.1 200 OK") && answers.ends_with("kept"),
                "{method} {target}: {answers}"
            );
        }
    }
    // Escaped it is a part of the key, and in a body it is a part of the value, whatever it looks like there.
    let body = "PUT /kv?key=item#1 HTTP/1.1\r\n\r\n";
    let request = format!(
        "PUT /kv?key=item%231 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = whole(&node, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(node.client().get(b"item#1").await.unwrap().unwrap().bytes, body);
    assert_eq!(node.client().get(b"item").await.unwrap().unwrap().bytes, "kept");
}

#[tokio::test]
async fn a_request_with_a_body_in_chunks_is_the_last_of_its_connection() {
    let node = Node::ready("solo", &[]).await;
    node.client().put(b"item", "kept").await.unwrap();
    let request = "PUT /kv?key=a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nv\r\n0\r\n\r\n\
                   DELETE /kv?key=item#1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answers = whole(&node, request).await.to_lowercase();
    assert!(answers.starts_with("http/1.1 200 ") && answers.contains("connection: close\r\n"), "{answers}");
    assert_eq!(answers.matches("http/1.1").count(), 1, "{answers}");
    assert_eq!(node.client().get(b"a").await.unwrap().unwrap().bytes, "v");
    assert_eq!(node.client().get(b"item").await.unwrap().unwrap().bytes, "kept");
}

/// Sends bytes as they are, and reads until the other side closes.
async fn whole(node: &Node, request: &str) -> String {
    let mut stream = TcpStream::connect(node.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answers)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answers).into_owned()
}

/// Every header that makes a write conditional, as clients of other stores send it.
const CONDITIONS: [(&str, &str); 5] = [
    ("if-match", "\"1\""),
    ("if-match", "*"),
    ("if-none-match", "*"),
    ("if-none-match", "\"1\""),
    ("if-unmodified-since", "Mon, 30 Nov 2026 12:00:00 GMT"),
];

#[tokio::test]
async fn a_conditional_write_is_refused_and_changes_nothing_on_every_member() {
    let leader = Node::ready("node1", &[]).await;
    let redirecting = Node::start("node2", &[]).await;
    let forwarding = Node::start("node3", &["--leader-routing=forward"]).await;
    for node in [&redirecting, &forwarding] {
        leader.client().join(&node.name, &node.raft_address()).await.unwrap();
        node.until_ready().await;
    }
    let revision = leader.client().put(b"a", "before").await.unwrap().revision;
    let members = leader.client().raft_config().await.unwrap();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let refused = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        let refused = problem(answer, StatusCode::NOT_IMPLEMENTED, kind::CONDITION_NOT_SUPPORTED).await;
        assert!(refused.detail.contains("nothing was done"), "{refused:?}");
    };
    for node in [&leader, &redirecting, &forwarding] {
        for (name, value) in CONDITIONS {
            let put = http.put(node.url("/kv?key=a&value=after"));
            let put_body = http.put(node.url("/kv?key=a")).body("after");
            let delete = http.delete(node.url("/kv?key=a"));
            for write in [put, put_body, delete] {
                refused(write.header(name, value)).await;
            }
            for path in ["/join", "/remove", "/bootstrap", "/transfer-leadership"] {
                let post = http.post(node.url(path)).header("content-type", "application/json");
                refused(post.header(name, value).body(r#"{"ID":"node2","RaftAddr":"127.0.0.1:1"}"#)).await;
            }
            let read = http.get(node.url("/kv?key=a")).header(name, value).send().await.unwrap();
            assert_eq!(read.text().await.unwrap(), "before", "a read ignores {name}");
        }
    }
    assert_eq!(leader.client().get(b"a").await.unwrap().unwrap().revision, revision);
    assert_eq!(leader.client().raft_config().await.unwrap(), members);
}

#[tokio::test]
async fn what_makes_no_write_conditional_is_ignored_and_a_part_of_a_value_is_refused() {
    let node = Node::ready("solo", &[]).await;
    let http = reqwest::Client::new();
    for (name, value) in [("if-modified-since", "Mon, 30 Nov 2026 12:00:00 GMT"), ("if-range", "\"1\"")] {
        let put = http.put(node.url("/kv?key=a&value=1")).header(name, value).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::OK, "{name}");
    }
    let part = http.put(node.url("/kv?key=a")).header("content-range", "bytes 0-0/2").body("2");
    problem(part.send().await.unwrap(), StatusCode::BAD_REQUEST, kind::INVALID).await;
    assert_eq!(node.client().get(b"a").await.unwrap().unwrap().bytes, "1");
    // Where no write would be done anyway, that is what the answer says.
    let absent = http.put(node.url("/nothing")).header("if-match", "*").send().await.unwrap();
    problem(absent, StatusCode::NOT_FOUND, kind::ROUTE_NOT_FOUND).await;
    let wrong = http.delete(node.url("/status")).header("if-match", "*").send().await.unwrap();
    problem(wrong, StatusCode::METHOD_NOT_ALLOWED, kind::METHOD_NOT_ALLOWED).await;
}

#[tokio::test]
async fn absent_paths_and_wrong_methods_are_told_apart() {
    let node = Node::ready("solo", &[]).await;
    let http = reqwest::Client::new();
    for path in ["/", "/kv/", "/v1/kv", "/Status", "/kv/a?value=secret"] {
        let answer = reqwest::get(node.url(path)).await.unwrap();
        problem(answer, StatusCode::NOT_FOUND, kind::ROUTE_NOT_FOUND).await;
    }
    for (method, path, allowed) in [
        (Method::POST, "/kv?key=a", "PUT"),
        (Method::PATCH, "/kv?key=a", "DELETE"),
        (Method::OPTIONS, "/kv?key=a", "GET"),
        (Method::POST, "/status", "GET"),
        (Method::GET, "/join", "POST"),
        (Method::DELETE, "/metrics", "HEAD"),
    ] {
        let answer = http.request(method, node.url(path)).send().await.unwrap();
        let allow = answer.headers()["allow"].to_str().unwrap().to_owned();
        assert!(allow.split(',').any(|method| method.trim() == allowed), "{path}: {allow}");
        problem(answer, StatusCode::METHOD_NOT_ALLOWED, kind::METHOD_NOT_ALLOWED).await;
    }
    let head = http.head(node.url("/join")).send().await.unwrap();
    assert_eq!(
        (head.status(), &head.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
    );
}

#[tokio::test]
async fn bad_administration_is_refused_and_changes_nothing() {
    let node = Node::ready("solo", &[]).await;
    let http = reqwest::Client::new();
    let before = node.client().raft_config().await.unwrap();
    let post = async |path: &str, content_type: &str, body: String| {
        let request = http.post(node.url(path)).header("content-type", content_type).body(body);
        request.send().await.unwrap()
    };
    for path in ["/join", "/remove", "/bootstrap", "/transfer-leadership"] {
        let answer = http.post(node.url(path)).body("{}").send().await.unwrap();
        problem(answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, kind::UNSUPPORTED_MEDIA_TYPE).await;
        let answer = post(path, "application/x-www-form-urlencoded", "{}".into()).await;
        problem(answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, kind::UNSUPPORTED_MEDIA_TYPE).await;
        for body in
            ["", "{", "[]", "{}", "{\"ID\":3}", "{\"ID\":\"a\",\"RaftAddr\":\"b:1\",\"ClusterID\":\"c\"}"]
        {
            let answer = post(path, "application/json", body.into()).await;
            problem(answer, StatusCode::BAD_REQUEST, kind::BAD_BODY).await;
        }
        let answer = post(path, "application/json", " ".repeat(70_000)).await;
        problem(answer, StatusCode::PAYLOAD_TOO_LARGE, kind::TOO_LARGE).await;
    }
    let unknown = post("/remove", "application/json; charset=utf-8", r#"{"ID":"nobody"}"#.into()).await;
    problem(unknown, StatusCode::NOT_FOUND, kind::UNKNOWN_MEMBER).await;
    let unknown = post("/transfer-leadership", "application/json", r#"{"ID":"nobody"}"#.into()).await;
    problem(unknown, StatusCode::NOT_FOUND, kind::UNKNOWN_MEMBER).await;
    let address = format!("127.0.0.1:{}", crate::common::free_port());
    let body = format!(r#"{{"ID":"node2","RaftAddr":"{address}"}}"#);
    let unreachable = post("/join", "application/json", body).await;
    let unreachable = problem(unreachable, StatusCode::BAD_GATEWAY, kind::UNREACHABLE).await;
    assert!(unreachable.detail.contains(&address), "{unreachable:?}");
    let bad = post("/join", "application/json", r#"{"ID":"node2","RaftAddr":"nowhere"}"#.into()).await;
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
    let last = post("/remove", "application/json", r#"{"ID":"solo"}"#.into()).await;
    assert_eq!(last.status(), StatusCode::CONFLICT);
    let bootstrap = post("/bootstrap", "application/json", r#"{"ClusterID":"other"}"#.into()).await;
    assert_eq!(bootstrap.status(), StatusCode::CONFLICT);
    assert_eq!(node.client().raft_config().await.unwrap(), before);
}

#[tokio::test]
async fn a_foreign_host_is_misdirected() {
    let node = Node::ready("solo", &["--http-allowed-hosts=db.example.org,*.example.com"]).await;
    let http = reqwest::Client::new();
    let ask = async |host: &str| http.get(node.url("/kv?key=a")).header("host", host).send().await.unwrap();
    for host in ["evil.example", "evil.example:8081", "x.db.example.org", "127.0.0.1.evil.example"] {
        problem(ask(host).await, StatusCode::MISDIRECTED_REQUEST, kind::MISDIRECTED_HOST).await;
    }
    for host in ["localhost", "[::1]:1", "conure.default.svc", "conure", "db.example.org", "a.example.com:80"]
    {
        assert_eq!(ask(host).await.status(), StatusCode::NOT_FOUND, "{host}");
    }
    let missing = raw(&node, "GET /status HTTP/1.1\r\n\r\n").await;
    assert!(missing.starts_with("HTTP/1.1 400 "), "{missing}");
    let doubled = raw(&node, "GET /status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").await;
    assert!(doubled.starts_with("HTTP/1.1 400 "), "{doubled}");
    let absolute = raw(&node, "GET http://evil.example/status HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(absolute.starts_with("HTTP/1.1 421 "), "{absolute}");
}

/// Every path that a request can take, each with a value in its query; none of them may show it anywhere.
#[tokio::test]
async fn query_strings_enter_no_log_no_metric_and_no_error() {
    const EVERYTHING: &str = "--log-level=trace,openraft=trace,openraft::raft::raft_inner=trace";
    let leader = Node::ready("node1", &[EVERYTHING]).await;
    let redirecting = Node::start("node2", &[EVERYTHING]).await;
    let forwarding = Node::start("node3", &[EVERYTHING, "--leader-routing=forward"]).await;
    for node in [&redirecting, &forwarding] {
        leader.client().join(&node.name, &node.raft_address()).await.unwrap();
        node.until_ready().await;
    }
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let long = format!("/kv?key={}&value=secret", "k".repeat(4097));
    let over = format!("/kv?key=a&value=secret{}", "v".repeat(66_000));
    let requests = [
        (&leader, "PUT", "/kv?key=a&value=secret", 200),
        (&redirecting, "PUT", "/kv?key=a&value=secret", 307),
        (&forwarding, "PUT", "/kv?key=a&value=secret", 200),
        (&redirecting, "GET", "/kv?key=secret", 404),
        (&leader, "DELETE", "/kv?key=secret", 200),
        (&forwarding, "DELETE", "/kv?key=secret", 200),
        (&leader, "PUT", "/kv?key=a&value=secret&value=secret", 400),
        (&leader, "PUT", "/kv?key=%zz&value=secret", 400),
        (&leader, "PUT", "/kv?value=secret", 400),
        (&forwarding, "PUT", &long, 400),
        (&leader, "PUT", &over, 414),
        (&leader, "POST", "/kv?key=a&value=secret", 405),
        (&leader, "GET", "/kv/?key=a&value=secret", 404),
        (&leader, "GET", "/status?secret=secret", 400),
        (&forwarding, "GET", "/readyz?cluster_id=secret", 503),
    ];
    for (node, method, target, status) in requests {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = raw(node, &head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {target}: {answer}");
        // What `raw` reads ends with the head; a redirect's names the whole target, as it must.
        if status != 307 && status != 414 {
            let answer = http.request(method.parse().unwrap(), node.url(target)).send().await.unwrap();
            let body = answer.text().await.unwrap();
            assert!(!body.contains("secret"), "{method} {target}: {body}");
        }
    }
    let misdirected = raw(&leader, "GET /kv?key=secret HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    assert!(misdirected.starts_with("HTTP/1.1 421 "), "{misdirected}");
    let body =
        http.put(redirecting.url("/kv?key=a&value=secret")).send().await.unwrap().text().await.unwrap();
    assert!(body.contains("not-leader") && !body.contains("secret"), "{body}");

    for node in [&leader, &redirecting, &forwarding] {
        let page = node.client().metrics().await.unwrap();
        assert!(page.contains("conure_http_requests_total{") && !page.contains("secret"), "{page}");
        let log = node.log();
        let shown: Vec<&str> = log.lines().filter(|line| line.contains("secret")).collect();
        assert!(shown.is_empty(), "{}: {} lines, such as: {}", node.name, shown.len(), shown[0]);
    }
    // The logs do hold these very requests, and what the libraries say at their most talkative.
    for (node, status) in [(&leader, 200), (&redirecting, 307), (&forwarding, 200), (&leader, 400)] {
        let log = node.log();
        let request = format!("route=\"/kv\" method=\"PUT\" status={status} ");
        assert!(log.lines().any(|line| line.contains(&request)), "{}: {status}", node.name);
    }
    assert!(forwarding.log().contains(" TRACE ") && leader.log().contains(" openraft::"));
}

/// As `nc` and other simple clients do once they have sent all.
#[tokio::test]
async fn a_client_that_has_sent_all_and_closed_its_side_gets_its_answer() {
    let node = Node::ready("solo", &[]).await;
    let large = "v".repeat(2 << 20);
    node.client().put(b"large", large.clone()).await.unwrap();
    let ask = async |request: String| {
        let mut stream = TcpStream::connect(node.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    };
    for number in 0..30 {
        let put = format!("PUT /kv?key=k{number}&value=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = ask(put).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("revision"), "{number}: {answer:?}");
    }
    let answer = ask("GET /kv?key=large HTTP/1.1\r\nHost: localhost\r\n\r\n".into()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&large), "{} bytes", answer.len());
    // What is cut off in the middle is no request.
    let cut =
        ask("PUT /kv?key=cut HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf".into()).await;
    assert!(!cut.starts_with("HTTP/1.1 200 "), "{cut:?}");
    assert!(node.client().get(b"cut").await.unwrap().is_none());
}

#[tokio::test]
async fn a_body_with_another_coding_than_chunked_is_not_stored() {
    let node = Node::ready("solo", &[]).await;
    for coding in ["gzip, chunked", "gzip,chunked", "chunked, chunked"] {
        let request = format!(
            "PUT /kv?key=a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        );
        let answer = raw(&node, &request).await;
        let refused = answer.starts_with("HTTP/1.1 501 ");
        assert!(refused || answer.starts_with("HTTP/1.1 400 "), "{coding}: {answer:?}");
    }
    assert!(node.client().get(b"a").await.unwrap().is_none());
}

/// The flag of an address that others dial, and the request that names one, have one parser.
#[tokio::test]
async fn bad_addresses_are_refused_alike_by_the_flags_and_by_join() {
    let node = Node::ready("solo", &[]).await;
    let http = reqwest::Client::new();
    for (addr, reason) in [
        ("http://127.0.0.1:7001", "leave \"http://\" away"),
        ("127.0.0.1:0", "port 0 cannot be dialled"),
        ("::1:7001", "an IPv6 address needs brackets"),
        ("a:b:7001", "is not a host"),
        ("127.0.0.1", "it has no port"),
        ("127.0.0.1:70000", "is not a port"),
        ("0.0.0.0:7001", "every interface"),
        (":7001", "every interface"),
    ] {
        for flag in ["--raft-addr", "--raft-advertise-addr", "--http-advertise-addr"] {
            let directory = tempfile::tempdir().unwrap();
            let (code, error) = run(&mut server(&[&format!("{flag}={addr}")], directory.path()));
            assert_eq!(code, Some(2), "{flag} {addr}: {error}");
            assert!(error.contains(reason) && error.contains(addr), "{flag} {addr}: {error}");
        }
        let asked = serde_json::json!({"ID": "other", "RaftAddr": addr});
        let answer = http.post(node.url("/join")).json(&asked).send().await.unwrap();
        let told = problem(answer, StatusCode::BAD_REQUEST, kind::INVALID).await;
        assert!(told.detail.contains(reason) && told.detail.contains(addr), "{told:?}");
    }
}
