//! What a leader asks of a node that is not, or not surely, in its cluster.

use std::time::Duration;

use super::node::Node;
use crate::transport::connection::{self, CallError};
use crate::transport::message::{Identified, Purpose, Request, Response};

const PATIENCE: Duration = Duration::from_secs(5);
/// A release waits for a commit, an adoption for a new log.
const INVITE_PATIENCE: Duration = Duration::from_secs(20);

impl Node {
    /// Who is there?
    pub(crate) async fn identify(&self, addr: &str) -> Result<Identified, CallError> {
        let hello = self.dialer.hello(Purpose::Identify, 0);
        match connection::ask(addr, &hello, &Request::Identify, PATIENCE).await? {
            Response::Identified(who) => Ok(who),
            Response::Failed(failure) => Err(CallError::Failed(failure)),
            _ => Err(CallError::Confused),
        }
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
