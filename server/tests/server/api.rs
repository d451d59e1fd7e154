//! Keys and values over HTTP, on one member.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};

use conure_client::api::{DeleteAnswer, PutAnswer};
use conure_client::{encode, problem as kind};

use crate::common::{Node, problem};

#[tokio::test]
async fn a_value_is_put_read_and_deleted() {
    let node = Node::ready("solo", &[]).await;
    let http = reqwest::Client::new();
    let put = http.put(node.url("/kv?key=colour&value=deep+blue")).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    let etag = put.headers()["etag"].clone();
    let first: PutAnswer = put.json().await.unwrap();
    assert_eq!(etag, format!("\"{}\"", first.revision));

    // A body is taken as it is, whatever it claims to be.
    let form = http.put(node.url("/kv?key=form")).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let second: PutAnswer = form.body("a=b%20c+d").send().await.unwrap().json().await.unwrap();
    assert!(second.revision > first.revision);
    assert_eq!(reqwest::get(node.url("/kv?key=form")).await.unwrap().text().await.unwrap(), "a=b%20c+d");

    let get = reqwest::get(node.url("/kv?key=colour")).await.unwrap();
    assert_eq!(get.status(), StatusCode::OK);
    let headers = get.headers().clone();
    assert_eq!(headers["etag"], etag);
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["content-security-policy"], "sandbox");
    assert_eq!(headers["cache-control"], "no-store");
    assert!(!headers.contains_key("access-control-allow-origin") && !headers.contains_key("conure-revision"));
    assert_eq!(get.text().await.unwrap(), "deep blue");

    let head = http.head(node.url("/kv?key=colour")).send().await.unwrap();
    assert_eq!((head.status(), &head.headers()["etag"]), (StatusCode::OK, &etag));
    assert_eq!(head.headers()[CONTENT_LENGTH], "9");
    assert_eq!(http.head(node.url("/kv?key=absent")).send().await.unwrap().status(), StatusCode::NOT_FOUND);

    let delete = async || http.delete(node.url("/kv?key=colour")).send().await.unwrap();
    let gone: DeleteAnswer = delete().await.json().await.unwrap();
    assert!(gone.deleted && gone.revision > second.revision);
    let again: DeleteAnswer = delete().await.json().await.unwrap();
    assert_eq!((again.deleted, again.revision), (false, gone.revision));
    let absent = reqwest::get(node.url("/kv?key=colour")).await.unwrap();
    problem(absent, StatusCode::NOT_FOUND, kind::KEY_NOT_FOUND).await;
}

#[tokio::test]
async fn stale_reads_say_how_far_the_member_is() {
    let node = Node::ready("solo", &[]).await;
    let client = node.client();
    let revision = client.put(b"a", "1").await.unwrap().revision;
    let read = client.get_stale(b"a").await.unwrap();
    assert_eq!((read.revision, read.value.unwrap().bytes), (revision, "1".into()));
    let read = client.get_stale(b"absent").await.unwrap();
    assert_eq!((read.revision, read.value), (revision, None));
    let raw = reqwest::get(node.url("/kv?key=absent&stale=true")).await.unwrap();
    assert_eq!(raw.headers()["conure-revision"], revision.to_string());
    problem(raw, StatusCode::NOT_FOUND, kind::KEY_NOT_FOUND).await;
}

#[tokio::test]
async fn binary_keys_stay_apart() {
    let node = Node::ready("solo", &[]).await;
    let client = node.client();
    let keys: [&[u8]; 9] = [
        b"\xff",
        b"\xfe",
        b"\xef\xbf\xbd",
        b"a b",
        b"a+b",
        b"a%20b",
        b"\0",
        b"/kv?key=a&b#c",
        "ü".as_bytes(),
    ];
    for (number, key) in keys.iter().enumerate() {
        client.put(key, vec![u8::try_from(number).unwrap()]).await.unwrap();
    }
    for (number, key) in keys.iter().enumerate() {
        let found = client.get(key).await.unwrap().unwrap();
        assert_eq!(found.bytes, vec![u8::try_from(number).unwrap()], "{key:?}");
    }
    assert_eq!(reqwest::get(node.url("/kv?key=a+b")).await.unwrap().bytes().await.unwrap(), vec![3]);
}

