//! What a leader asks of a node that is not, or not surely, in its cluster.

use std::time::Duration;

use super::node::Node;
use crate::transport::connection::{self, CallError, Connection};
use crate::transport::message::{Identified, Introduced, MINOR_INTRODUCES, Purpose, Request, Response};
use crate::transport::network::Dialer;

const PATIENCE: Duration = Duration::from_secs(5);
/// A release waits for a commit, an adoption for a new log.
const INVITE_PATIENCE: Duration = Duration::from_secs(20);

/// Who is there? Of a member of an earlier version no more is known than what identifies it.
pub(super) async fn identify(
    dialer: &Dialer,
    addr: &str,
) -> Result<(Identified, Option<Introduced>), CallError> {
    let hello = dialer.hello(Purpose::Identify, 0);
    let mut connection = Connection::open(addr, &hello, PATIENCE).await?;
    let request = if connection.minor >= MINOR_INTRODUCES { Request::Introduce } else { Request::Identify };
    match connection.call(&request, PATIENCE).await? {
        Response::Identified(who) => Ok((who, None)),
        Response::Introduced(process) => Ok((process.who.clone(), Some(*process))),
        Response::Failed(failure) => Err(CallError::Failed(failure)),
        _ => Err(CallError::Confused),
    }
}

impl Node {
    /// The same.
    pub(crate) async fn identify(&self, addr: &str) -> Result<(Identified, Option<Introduced>), CallError> {
        identify(&self.dialer, addr).await
    }

    /// Asks a node of no or another cluster for something.
    pub(crate) async fn invite(
        &self,
        addr: &str,
        target: u64,
        request: &Request,
    ) -> Result<Response, CallError> {
        let hello = self.dialer.hello(Purpose::Invite, target);
        connection::ask(addr, &hello, request, INVITE_PATIENCE).await
    }

    /// Tells a member that it was removed; if it is not there it finds out when it dials anyone.
    pub(crate) async fn farewell(&self, addr: &str, target: u64) -> bool {
        let told = self.dialer.ask(target, addr, &Request::Farewell, PATIENCE).await;
        matches!(told, Ok(Response::Done))
    }
}
