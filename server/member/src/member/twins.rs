//! Two processes with one data directory: a copied volume, a cloned machine.
//!
//! Whoever has a copy of a directory can say all that the original can. What it cannot do is be found at the address at which
//! the cluster knows the original. So a process that a member has not met before is let in only after that address was
//! asked: if the same process answers there, it is the member.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::calls::identify;
use super::node::Node;
use crate::raft::types::Peer;
use crate::transport::connection::CallError;
use crate::transport::message::{Identified, Introduced, Introduction, RefusedHello};

/// Between two looks at a member that may have stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What was found at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The process that said hello.
    Same,
    /// Another process that has the member's directory.
    Twin,
    /// Somebody else.
    Stranger,
    /// Nobody that could say: nothing listens there, the name is not known, or an earlier version answered.
    Nobody,
    /// No answer so far.
    Silence,
}

impl Found {
    fn at(id: u64, boot: u64, answer: &Result<(Identified, Option<Introduced>), CallError>) -> Self {
        match answer {
            Ok((who, _)) if who.node_id != id => Self::Stranger,
            Ok((_, Some(there))) if there.boot == boot => Self::Same,
            Ok((_, Some(_))) => Self::Twin,
            Err(CallError::Timeout(_)) => Self::Silence,
            Ok((_, None)) | Err(_) => Self::Nobody,
        }
    }
}

/// Whether a process that says that it is dialled at `own_addr` is let in as the member that the cluster knows at `addr`.
///
/// Where nobody there can say, it is believed if it claims that address: its name may not resolve yet, or mean something
/// else here, as 127.0.0.1 does. It is not believed while an earlier process of the member was met and may only be silent.
fn admit(found: Found, addr: &str, own_addr: &str, another_was_met: bool) -> Result<(), RefusedHello> {
    match found {
        Found::Same => Ok(()),
        Found::Twin => Err(RefusedHello::Copied(addr.to_owned())),
        Found::Nobody | Found::Stranger if addr == own_addr => Ok(()),
        Found::Silence if addr == own_addr && !another_was_met => Ok(()),
        Found::Nobody | Found::Stranger | Found::Silence => Err(RefusedHello::Moved(addr.to_owned())),
    }
}