#[tokio::test]
async fn values_have_0_to_4_mib() {
    let node = Node::ready("solo", &[]).await;
    let client = node.client();
    let mut big = vec![7; 4 << 20];
    for (at, byte) in big.iter_mut().enumerate() {
        *byte = u8::try_from(at % 251).unwrap();
    }
    client.put(b"big", big.clone()).await.unwrap();
    assert_eq!(client.get(b"big").await.unwrap().unwrap().bytes, big);
    let long_key = vec![b'k'; 4096];
    client.put(&long_key, "").await.unwrap();
    assert_eq!(client.get(&long_key).await.unwrap().unwrap().bytes, "");

    big.push(0);
    let http = reqwest::Client::new();
    let declared = http.put(node.url("/kv?key=bigger")).body(big.clone()).send().await.unwrap();
    problem(declared, StatusCode::PAYLOAD_TOO_LARGE, kind::TOO_LARGE).await;
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        big.chunks(1 << 20).map(|chunk| Ok(chunk.to_vec())).collect();
    let chunked = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let chunked = http.put(node.url("/kv?key=bigger")).body(chunked).send().await.unwrap();
    problem(chunked, StatusCode::PAYLOAD_TOO_LARGE, kind::TOO_LARGE).await;
    assert_eq!(client.get(b"bigger").await.unwrap(), None);
}

#[tokio::test]
async fn a_value_in_the_query_may_fill_the_uri() {
    let node = Node::ready("solo", &[]).await;
    let http = reqwest::Client::new();
    let value = vec![b'v'; 60_000];
    let put = http.put(node.url(&format!("/kv?key=q&value={}", encode(&value)))).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    assert_eq!(node.client().get(b"q").await.unwrap().unwrap().bytes, value);
    let too_long = format!("/kv?key=q&value={}", "v".repeat(66_000));
    let answer = raw(&node, &format!("PUT {too_long} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 414 "), "{answer}");
}

/// Sends bytes as they are and reads until the server closes or a whole head is there.
pub(crate) async fn raw(node: &Node, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(node.address()).await.unwrap();
    // A server that has refused already may close before all is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    let read = async {
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(length) => answer.extend_from_slice(&piece[..length]),
            }
        }
    };
    tokio::time::timeout(crate::common::DEADLINE, read).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// The names in the first column of the page's table of metrics.
fn documented_metrics() -> Vec<String> {
    let page = include_str!("../../../docs/http-api.md");
    let rows = page.lines().filter(|line| line.starts_with("| `conure_"));
    let cells = rows.filter_map(|line| line.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').filter(|part| part.starts_with("conure_")));
    names.map(|name| name.split('{').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_documented_metric_is_there_on_a_fresh_member() {
    let node = Node::ready("solo", &[]).await;
    let page = node.client().metrics().await.unwrap();
    let names = documented_metrics();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let has = |end: &str| page.lines().any(|line| line.starts_with(&format!("{name}{end}")));
        assert!(has(" ") || has("{") || has("_count{"), "{name} has no series: {page}");
    }
    for series in [
        "conure_reads_served_total{consistency=\"linearizable\"} 0",
        "conure_reads_served_total{consistency=\"stale\"} 0",
        "conure_raft_members{suffrage=\"voter\"} 1",
        "conure_raft_members{suffrage=\"learner\"} 0",
        "conure_http_requests_total{route=\"/kv\",method=\"PUT\",status=\"200\"} 0",
        "conure_http_request_duration_seconds_count{route=\"/kv\",method=\"GET\"} 0",
    ] {
        assert!(page.lines().any(|line| line == series), "{series} is not in {page}");
    }
}
