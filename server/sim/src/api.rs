//! What clients ask members over the simulated network, in place of the HTTP API: one question a connection.

use std::io;
use std::time::Duration;

use conure_client::api::JoinRequest;
use conure_member::simulation::TcpStream;
use conure_member::{Consistency, JoinProgress, Member, Refusal};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::world::with;

/// Where members listen for clients.
pub(crate) const PORT: u16 = 8081;
/// Where members listen for each other.
pub(crate) const RAFT_PORT: u16 = 7001;
/// Where it moves to, and comes back from.
pub(crate) const RAFT_PORT_MOVED: u16 = 7011;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    Put { key: String, value: String },
    Delete { key: String },
    Get { key: String, stale: bool },
    Join { name: String },
    Remove { name: String },
    Transfer { name: String },
    Leader,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Put {
        revision: u64,
    },
    Deleted {
        deleted: bool,
        revision: u64,
    },
    Got {
        found: Option<(u64, String)>,
        revision: u64,
    },
    Leader(Option<String>),
    Done,
    /// Nothing was done.
    Refused(String),
    /// It may have been done, or may yet be.
    Unknown(String),
}

/// Asks the member `name`. No answer is [`Answer::Unknown`], or refused where nothing was sent.
pub(crate) async fn ask(name: &str, question: &Ask, patience: Duration) -> Answer {
    let asked = timeout(patience, async {
        let mut stream = TcpStream::connect((name, PORT)).await?;
        send(&mut stream, question).await?;
        receive(&mut stream).await
    });
    match asked.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(e)) => Answer::Unknown(e.to_string()),
        Err(_) => Answer::Unknown("no answer in time".to_owned()),
    }
}

/// Answers one question.
pub(crate) async fn serve(member: Member, mut stream: TcpStream) -> io::Result<()> {
    let question: Ask = receive(&mut stream).await?;
    let answer = answer(&member, question).await;
    send(&mut stream, &answer).await
}

async fn answer(member: &Member, question: Ask) -> Answer {
    let done = match question {
        Ask::Put { key, value } => {
            member.put(key.into(), value.into()).await.map(|put| Answer::Put { revision: put.revision })
        }
        Ask::Delete { key } => member
            .delete(key.into())
            .await
            .map(|deleted| Answer::Deleted { deleted: deleted.deleted, revision: deleted.revision }),
        Ask::Get { key, stale } => {
            let consistency = if stale { Consistency::Stale } else { Consistency::Linearizable };
            member.get(key.as_bytes(), consistency).await.map(|read| Answer::Got {
                found: read
                    .found
                    .map(|found| (found.revision, String::from_utf8_lossy(&found.value).into_owned())),
                revision: read.revision,
            })
        }
        Ask::Join { name } => {
            let port = with(|world| world.raft_port(&name));
            let request = JoinRequest { raft_addr: format!("{name}:{port}"), id: name };
            member.join(&request).await.map(|progress| match progress {
                JoinProgress::Voter(_) => Answer::Done,
                JoinProgress::CatchingUp(_) => Answer::Unknown("it still catches up".to_owned()),
            })
        }
        Ask::Remove { name } => member.remove(&name).await.map(|()| Answer::Done),
        Ask::Transfer { name } => member.transfer_leadership(&name).await.map(|()| Answer::Done),
        Ask::Leader => Ok(Answer::Leader(member.leader().map(|leader| leader.id))),
    };
    done.unwrap_or_else(|refusal| match refusal {
        Refusal::UnknownOutcome(text) => Answer::Unknown(text),
        other => Answer::Refused(other.to_string()),
    })
}

async fn send<T: Serialize>(stream: &mut TcpStream, message: &T) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    stream.write_u32(u32::try_from(body.len()).unwrap_or(u32::MAX)).await?;
    stream.write_all(&body).await
}

async fn receive<T: serde::de::DeserializeOwned>(stream: &mut TcpStream) -> io::Result<T> {
    let len = stream.read_u32().await?;
    let mut body = vec![0; len as usize];
    stream.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}
