//! HTTP/1.1 as far as a load needs it: answers that have a length, and requests one at a time on a connection.
//!
//! It is written by hand because the client shares the processor with what it measures.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// The longest head of an answer.
const HEAD_MAX: usize = 16 << 10;

/// An answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Where the body begins.
    pub body: usize,
    /// How long the body is.
    pub len: usize,
}

impl Head {
    /// The whole answer's length.
    #[must_use]
    pub fn end(&self) -> usize {
        self.body + self.len
    }
}

/// The head at the start of `bytes`; `None` while it is not all there.
///
/// # Errors
///
/// It is no answer whose length is known.
pub fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        ensure!(bytes.len() < HEAD_MAX, "the head of an answer has more than {HEAD_MAX} bytes");
        return Ok(None);
    };
    let text = bytes.get(..end).unwrap_or_default();
    let status = text.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let status = status.filter(|_| text.starts_with(b"HTTP/1.1 ")).context("an answer is not HTTP/1.1")?;
    let mut len = None;
    for line in text.split(|byte| *byte == b'\n').skip(1) {
        let Some((name, value)) = line.split_at_checked(CONTENT_LENGTH.len()) else { continue };
        if name.eq_ignore_ascii_case(CONTENT_LENGTH) {
            len = std::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok());
        }
    }
    let len = len.context("an answer does not say how long it is")?;
    Ok(Some(Head { status, body: end + 4, len }))
}

const CONTENT_LENGTH: &[u8] = b"content-length:";

/// A request as bytes.
#[must_use]
pub fn request(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n").into_bytes();
    if !body.is_empty() {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// The same with a body of JSON.
#[must_use]
pub fn json(target: &str, body: &serde_json::Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    (head + &body).into_bytes()
}

/// A connection that waits for its answers.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Nobody listens there.
    pub fn open(address: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Asks, and gives status and body. After an error the connection is of no use.
    ///
    /// # Errors
    ///
    /// The answer did not come in time, or is none.
    pub fn ask(&mut self, request: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut piece = [0; 16 << 10];
        loop {
            if let Some(head) = head(&self.buffer)?
                && self.buffer.len() >= head.end()
            {
                let body = self.buffer.get(head.body..head.end()).unwrap_or_default();
                return Ok((head.status, body.to_vec()));
            }
            match self.stream.read(&mut piece)? {
                0 => bail!("the connection was closed"),
                read => self.buffer.extend_from_slice(piece.get(..read).unwrap_or_default()),
            }
        }
    }
}

/// One request on a connection of its own.
///
/// # Errors
///
/// As [`Connection::ask`].
pub fn ask(address: SocketAddr, request: &[u8], patience: Duration) -> Result<(u16, Vec<u8>)> {
    Connection::open(address, patience)?.ask(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_all_there() {
        let answer = b"HTTP/1.1 200 OK\r\nETag: \"7\"\r\nContent-Length: 5\r\n\r\nhello";
        for cut in 0..answer.len() - 5 {
            assert_eq!(head(&answer[..cut]).unwrap(), None, "{cut}");
        }
        let found = head(answer).unwrap().unwrap();
        assert_eq!((found.status, found.len, found.end()), (200, 5, answer.len()));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(head(b"nonsense\r\n\r\n").is_err());
        assert!(head(&[b'x'; HEAD_MAX]).is_err());
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let bytes = request("PUT", "/kv?key=a", b"xyz");
        assert!(bytes.ends_with(b"content-length: 3\r\n\r\nxyz"));
        assert!(!String::from_utf8(request("GET", "/", b"")).unwrap().contains("length"));
    }
}
