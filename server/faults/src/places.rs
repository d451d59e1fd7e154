//! Where the members are, which changes, and who asks them.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use conure_client::Client;

use crate::member::Place;

/// How long a member may take to tell its status.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Places(RwLock<Inner>);

#[derive(Debug)]
struct Inner {
    places: Vec<Place>,
    /// Asks one member each, once.
    asking: Vec<Client>,
    /// Asks any of them.
    admin: Client,
}

fn asking(place: &Place) -> Result<Client> {
    Ok(Client::builder().server(&place.url).attempts(1).timeout(STATUS_TIMEOUT).build()?)
}

fn admin(places: &[Place]) -> Result<Client> {
    let urls = places.iter().map(|place| place.url.as_str());
    Ok(Client::builder().servers(urls).timeout(Duration::from_secs(5)).attempts(2 * 5).build()?)
}

impl Places {
    pub(crate) fn new(places: Vec<Place>) -> Result<Self> {
        let each = places.iter().map(asking).collect::<Result<_>>()?;
        Ok(Self(RwLock::new(Inner { asking: each, admin: admin(&places)?, places })))
    }

    fn read<T>(&self, work: impl FnOnce(&Inner) -> T) -> T {
        work(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn count(&self) -> usize {
        self.read(|inner| inner.places.len())
    }

    pub(crate) fn get(&self, member: usize) -> Option<Place> {
        self.read(|inner| inner.places.get(member).cloned())
    }

    /// Asks that member, once.
    pub(crate) fn asking(&self, member: usize) -> Option<Client> {
        self.read(|inner| inner.asking.get(member).cloned())
    }

    /// Asks any of them, for changes of the membership.
    pub(crate) fn admin(&self) -> Client {
        self.read(|inner| inner.admin.clone())
    }

    /// From now on the member is there.
    pub(crate) fn moved(&self, member: usize, place: Place) -> Result<()> {
        let client = asking(&place)?;
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        *inner.asking.get_mut(member).context("no such member")? = client;
        *inner.places.get_mut(member).context("no such member")? = place;
        inner.admin = admin(&inner.places)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_moved_is_asked_where_it_is() {
        let places = Places::new((0..3).map(Place::of).collect()).unwrap();
        places.moved(1, Place::shifted(1, 7)).unwrap();
        assert_eq!(places.get(1).unwrap().url, "http://10.99.0.11:8088");
        assert_eq!(places.get(1).unwrap().raft, "10.99.0.11:7008");
        let asked = |client: Client| client.servers().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(asked(places.asking(1).unwrap())[0].contains(":8088"));
        let all = asked(places.admin()).join(" ");
        assert!(all.contains("10.99.0.10:8081") && all.contains("10.99.0.11:8088"), "{all}");
        assert!(places.moved(3, Place::of(3)).is_err());
    }
}
