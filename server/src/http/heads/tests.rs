//! Any bytes, in any pieces: hyper never sees a head that was not looked at, and sees all else as it came.

use std::collections::VecDeque;
use std::convert::Infallible;

use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;

use super::*;

/// A connection on which these pieces arrive, each by a read of its own at the earliest; then it ends. An empty piece is a wait.
struct Arriving(VecDeque<Vec<u8>>);

/// How many waits follow the last byte: hyper ends a connection that is closed while a request is under way.
const WAITS_AT_END: usize = 64;

impl AsyncRead for Arriving {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.0.pop_front() else { return Poll::Ready(Ok(())) };
        if piece.is_empty() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let rest = piece.split_off(piece.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        if !rest.is_empty() {
            self.0.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Arriving {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a handler sees of a request: what is known of its target, the target, the body if it is read.
type Seen = (Target, String, Vec<u8>);

/// What hyper makes of the pieces, in order. A body is read where `reads` says so, in turn.
fn seen(pieces: Vec<Vec<u8>>, reads: &[bool]) -> Vec<Seen> {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let target = *request.extensions().get::<Target>().unwrap();
            let uri = request.uri().to_string();
            let place = seen.lock().unwrap().len();
            seen.lock().unwrap().push((target, uri, Vec::new()));
            let (seen, read) = (Arc::clone(&seen), reads[place % reads.len()]);
            async move {
                if read && let Ok(body) = request.into_body().collect().await {
                    seen.lock().unwrap()[place].2 = body.to_bytes().to_vec();
                }
                Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::new())))
            }
        });
        let pieces = pieces.into_iter().chain(std::iter::repeat_n(Vec::new(), WAITS_AT_END));
        let (stream, service) = watch(Arriving(pieces.collect()), service);
        // Malformed input ends it with an error.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
    Arc::try_unwrap(seen).unwrap().into_inner().unwrap()
}

/// The same bytes in pieces that end where `cuts` says, with an empty piece, which is a wait, after each third.
fn pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at((*cut).clamp(1, rest.len()));
        pieces.push(piece.to_vec());
        if pieces.len() % 3 == 0 {
            pieces.push(Vec::new());
        }
        rest = tail;
    }
    pieces
}

#[derive(Debug, Clone)]
struct Sent {
    absolute: bool,
    target: String,
    fragment: Option<String>,
    fields: Vec<String>,
    bare: bool,
    body: Vec<u8>,
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        let end = if self.bare { "\n" } else { "\r\n" };
        let host = if self.absolute { "http://a.example" } else { "" };
        let fragment = self.fragment.as_ref().map(|text| format!("#{text}")).unwrap_or_default();
        let mut head = format!("PUT {host}{}{fragment} HTTP/1.1{end}", self.target);
        for (number, value) in self.fields.iter().enumerate() {
            head += &format!("x-{number}: {value}{end}");
        }
        head += &format!("content-length: {}{end}{end}", self.body.len());
        [head.into_bytes(), self.body.clone()].concat()
    }
}

/// Bodies that look like requests, most of all.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let alphabet: Vec<&'static [u8]> =
        vec![b"PUT /#a", b" HTTP/1.1", b"\r\n", b"\n", b"#", b" ", b"x: #", b"a"];
    prop_oneof![
        prop::collection::vec(prop::sample::select(alphabet), 0..12).prop_map(|parts| parts.concat()),
        prop::collection::vec(any::<u8>(), 0..200),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let fragment = prop::option::of("[!-~]{0,8}");
    let fields = prop::collection::vec("[!-~]([ -~]{0,12}[!-~])?", 0..3);
    (any::<bool>(), "/[a-z]{0,4}(\\?[a-z%=&]{0,8})?", fragment, fields, any::<bool>(), body()).prop_map(
        |(absolute, target, fragment, fields, bare, body)| Sent {
            absolute,
            target,
            fragment,
            fields,
            bare,
            body,
        },
    )
}