impl Node {
    /// Before the member `known` is taken for moved to `addr`, where `process` is: whether its directory is in use at the known
    /// address, too, in words for users. One that answered there a moment ago has perhaps only stopped: that is waited for.
    pub(super) async fn finds_twin(&self, process: &Introduced, known: &Peer, addr: &str) -> Option<String> {
        let id = process.who.node_id;
        let silent_by = Instant::now() + self.tuning.election_timeout_max * 3;
        loop {
            let found = self.process_of(process, known, addr).await;
            let answers = match found {
                Found::Same | Found::Stranger => return None,
                Found::Twin => true,
                // The very process may have answered, where a hint led to it.
                Found::Nobody | Found::Silence => {
                    let met = self.dialer.met.get(id);
                    let same = met.is_some_and(|met| met.boot == process.boot && met.addr == addr);
                    !same && self.answered_lately(id)
                }
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

    /// Who is at the known address or, where that is somebody else's now, at the one where another process of the member was met.
    async fn process_of(&self, process: &Introduced, known: &Peer, addr: &str) -> Found {
        let id = process.who.node_id;
        let found = Found::at(id, process.boot, &self.identify(&known.raft_addr).await);
        let met = self.dialer.met.get(id).filter(|met| met.boot != process.boot && met.addr != addr);
        match met {
            Some(met) if found == Found::Stranger && met.addr != known.raft_addr => {
                Found::at(id, process.boot, &self.identify(&met.addr).await)
            }
            _ => found,
        }
    }

    /// Lets the process of the member `sender` in, or says why not. A sender whose address is not known yet, as to a member that
    /// only just joins, is let in.
    pub(super) async fn admit(&self, sender: u64, process: &Introduction) -> Result<(), RefusedHello> {
        if sender == self.identity.node_id {
            return Err(RefusedHello::Copied(self.dialer.raft_addr.clone()));
        }
        let met = self.dialer.met.get(sender);
        if met.as_ref().is_some_and(|met| met.boot == process.boot) {
            return Ok(());
        }
        let Some(peer) = self.peers().remove(&sender) else { return Ok(()) };
        let (addr, own_addr) = (&peer.raft_addr, &process.raft_addr);
        let mut found = self.look(sender, process.boot, addr).await;
        if found == Found::Stranger && addr != own_addr {
            // The cluster's address for the member is somebody else's now: it has moved, and is where it says, unless another
            // process of it was met elsewhere and is there still.
            let elsewhere = met.as_ref().map(|met| &met.addr).filter(|elsewhere| *elsewhere != own_addr);
            found = match elsewhere {
                Some(elsewhere) if self.look(sender, process.boot, elsewhere).await == Found::Twin => {
                    Found::Twin
                }
                _ => match self.look(sender, process.boot, own_addr).await {
                    Found::Same => Found::Same,
                    _ => Found::Stranger,
                },
            };
        }
        // An operator says that it may be where it says. An earlier process that was met and is only silent may be there still.
        let met_another = met.as_ref().is_some_and(|met| met.boot != process.boot);
        if (matches!(found, Found::Nobody | Found::Stranger) || found == Found::Silence && !met_another)
            && self.dialer.addresses.hinted(sender).as_ref() == Some(own_addr)
            && self.look(sender, process.boot, own_addr).await == Found::Same
        {
            found = Found::Same;
        }
        let admitted = admit(found, addr, own_addr, met.is_some());
        match &admitted {
            Err(RefusedHello::Copied(_)) if self.dialer.met.may_warn() => tracing::warn!(
                member = peer.name,
                known_at = addr,
                says = own_addr,
                "refused a process that has the data directory of a member which runs elsewhere, or a copy of it"
            ),
            // It has the leader look, and moves, unless there is none.
            Err(_) if self.dialer.met.may_warn() => tracing::info!(
                member = peer.name,
                known_at = addr,
                says = own_addr,
                ?found,
                "a member's process is not let in, as it is not at the address that the cluster knows"
            ),
            _ => {}
        }
        admitted
    }

    /// Which process of the member `id` is at `addr`, as far as can be said before a vote would be waited for in vain. What is
    /// found later counts for the next hello.
    async fn look(&self, id: u64, boot: u64, addr: &str) -> Found {
        let patience = self.tuning.election_timeout_min / 3;
        let turn = async {
            loop {
                match self.dialer.met.look(id, addr) {
                    Some(looking) => break looking,
                    None => sleep(LOOK_AGAIN / 5).await,
                }
            }
        };
        let Ok(looking) = timeout(patience, turn).await else { return Found::Silence };
        let (answer, looked) = oneshot::channel();
        let (dialer, stop, addr) = (self.dialer.clone(), self.stop.clone(), addr.to_owned());
        tokio::spawn(async move {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                asked = identify(&dialer, &addr) => asked,
            };
            let found = Found::at(id, boot, &asked);
            if found == Found::Same {
                dialer.met.set(id, boot, addr);
            }
            drop(looking);
            // Whoever asked may have gone.
            let _ = answer.send(found);
        });
        match timeout(patience, looked).await {
            Ok(Ok(found)) => found,
            _ => Found::Silence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_at_the_known_address_is_the_member() {
        let refused = |found, own, met| admit(found, "known:1", own, met).unwrap_err();
        for (own, met) in [("known:1", true), ("known:1", false), ("other:1", true), ("other:1", false)] {
            assert_eq!(admit(Found::Same, "known:1", own, met), Ok(()));
            assert_eq!(refused(Found::Twin, own, met), RefusedHello::Copied("known:1".into()));
        }
        let moved = RefusedHello::Moved("known:1".into());
        for found in [Found::Nobody, Found::Stranger, Found::Silence] {
            // While nobody can say otherwise, the address that it claims decides.
            assert_eq!(admit(found, "known:1", "known:1", false), Ok(()));
            assert_eq!(refused(found, "other:1", false), moved);
        }
        assert_eq!(admit(Found::Nobody, "known:1", "known:1", true), Ok(()));
        // The one that was met may be there, and slow to answer.
        assert_eq!(refused(Found::Silence, "known:1", true), moved);
    }
}
