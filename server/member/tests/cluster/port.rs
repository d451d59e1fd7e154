//! What strangers may do to the Raft port: nothing.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::*;

/// Sends bytes and reads until the other side closes.
async fn send(addr: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // It may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it hangs up");
    answer
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&len), payload);
    [&len[..], &crc.to_le_bytes(), payload].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_and_counted() {
    let place = Place::new("node1").bootstrap();
    let member = place.start().await;
    leads(&member).await;
    let addr = place.config.raft_addr.clone();
    // Counted once the connection is closed.
    let malformed = async |count: u64, what: &str| {
        eventually(what, async || member.stats()["port"]["malformed"].as_u64() == Some(count)).await;
    };

    send(&addr, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    malformed(1, "a length beyond every bound").await;
    send(&addr, &[&100_u32.to_le_bytes()[..], &[0; 104]].concat()).await;
    malformed(2, "a wrong checksum").await;
    send(&addr, &frame(b"no")).await;
    malformed(3, "a frame that holds no hello").await;
    send(&addr, b"").await;
    send(&addr, b"abc").await;
    malformed(4, "a frame that ends in its header").await;
    send(&addr, &frame(b"CNRD")[..10]).await;
    malformed(5, "a frame that ends in its payload").await;

    // A hello of the right shape with a wrong magic: refused, not malformed.
    let hello = [&b"XXXX"[..], &[1, 2], &[1, b'c'], &[1, 1, 1, 1]].concat();
    assert!(!send(&addr, &frame(&hello)).await.is_empty());
    assert_eq!(member.stats()["port"]["refused"], 1);
    malformed(5, "no more than that").await;
    put(&[&member], "still", "serves").await;
    member.shutdown().await;
}

/// A number as the wire has it: seven bits a byte, the lowest first.
fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_another_version_cluster_incarnation_or_target_is_refused() {
    let place = Place::new("node1").bootstrap();
    let member = place.start().await;
    leads(&member).await;
    let own: u64 = member.stats()["raft_node_id"].as_str().unwrap().parse().unwrap();
    let (cluster, addr) = (member.status().cluster_id, &place.config.raft_addr);
    let hello_of = |protocol: u64, cluster: &str, incarnation: u64, target: u64, minor: u64| {
        let cluster = [number(cluster.len() as u64), cluster.as_bytes().to_vec()].concat();
        let members = 2;
        let ids = [number(7), number(target), number(minor)].concat();
        let parts = [number(protocol), number(members), cluster, number(incarnation), ids];
        [b"CNRD".to_vec(), parts.concat()].concat()
    };
    let hello =
        |protocol, cluster: &str, incarnation, target| hello_of(protocol, cluster, incarnation, target, 1);
    // A boot nonce, an address, no forks, nothing acknowledged.
    let introduction = [&[7, 4][..], b"a:70", &[0, 0]].concat();
    let (welcome, refused, recognized) = (0, 1, 2);
    let (by_protocol, by_cluster, by_target) = (0, 1, 2);
    let cases = [
        // The lower one of two minor versions is spoken; who is newer may say more.
        (hello(1, &cluster, 1, own), vec![welcome, 1]),
        (hello_of(1, &cluster, 1, own, 2), vec![welcome, 2]),
        (hello_of(1, &cluster, 1, own, 0), vec![welcome, 0]),
        ([hello_of(1, &cluster, 1, own, 9), introduction.clone()].concat(), vec![recognized, 3]),
        ([hello_of(1, &cluster, 1, own, 9), introduction, b"more".to_vec()].concat(), vec![recognized, 3]),
        // Of another major version only the beginning need be understood.
        (b"CNRD\x02\xff\xff\xff\xff".to_vec(), vec![refused, by_protocol, 1]),
        (hello(2, &cluster, 1, own), vec![refused, by_protocol]),
        (hello(1, "another", 1, own), vec![refused, by_cluster]),
        (hello(1, &cluster, 2, own ^ 1), vec![refused, by_cluster]),
        (hello(1, &cluster, 0, own), vec![refused, by_cluster]),
        (hello(1, &cluster, 1, own ^ 1), vec![refused, by_target]),
    ];
    for (at, (hello, expected)) in cases.iter().enumerate() {
        let answer = send(addr, &frame(hello)).await;
        assert_eq!(answer.get(8..8 + expected.len()), Some(&expected[..]), "case {at}: {answer:?}");
    }
    assert_eq!(member.stats()["port"]["refused"], cases.len() as u64 - 5);
    member.shutdown().await;
}

/// Who has only said hello, and is no member, may not make the member take in as much as members may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_asks_who_is_there_says_little_and_takes_the_answer() {
    let place = Place::new("node1").bootstrap();
    let member = place.start().await;
    leads(&member).await;
    let addr = &place.config.raft_addr;
    let malformed = || member.stats()["port"]["malformed"].as_u64().unwrap();
    let identify = [&b"CNRD"[..], &[1, 0], &[1, b'c'], &[1, 7, 0, 2]].concat();
    let open = async || {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(&frame(&identify)).await.unwrap();
        let mut welcome = [0; 10];
        stream.read_exact(&mut welcome).await.unwrap();
        stream
    };
    let mut stream = open().await;
    stream.write_all(&frame(&[0])).await.unwrap();
    let mut header = [0; 8];
    stream.read_exact(&mut header).await.unwrap();
    assert_eq!(malformed(), 0);
    // The length alone is too much.
    let mut stream = open().await;
    stream.write_all(&8_000_u32.to_le_bytes()).await.unwrap();
    stream.write_all(&[0; 4]).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it hangs up");
    eventually("it is counted", async || malformed() == 1).await;

    // Who asks and asks and reads no answer is not waited for.
    let mut stream = open().await;
    let questions = frame(&[0]).repeat(1_000);
    let asking = async { while stream.write_all(&questions).await.is_ok() {} };
    tokio::time::timeout(2 * PATIENCE, asking).await.expect("it hangs up");
    member.shutdown().await;
}

/// Every byte string of a simple generator, as a whole connection: nothing hangs, nothing falls over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_does_no_harm() {
    let place = Place::new("node1").bootstrap();
    let member = place.start().await;
    leads(&member).await;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..200 {
        let mut noise = Vec::new();
        for _ in 0..round % 64 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            noise.push(seed.to_le_bytes()[0]);
        }
        let sent = if round % 2 == 0 { noise } else { frame(&noise) };
        send(&place.config.raft_addr, &sent).await;
    }
    put(&[&member], "still", "serves").await;
    assert_eq!(member.status().health, "ok");
    member.shutdown().await;
}

/// Connections that never say anything, more than may be open, and frames that never end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_never_send_are_closed_and_counted_and_bounded() {
    let place = Place::new("node1").bootstrap();
    let member = place.start().await;
    leads(&member).await;
    let addr = &place.config.raft_addr;
    let counted = |what: &str| member.stats()["port"][what].as_u64().unwrap();
    let mut silent = Vec::new();
    for at in 0..600_u32 {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        if at % 3 == 0 {
            // The beginning of a frame, and no end.
            let _ = stream.write_all(&100_u32.to_le_bytes()).await;
        }
        silent.push(stream);
    }
    eventually("more than may be open are turned away", async || counted("crowded_out") >= 600 - 512).await;
    assert!(counted("accepted") <= 512 + 1);
    eventually("the silent ones are closed", async || counted("silent") == 512).await;
    // All of them hear of it, and there is room again.
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it hangs up");
        assert!(rest.is_empty());
    }
    assert!(!send(addr, &frame(b"CNRD\x02")).await.is_empty());
    put(&[&member], "still", "serves").await;
    member.shutdown().await;
}
