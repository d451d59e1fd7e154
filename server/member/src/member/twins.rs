//! Two processes with one data directory: a copied volume, a cloned machine.
//!
//! Whoever has a copy of a directory can say all that the original can. What it cannot do is be found at the address at which
//! the cluster knows the original. So a process that a member has not met before is let in only after that address was
//! asked: if the same process answers there, it is the member.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::node::Node;
use crate::raft::types::Peer;
use crate::transport::connection::CallError;
use crate::transport::message::{Identified, Introduced, Introduction, RefusedHello};

/// Between two looks at a member that may have stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What was found at the address at which the cluster knows a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The process that said hello.
    Same,
    /// Another process that has the member's directory.
    Twin,
    /// Somebody else.
    Stranger,
    /// Nobody that could say: no answer, or one of an earlier version.
    Nobody,
}

impl Found {
    fn at(id: u64, boot: u64, answer: &Result<(Identified, Option<Introduced>), CallError>) -> Self {
        match answer {
            Ok((who, _)) if who.node_id != id => Self::Stranger,
            Ok((_, Some(there))) if there.boot == boot => Self::Same,
            Ok((_, Some(_))) => Self::Twin,
            Ok((_, None)) | Err(_) => Self::Nobody,
        }
    }
}

/// Whether a process that says that it is dialled at `own_addr` is let in as the member that the cluster knows at `addr`.
/// While that address does not answer, for example because its name does not resolve yet, its owner is believed.
fn admit(found: Found, addr: &str, own_addr: &str) -> Result<(), RefusedHello> {
    match found {
        Found::Same => Ok(()),
        Found::Twin => Err(RefusedHello::Copied(addr.to_owned())),
        Found::Nobody if addr == own_addr => Ok(()),
        Found::Stranger | Found::Nobody => Err(RefusedHello::Moved(addr.to_owned())),
    }
}

impl Node {
    /// Before the member `known` is taken for moved to `addr`, where `process` is: whether its directory is in use at the known
    /// address, too, in words for users. One that answered there a moment ago has perhaps only stopped: that is waited for.
    pub(super) async fn finds_twin(&self, process: &Introduced, known: &Peer, addr: &str) -> Option<String> {
        let id = process.who.node_id;
        let silent_by = Instant::now() + self.tuning.election_timeout_max * 3;
        loop {
            let found = Found::at(id, process.boot, &self.identify(&known.raft_addr).await);
            let answers = match found {
                Found::Same | Found::Stranger => return None,
                Found::Twin => true,
                Found::Nobody => self.answered_lately(id),
            };
            if !answers {
                return None;
            }
            if found == Found::Twin || Instant::now() > silent_by {
                return Some(format!(
                    "member {:?} runs at {:?}, and a process at {addr:?} has the same data directory or a copy of it; stop one of \
                     the two, and join the other one",
                    known.name, known.raft_addr
                ));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Lets the process of the member `sender` in, or says why not. A sender whose address is not known yet, as to a member that
    /// only just joins, is let in.
    pub(super) async fn admit(&self, sender: u64, process: &Introduction) -> Result<(), RefusedHello> {
        if sender == self.identity.node_id {
            return Err(RefusedHello::Copied(self.dialer.raft_addr.clone()));
        }
        if self.dialer.met.is(sender, process.boot) {
            return Ok(());
        }
        let Some(peer) = self.peers().remove(&sender) else { return Ok(()) };
        // One that asks for a vote waits no longer for all of its answer.
        let patience = self.tuning.election_timeout_min / 3;
        let answer = timeout(patience, self.identify(&peer.raft_addr)).await;
        let answer = answer.unwrap_or(Err(CallError::Timeout(patience)));
        let found = Found::at(sender, process.boot, &answer);
        let admitted = admit(found, &peer.raft_addr, &process.raft_addr);
        if found == Found::Same {
            self.dialer.met.set(sender, process.boot);
        } else if let Err(why) = &admitted {
            tracing::warn!(
                member = peer.name, known_at = peer.raft_addr, says = process.raft_addr, found = ?found, %why,
                "refused a process that has a member's data directory and is not found at its address"
            );
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_at_the_known_address_is_the_member() {
        let refused = |found, own| admit(found, "known:1", own).unwrap_err();
        for own in ["known:1", "other:1"] {
            assert_eq!(admit(Found::Same, "known:1", own), Ok(()));
            assert_eq!(refused(Found::Twin, own), RefusedHello::Copied("known:1".into()));
            assert_eq!(refused(Found::Stranger, own), RefusedHello::Moved("known:1".into()));
        }
        // While nobody can say otherwise, the address that it claims decides.
        assert_eq!(admit(Found::Nobody, "known:1", "known:1"), Ok(()));
        assert_eq!(refused(Found::Nobody, "other:1"), RefusedHello::Moved("known:1".into()));
    }
}
