//! A network between members that knows frames: it can be cut, and makes whoever dials through it an older member.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The numbers of the messages that passed.
type Seen = Arc<Mutex<BTreeSet<u8>>>;

pub(crate) struct Wire {
    /// Where it is entered.
    pub(crate) addr: String,
    cut: watch::Sender<bool>,
    asked: Seen,
    answered: Seen,
}

impl Wire {
    pub(crate) async fn to(addr: String) -> Self {
        Self::of_minor(addr, u8::MAX).await
    }

    /// Both ends take each other for members of that minor version, if theirs is higher.
    pub(crate) async fn of_minor(to: String, minor: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let (cut, is_cut) = watch::channel(false);
        let (asked, answered) = (Seen::default(), Seen::default());
        let (questions, answers) = (Arc::clone(&asked), Arc::clone(&answered));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (to, is_cut) = (to.clone(), is_cut.clone());
                let (questions, answers) = (Arc::clone(&questions), Arc::clone(&answers));
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(to).await else { return };
                    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                    tokio::select! {
                        _ = carry(from_near, to_far, is_cut.clone(), Some(minor), questions) => {}
                        _ = carry(from_far, to_near, is_cut, None, answers) => {}
                    }
                });
            }
        });
        Self { addr, cut, asked, answered }
    }

    /// From now on nothing passes, and nobody is told.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    pub(crate) fn mend(&self) {
        self.cut.send_replace(false);
    }

    /// Whether a request of that number passed.
    pub(crate) fn asked(&self, number: u8) -> bool {
        self.asked.lock().unwrap().contains(&number)
    }

    /// Whether an answer of that number did.
    pub(crate) fn answered(&self, number: u8) -> bool {
        self.answered.lock().unwrap().contains(&number)
    }
}

/// Makes a hello that of a member whose minor version is `minor` at most: what later ones add at its end is cut off.
fn as_of_minor(hello: &mut Vec<u8>, minor: u8) {
    // The magic; the protocol and the purpose, of one byte each; the cluster's id with its length before it.
    let mut at = 6 + 1 + usize::from(hello[6]);
    // Incarnation, sender and target end each with the first byte that is below 128.
    for _ in 0..3 {
        at += 1 + hello[at..].iter().position(|byte| *byte < 128).unwrap();
    }
    if hello[at] > minor {
        hello[at] = minor;
        if minor < 3 {
            hello.truncate(at + 1);
        }
    }
}

/// Carries frames one way. The first is a hello or its answer.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut is_cut: watch::Receiver<bool>,
    minor: Option<u8>,
    seen: Seen,
) -> io::Result<()> {
    let mut first = true;
    loop {
        let mut header = [0; 8];
        from.read_exact(&mut header).await?;
        let length: [u8; 4] = header[..4].try_into().unwrap();
        let mut payload = vec![0; u32::from_le_bytes(length) as usize];
        from.read_exact(&mut payload).await?;
        if let (true, Some(minor)) = (first, minor) {
            as_of_minor(&mut payload, minor);
        }
        if !std::mem::take(&mut first)
            && let Some(number) = payload.first()
        {
            seen.lock().unwrap().insert(*number);
        }
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&length), &payload).to_le_bytes();
        if is_cut.wait_for(|cut| !cut).await.is_err() {
            return Ok(());
        }
        to.write_all(&[&length[..], &crc, &payload].concat()).await?;
    }
}
