//! Names of hosts into addresses. The system's resolver blocks, for half a minute where its servers do not answer, and whoever
//! gives up on it frees no thread: so each name is looked up once at a time, on a thread of its own, and the addresses
//! of before stand in for an answer that does not come.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How long a lookup may take before the addresses that were found last are good enough.
const LOOKUP_PATIENCE: Duration = Duration::from_millis(250);
/// So many names are remembered.
const NAMES_MAX: usize = 256;
/// So many names are looked up at once, each on a thread.
const LOOKUPS_MAX: usize = 32;

/// What one lookup comes to; none while it is under way.
type Answer = Option<Result<Arc<[SocketAddr]>, Arc<io::Error>>>;
/// The addresses that were found last, if any.
type Before = Option<Arc<[SocketAddr]>>;
type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// What is known of one `HOST:PORT`.
#[derive(Debug)]
struct Known {
    addresses: Before,
    /// While it is looked up.
    under_way: Option<watch::Receiver<Answer>>,
    used: Instant,
}

/// See the module. Cloning shares what is known.
#[derive(Clone)]
pub(crate) struct Names {
    lookup: Arc<Lookup>,
    known: Arc<Mutex<BTreeMap<String, Known>>>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

/// The names of this process's machine.
pub(crate) static NAMES: LazyLock<Names> =
    LazyLock::new(|| Names::new(|name| Ok(name.to_socket_addrs()?.collect())));

impl Names {
    /// Names that `lookup`, which may block for as long as it likes, finds.
    pub(crate) fn new(lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses of `name`, which is `HOST:PORT`: those of now, or the last ones where the resolver fails or does not
    /// answer in good time. Where none are known it waits for the resolver; whoever calls sets a bound.
    pub(crate) async fn addresses(&self, name: &str) -> io::Result<Arc<[SocketAddr]>> {
        if let Ok(address) = name.parse() {
            return Ok(Arc::from([address]));
        }
        let (before, mut answer) = self.ask(name)?;
        let answered = async {
            let answer = answer.wait_for(Option::is_some).await;
            // The thread that looks ends with an answer, or panics.
            answer.map_or_else(
                |_| Err(Arc::new(io::Error::other("the lookup broke off"))),
                |answer| answer.clone().unwrap_or_else(|| Err(Arc::new(io::ErrorKind::NotFound.into()))),
            )
        };
        let found = match &before {
            Some(before) => {
                timeout(LOOKUP_PATIENCE, answered).await.unwrap_or_else(|_| Ok(Arc::clone(before)))
            }
            None => answered.await,
        };
        match (found, before) {
            (Ok(found), _) => Ok(found),
            (Err(_), Some(before)) => Ok(before),
            (Err(e), None) => Err(io::Error::new(e.kind(), format!("{name:?} is not found: {e}"))),
        }
    }

    /// Has `name` looked up, if that is not under way: the addresses of before, and where the answer comes.
    fn ask(&self, name: &str) -> io::Result<(Before, watch::Receiver<Answer>)> {
        let mut known = self.known();
        let under_way = known.values().filter(|known| known.under_way.is_some()).count();
        make_room(&mut known, name);
        let fresh = || Known { addresses: None, under_way: None, used: Instant::now() };
        let entry = known.entry(name.to_owned()).or_insert_with(fresh);
        entry.used = Instant::now();
        if let Some(answer) = &entry.under_way {
            return Ok((entry.addresses.clone(), answer.clone()));
        }
        if under_way >= LOOKUPS_MAX {
            return Err(io::Error::other("too many names are being looked up: the resolver does not answer"));
        }
        let (sender, answer) = watch::channel(None);
        let (names, name) = (self.clone(), name.to_owned());
        std::thread::Builder::new().name("conure-lookup".to_owned()).spawn(move || {
            let found = (names.lookup)(&name).and_then(|found| {
                if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(Arc::from(found)) }
            });
            names.learn(&name, found.map_err(Arc::new), &sender);
        })?;
        entry.under_way = Some(answer.clone());
        Ok((entry.addresses.clone(), answer))
    }