proptest! {
    #[test]
    fn every_cut_target_is_known_and_no_other_however_the_bytes_arrive(
        requests in prop::collection::vec(sent(), 1..6),
        cuts in prop::collection::vec(1_usize..80, 1..9),
        between in prop::sample::select(vec![&b""[..], b"\r\n", b"\n\r\n"]),
    ) {
        let stream: Vec<u8> = requests.iter().flat_map(|sent| [between.to_vec(), sent.bytes()].concat()).collect();
        let seen = seen(pieces(&stream, &cuts), &[true]);
        prop_assert_eq!(seen.len(), requests.len());
        for ((target, uri, body), sent) in seen.iter().zip(&requests) {
            let wanted = if sent.fragment.is_some() { Target::Cut } else { Target::Whole };
            prop_assert_eq!(*target, wanted, "{:?}", sent);
            prop_assert!(uri.ends_with(&sent.target), "{} of {:?}", uri, sent);
            prop_assert_eq!(body, &sent.body);
        }
    }

    #[test]
    fn bodies_that_nobody_reads_hide_no_request_line(
        requests in prop::collection::vec(sent(), 1..6),
        cuts in prop::collection::vec(1_usize..400, 1..9),
        reads in prop::collection::vec(any::<bool>(), 1..4),
    ) {
        let stream: Vec<u8> = requests.iter().flat_map(Sent::bytes).collect();
        // hyper may give the connection up after a body that was not read.
        for ((target, uri, _), sent) in seen(pieces(&stream, &cuts), &reads).iter().zip(&requests) {
            let wanted = if sent.fragment.is_some() { Target::Cut } else { Target::Whole };
            prop_assert_eq!(*target, wanted, "{:?}", sent);
            prop_assert!(uri.ends_with(&sent.target), "{} of {:?}", uri, sent);
        }
    }

    /// Whatever hyper takes for requests, their targets are known, and the part that it drops is seen.
    #[test]
    fn of_arbitrary_bytes_every_request_was_seen(
        parts in prop::collection::vec(prop::sample::select(vec![
            &b"GET "[..], b"PUT ", b"G#T ", b"/", b"/a#b", b"#", b"?k=#", b"http://h/#", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r", b"\r\n\r\n",
            b"\n\n", b"\n\r\n", b"host: a", b"content-length: 3", b"content-length:0", b"expect: 100-continue",
            b"connection: keep-alive", b" ", b"\t", b"abc", b"\0",
        ]), 0..24),
        cuts in prop::collection::vec(1_usize..40, 1..9),
    ) {
        let stream = parts.concat();
        for (target, uri, _) in seen(pieces(&stream, &cuts), &[true]) {
            prop_assert_ne!(target, Target::Unseen, "{:?} in {:?}", uri, String::from_utf8_lossy(&stream));
        }
    }
}

#[test]
fn after_a_body_in_chunks_no_request_is_taken_for_seen() {
    let head = b"PUT /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let stream = [&head[..], b"PUT /b#c HTTP/1.1\r\n\r\n"].concat();
    for cuts in [1, 7, 1000] {
        let seen = seen(pieces(&stream, &[cuts]), &[true]);
        assert_eq!(seen[0], (Target::Whole, "/a".into(), b"abc".to_vec()));
        // `check` ends the connection here; a request that came all the same would be refused.
        assert!(seen[1..].iter().all(|(target, ..)| *target == Target::Unseen), "{seen:?}");
    }
}

#[test]
fn a_method_may_hold_the_sign() {
    let seen = seen(pieces(b"G#T /a HTTP/1.1\r\n\r\nGET /b# HTTP/1.1\r\n\r\n", &[9]), &[true]);
    let targets: Vec<_> = seen.iter().map(|(target, uri, _)| (*target, uri.as_str())).collect();
    assert_eq!(targets, [(Target::Whole, "/a"), (Target::Cut, "/b")]);
}
