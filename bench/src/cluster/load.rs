//! The load on ConureDB: so many clients, each with a connection of its own, that ask one request after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::http;
use super::latency::Outcome;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Stores sequential keys.
    Put,
    /// Reads one key, linearizably.
    Get,
    /// Reads one key from the member's own state.
    StaleGet,
    /// Reads nine times and stores once, one key.
    Mix,
    /// Asks a handler that does nothing.
    Nothing,
}

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// So many requests were made.
    Requests(u64),
    /// So much time has passed.
    Time(Duration),
}

/// A load.
#[derive(Debug, Clone)]
pub struct Load {
    /// What is asked.
    pub kind: Kind,
    /// Where puts go.
    pub leader: SocketAddr,
    /// Where gets go, in turn.
    pub members: Vec<SocketAddr>,
    /// How many clients.
    pub clients: usize,
    /// The length of a value.
    pub value_len: usize,
    /// When it ends.
    pub until: Until,
}

/// What all clients of a load share.
#[derive(Debug)]
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
    value: Vec<u8>,
}

/// What was asked, and how long each request took.
#[derive(Debug, Default)]
pub struct Done {
    gets: Vec<Duration>,
    puts: Vec<Duration>,
    took: Duration,
}

impl Done {
    /// Reads.
    #[must_use]
    pub fn gets(&self) -> Outcome {
        Outcome::of(self.gets.clone(), self.took)
    }

    /// Writes.
    #[must_use]
    pub fn puts(&self) -> Outcome {
        Outcome::of(self.puts.clone(), self.took)
    }

    /// Whatever it was.
    #[must_use]
    pub fn all(&self) -> Outcome {
        Outcome::of([self.gets.as_slice(), &self.puts].concat(), self.took)
    }
}

/// The name of a key: 8 bytes.
#[must_use]
pub fn key(number: u64) -> String {
    format!("{number:08}")
}

impl Load {
    /// Asks until the end, on this thread.
    ///
    /// # Errors
    ///
    /// A connection broke, or an answer was no success.
    pub fn run(&self) -> Result<Done> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.ask_all())
    }

    async fn ask_all(&self) -> Result<Done> {
        let shared = Arc::new(Shared {
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            value: vec![b'v'; self.value_len],
        });
        let mut clients = Vec::with_capacity(self.clients);
        for number in 0..self.clients {
            clients.push(self.client(number, &shared).await?);
        }
        let begun = Instant::now();
        let tasks: Vec<_> =
            clients.into_iter().map(|client| tokio::spawn(client.ask_on(self.clone()))).collect();
        if let Until::Time(time) = self.until {
            tokio::time::sleep(time).await;
            shared.stop.store(true, Ordering::Relaxed);
        }
        let mut all = Done::default();
        for task in tasks {
            let done = task.await??;
            all.gets.extend(done.gets);
            all.puts.extend(done.puts);
        }
        all.took = begun.elapsed();
        Ok(all)
    }

    async fn client(&self, number: usize, shared: &Arc<Shared>) -> Result<Client> {
        let reader = self.members.get(number % self.members.len().max(1)).copied().unwrap_or(self.leader);
        let open = async |address: SocketAddr| {
            let stream = TcpStream::connect(address).await.with_context(|| address.to_string())?;
            stream.set_nodelay(true)?;
            Ok::<_, anyhow::Error>(Line { stream, buffer: Vec::with_capacity(4096) })
        };
        let writes = matches!(self.kind, Kind::Put | Kind::Mix);
        let writer = if writes { Some(open(self.leader).await?) } else { None };
        let reader = if self.kind == Kind::Put { None } else { Some(open(reader).await?) };
        Ok(Client { writer, reader, shared: Arc::clone(shared) })
    }
}

/// One client.
struct Client {
    writer: Option<Line>,
    reader: Option<Line>,
    shared: Arc<Shared>,
}

impl Client {
    async fn ask_on(mut self, load: Load) -> Result<Done> {
        let read = match load.kind {
            Kind::Nothing => http::request("GET", "/", b""),
            Kind::StaleGet => http::request("GET", &format!("/kv?key={}&stale=true", key(0)), b""),
            Kind::Put | Kind::Get | Kind::Mix => http::request("GET", &format!("/kv?key={}", key(0)), b""),
        };
        let mut done = Done::default();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
            if matches!(load.until, Until::Requests(all) if number >= all) {
                break;
            }
            let puts = load.kind == Kind::Put || load.kind == Kind::Mix && number.is_multiple_of(10);
            if puts {
                let key = key(if load.kind == Kind::Put { number } else { 0 });
                let request = http::request("PUT", &format!("/kv?key={key}"), &self.shared.value);
                let line = self.writer.as_mut().context("a client that stores has a connection for it")?;
                done.puts.push(line.ask(&request).await?);
            } else {
                let line = self.reader.as_mut().context("a client that reads has a connection for it")?;
                done.gets.push(line.ask(&read).await?);
            }
        }
        Ok(done)
    }
}

/// A connection.
struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    /// Asks and waits for the whole answer, which must be a success.
    async fn ask(&mut self, request: &[u8]) -> Result<Duration> {
        let begun = Instant::now();
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("a connection was closed");
            }
            let Some(head) = http::head(&self.buffer)? else { continue };
            if self.buffer.len() < head.end() {
                continue;
            }
            if head.status != 200 {
                let body = self.buffer.get(head.body..head.end()).unwrap_or_default();
                bail!("status {}: {}", head.status, String::from_utf8_lossy(body));
            }
            return Ok(begun.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits;
    use super::*;

    fn nothing(clients: usize, until: Until) -> Load {
        let address = limits::serve_nothing_in_background().unwrap();
        let (kind, members) = (Kind::Nothing, vec![address]);
        Load { kind, leader: address, members, clients, value_len: 0, until }
    }

    #[test]
    fn a_load_makes_as_many_requests_as_it_should() {
        let done = nothing(7, Until::Requests(1000)).run().unwrap();
        assert_eq!((done.gets().requests, done.puts().requests), (1000, 0));
        assert!(done.all().p50_ms > 0.0);
    }

    #[test]
    fn a_load_ends_when_its_time_is_over() {
        let done = nothing(2, Until::Time(Duration::from_millis(50))).run().unwrap();
        assert!(done.took >= Duration::from_millis(50) && done.all().requests > 0);
    }

    #[test]
    fn an_answer_that_is_no_success_ends_the_load() {
        let load = Load { kind: Kind::Get, ..nothing(1, Until::Requests(10)) };
        assert!(load.run().unwrap_err().to_string().contains("404"));
    }
}