    fn learn(
        &self,
        name: &str,
        found: Result<Arc<[SocketAddr]>, Arc<io::Error>>,
        to: &watch::Sender<Answer>,
    ) {
        if let Some(entry) = self.known().get_mut(name) {
            entry.under_way = None;
            if let Ok(found) = &found {
                entry.addresses = Some(Arc::clone(found));
            }
        }
        to.send_replace(Some(found));
    }
}

/// Forgets the name that was asked for least lately, where there are too many. One that is being looked up stays.
fn make_room(known: &mut BTreeMap<String, Known>, name: &str) {
    if known.len() < NAMES_MAX || known.contains_key(name) {
        return;
    }
    let idle = known.iter().filter(|(_, known)| known.under_way.is_none());
    if let Some(oldest) = idle.min_by_key(|(_, known)| known.used).map(|(name, _)| name.clone()) {
        known.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A resolver that may be a black hole.
    #[derive(Debug, Default)]
    struct Resolver {
        silent: Mutex<bool>,
        answers: Condvar,
        asked: AtomicUsize,
        fails: Mutex<bool>,
    }

    impl Resolver {
        fn names(self: &Arc<Self>) -> Names {
            let resolver = Arc::clone(self);
            Names::new(move |_| {
                resolver.asked.fetch_add(1, Ordering::SeqCst);
                let silent = resolver.silent.lock().unwrap();
                drop(resolver.answers.wait_while(silent, |silent| *silent).unwrap());
                if *resolver.fails.lock().unwrap() {
                    return Err(io::Error::other("SERVFAIL"));
                }
                Ok(vec![ADDRESS.parse().unwrap()])
            })
        }

        fn set_silent(&self, silent: bool) {
            *self.silent.lock().unwrap() = silent;
            self.answers.notify_all();
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    const ADDRESS: &str = "127.0.0.9:7001";

    #[tokio::test]
    async fn a_name_is_looked_up_once_at_a_time_and_known_through_an_outage() {
        let resolver = Arc::new(Resolver::default());
        let names = resolver.names();
        let wanted: SocketAddr = ADDRESS.parse().unwrap();
        assert_eq!(names.addresses("node1:7001").await.unwrap()[..], [wanted]);
        // A black hole: the addresses of before, and one thread however often it is asked for.
        resolver.set_silent(true);
        for _ in 0..3 {
            assert_eq!(names.addresses("node1:7001").await.unwrap()[..], [wanted]);
        }
        assert_eq!(resolver.asked(), 2);
        // It answers again, with an error: the addresses of before all the same.
        *resolver.fails.lock().unwrap() = true;
        resolver.set_silent(false);
        assert_eq!(names.addresses("node1:7001").await.unwrap()[..], [wanted]);
        let error = names.addresses("node2:7001").await.unwrap_err();
        assert!(error.to_string().contains("\"node2:7001\"") && error.to_string().contains("SERVFAIL"));
    }

    #[tokio::test]
    async fn an_address_is_no_name_and_names_without_an_answer_take_a_bound_of_threads() {
        let resolver = Arc::new(Resolver::default());
        let names = resolver.names();
        assert_eq!(names.addresses("[::1]:7001").await.unwrap()[..], ["[::1]:7001".parse().unwrap()]);
        assert_eq!(resolver.asked(), 0);
        resolver.set_silent(true);
        for number in 0..2 * LOOKUPS_MAX {
            let name = format!("node{number}:7001");
            let waited = timeout(Duration::from_millis(1), names.addresses(&name)).await;
            // Either it waits, or it is refused at once.
            assert_eq!(waited.is_err(), number < LOOKUPS_MAX, "{number}: {waited:?}");
        }
        resolver.set_silent(false);
        assert!(names.addresses("node0:7001").await.is_ok());
    }

    #[tokio::test]
    async fn no_more_names_are_remembered_than_the_bound() {
        let resolver = Arc::new(Resolver::default());
        let names = resolver.names();
        for number in 0..NAMES_MAX + 10 {
            names.addresses(&format!("node{number}:7001")).await.unwrap();
        }
        assert_eq!(names.known().len(), NAMES_MAX);
    }
}
