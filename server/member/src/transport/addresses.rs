//! Where the members are dialled: where the membership says, or, while nobody is there, where a hint says.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::raft::types::Peer;

/// What is known of one member.
#[derive(Debug, Clone)]
struct Place {
    name: String,
    /// What the membership says.
    addr: String,
    /// What an operator says.
    hint: Option<String>,
    /// The next dial goes to the hint: the last one found nobody at the membership's address.
    by_hint: bool,
}

impl Place {
    /// The hint, where it says something else than the membership does.
    fn elsewhere(&self) -> Option<&String> {
        self.hint.as_ref().filter(|hint| **hint != self.addr)
    }
}

/// The members' Raft addresses by node id. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses(Arc<RwLock<BTreeMap<u64, Place>>>);

impl Addresses {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Place>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Place>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the membership says; hints for members that stay are kept.
    pub(crate) fn set(&self, peers: BTreeMap<u64, Peer>) {
        let mut known = self.write();
        let place = |(id, peer): (u64, Peer)| {
            let before = known.get(&id);
            let hint = before.and_then(|place| place.hint.clone());
            let by_hint = before.is_some_and(|place| place.by_hint && place.addr == peer.raft_addr);
            (id, Place { name: peer.name, addr: peer.raft_addr, hint, by_hint })
        };
        let places = peers.into_iter().map(place).collect();
        *known = places;
    }

    /// Notes that the member called `name` may be found at `addr`. Names that no member has are ignored.
    pub(crate) fn hint(&self, name: &str, addr: &str) {
        for place in self.write().values_mut().filter(|place| place.name == name) {
            if place.hint.as_deref() != Some(addr) {
                place.hint = Some(addr.to_owned());
            }
        }
    }

    /// What the member `id` is called, to whoever reads of it.
    pub(crate) fn name(&self, id: u64) -> String {
        self.read().get(&id).map_or_else(|| id.to_string(), |place| place.name.clone())
    }

    /// What the membership says of `id`.
    pub(crate) fn known(&self, id: u64) -> Option<String> {
        self.read().get(&id).map(|place| place.addr.clone())
    }

    /// Where a hint says that `id` is, if that is not where the membership says.
    pub(crate) fn hinted(&self, id: u64) -> Option<String> {
        self.read().get(&id).and_then(Place::elsewhere).cloned()
    }

    /// Where to dial `id` now, which the membership has at `addr`.
    pub(crate) fn next(&self, id: u64, addr: &str) -> String {
        let hint = self.read().get(&id).filter(|place| place.by_hint).and_then(Place::elsewhere).cloned();
        hint.unwrap_or_else(|| addr.to_owned())
    }

    /// Nobody, or somebody else, was found at `addr`: the other address of `id` is next, if it has two.
    pub(crate) fn not_found(&self, id: u64, addr: &str) {
        let two = self.hinted(id).is_some();
        if two && let Some(place) = self.write().get_mut(&id) {
            place.by_hint = place.addr == addr;
        }
    }
}

#[cfg(test)]
mod tests {
    use conure_client::api::Role;

    use super::*;

    fn members(addr: &str) -> BTreeMap<u64, Peer> {
        let peer = |name: &str, raft_addr: &str| Peer {
            name: name.into(),
            raft_addr: raft_addr.into(),
            http_addr: String::new(),
            role: Role::Data,
        };
        BTreeMap::from([(1, peer("n1", "a:1")), (2, peer("n2", addr))])
    }

    #[test]
    fn a_hint_is_tried_after_the_memberships_address_and_in_turn_with_it() {
        let addresses = Addresses::default();
        addresses.set(members("a:2"));
        addresses.hint("n2", "b:2");
        addresses.hint("n3", "b:3");
        assert_eq!(addresses.next(2, "a:2"), "a:2");
        addresses.not_found(2, "a:2");
        assert_eq!(addresses.next(2, "a:2"), "b:2");
        addresses.not_found(2, "b:2");
        assert_eq!(addresses.next(2, "a:2"), "a:2");
        // Without a hint there is but one.
        addresses.not_found(1, "a:1");
        assert_eq!(addresses.next(1, "a:1"), "a:1");
    }

    #[test]
    fn a_new_address_in_the_membership_comes_before_a_hint() {
        let addresses = Addresses::default();
        addresses.set(members("a:2"));
        addresses.hint("n2", "b:2");
        addresses.not_found(2, "a:2");
        addresses.set(members("a:2"));
        assert_eq!(addresses.next(2, "a:2"), "b:2");
        addresses.set(members("c:2"));
        assert_eq!(addresses.next(2, "c:2"), "c:2");
        addresses.set(members("b:2"));
        assert_eq!(addresses.hinted(2), None);
    }
}
