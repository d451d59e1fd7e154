//! The entries of a tree within bounds.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use smallvec::SmallVec;

use crate::Error;
use crate::meta::TreeState;
use crate::place::{Place, Way};
use crate::read::Entry;
use crate::view::Source;

/// The entries of a tree within bounds, in ascending order, from both ends. Keys and values are borrowed from the
/// snapshot without copying. An error is the last item.
pub struct Range<'a> {
    source: &'a (dyn Source + Sync),
    tree: TreeState,
    lower: Bound<Key>,
    upper: Bound<Key>,
    front: Option<Place<'a>>,
    back: Option<Place<'a>>,
    front_key: Option<&'a [u8]>,
    back_key: Option<&'a [u8]>,
    done: bool,
}

/// A bound's own copy of its key: a range over a few entries allocates nothing.
type Key = SmallVec<[u8; 36]>;

fn owned(bound: Bound<&&[u8]>) -> Bound<Key> {
    bound.map(|key| Key::from_slice(key))
}

fn borrowed(bound: &Bound<Key>) -> Bound<&[u8]> {
    bound.as_ref().map(SmallVec::as_slice)
}

/// The least key that is above all keys that begin with `prefix`; none when there is no such key.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

impl<'a> Range<'a> {
    pub(crate) fn new<'k>(
        source: &'a (dyn Source + Sync),
        tree: TreeState,
        bounds: &impl RangeBounds<&'k [u8]>,
    ) -> Self {
        Self {
            source,
            tree,
            lower: owned(bounds.start_bound()),
            upper: owned(bounds.end_bound()),
            front: None,
            back: None,
            front_key: None,
            back_key: None,
            done: false,
        }
    }

    /// The entries whose keys begin with `prefix`.
    pub(crate) fn prefix(source: &'a (dyn Source + Sync), tree: TreeState, prefix: &[u8]) -> Self {
        let lower = Bound::Included(prefix);
        match after_prefix(prefix) {
            Some(after) => Self::new(source, tree, &(lower, Bound::Excluded(after.as_slice()))),
            None => Self::new(source, tree, &(lower, Bound::Unbounded)),
        }
    }

    fn move_on(&mut self, way: Way) -> Result<Option<Entry<'a>>, Error> {
        let (place, bound) = match way {
            Way::Up => (&mut self.front, &self.lower),
            Way::Down => (&mut self.back, &self.upper),
        };
        let found = match place {
            Some(place) => place.step(self.source, way)?,
            None => place.insert(Place::default()).seek(self.source, self.tree, borrowed(bound), way)?,
        };
        let Some(key) = place.as_ref().and_then(Place::key).filter(|_| found) else { return Ok(None) };
        // Leaves whose keys do not rise would let a corrupt file send a reader in circles.
        let same_leaf = place.as_ref().is_some_and(|place| place.came_from_same_leaf(way));
        let (risen, inside, met) = match way {
            Way::Up => (
                same_leaf || self.front_key.is_none_or(|former| former < key),
                match &self.upper {
                    Bound::Unbounded => true,
                    Bound::Included(upper) => key <= upper.as_slice(),
                    Bound::Excluded(upper) => key < upper.as_slice(),
                },
                self.back_key.is_some_and(|back| key >= back),
            ),
            Way::Down => (
                same_leaf || self.back_key.is_none_or(|former| former > key),
                match &self.lower {
                    Bound::Unbounded => true,
                    Bound::Included(lower) => key >= lower.as_slice(),
                    Bound::Excluded(lower) => key > lower.as_slice(),
                },
                self.front_key.is_some_and(|front| key <= front),
            ),
        };
        if !risen {
            return Err(Error::corrupt(self.tree.root, "the keys of its tree are out of order"));
        }
        if !inside || met {
            return Ok(None);
        }
        let Some(value) = place.as_ref().map_or(Ok(None), |place| place.value(self.source))? else {
            return Ok(None);
        };
        match way {
            Way::Up => self.front_key = Some(key),
            Way::Down => self.back_key = Some(key),
        }
        Ok(Some((key, value)))
    }

    fn item(&mut self, way: Way) -> Option<Result<Entry<'a>, Error>> {
        if self.done {
            return None;
        }
        let item = self.move_on(way).transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Result<Entry<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.item(Way::Up)
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.item(Way::Down)
    }
}

impl std::iter::FusedIterator for Range<'_> {}

impl fmt::Debug for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range")
            .field("lower", &self.lower)
            .field("upper", &self.upper)
            .finish_non_exhaustive()
    }
}
