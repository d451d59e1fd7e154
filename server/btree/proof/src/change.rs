//! Random changes, made to an engine and to its model alike.

use std::ops::Bound;

use conure_btree::{Error, TreeMut, WriteTxn};
use conure_io::Random;

use crate::model::{Entries, Finding, Model, one_of, random_key, random_value};

/// One random change to a tree, made to its model too. Where the file has reached its size limit, neither changes.
///
/// # Errors
///
/// Another error of the engine than [`Error::Full`]; an answer that the model would not give.
pub fn change_key(
    random: &mut Random,
    tree: &mut TreeMut<'_>,
    model: &mut Entries,
    space: u64,
    deletes_percent: u64,
) -> Result<(), Finding> {
    let key = random_key(random, space);
    if random.chance(deletes_percent) {
        let (was_there, found) = (model.remove(&key).is_some(), tree.delete(&key)?);
        return Finding::unless(found == was_there, || format!("the delete of {key:?} answered {found}"));
    }
    let value = random_value(random);
    let (head, tail) = value.split_at(value.len() / 3);
    match tree.put_parts(&key, &[head, tail]) {
        Ok(()) => drop(model.insert(key, value)),
        Err(Error::Full { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// A bound of a range, of one of the three kinds, at a random key.
pub fn random_bound(random: &mut Random, space: u64) -> Bound<Vec<u8>> {
    let key = random_key(random, space);
    match random.below(5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Included(key),
        _ => Bound::Excluded(key),
    }
}

/// Whether `key` lies within both bounds, whatever their order.
fn within(key: &[u8], lower: &Bound<Vec<u8>>, upper: &Bound<Vec<u8>>) -> bool {
    let above = match lower {
        Bound::Unbounded => true,
        Bound::Included(lower) => key >= lower.as_slice(),
        Bound::Excluded(lower) => key > lower.as_slice(),
    };
    above
        && match upper {
            Bound::Unbounded => true,
            Bound::Included(upper) => key <= upper.as_slice(),
            Bound::Excluded(upper) => key < upper.as_slice(),
        }
}

/// The entries of a model within both bounds; none where they are the wrong way round.
pub fn entries_within<'m>(
    model: &'m Entries,
    lower: &Bound<Vec<u8>>,
    upper: &Bound<Vec<u8>>,
) -> Vec<(&'m [u8], &'m [u8])> {
    let inside = model.iter().filter(|(key, _)| within(key, lower, upper));
    inside.map(|(key, value)| (key.as_slice(), value.as_slice())).collect()
}

/// Removes a range of keys, at times an empty one.
///
/// # Errors
///
/// An error of the engine; another count than the model's.
pub fn delete_range(
    random: &mut Random,
    tree: &mut TreeMut<'_>,
    model: &mut Entries,
    space: u64,
) -> Result<(), Finding> {
    let (lower, upper) = (random_bound(random, space), random_bound(random, space));
    let before = model.len();
    model.retain(|key, _| !within(key, &lower, &upper));
    let wanted = (before - model.len()) as u64;
    let slices = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
    let found = tree.delete_range(slices)?;
    Finding::unless(found == wanted, || {
        format!("the removal of {lower:?} to {upper:?} answered {found} and should have answered {wanted}")
    })
}

/// Adds sorted entries behind the last one.
///
/// # Errors
///
/// Another error of the engine than [`Error::Full`]; another count than the model's.
pub fn load_sorted(random: &mut Random, tree: &mut TreeMut<'_>, model: &mut Entries) -> Result<(), Finding> {
    let last = model.last_key_value().map_or_else(Vec::new, |(key, _)| key.clone());
    // Behind every other key, and short again when they have become long.
    let mut stem = if last.len() > 2000 { Vec::new() } else { last };
    if model.last_key_value().is_some_and(|(key, _)| *key > stem) {
        stem = vec![0xff; 8];
    }
    let count = one_of(random, &[0, 1, 10, 200]);
    let mut appender = tree.appender()?;
    let mut pushed = 0;
    for number in 0..count {
        let key = [stem.as_slice(), format!("+{number:04}").as_bytes()].concat();
        let value = random_value(random);
        if model.last_key_value().is_some_and(|(last, _)| *last >= key) {
            let refused = appender.push(&key, &value);
            let unsorted = matches!(refused, Err(Error::Unsorted { .. }));
            Finding::unless(unsorted, || format!("a key out of order was answered {refused:?}"))?;
            continue;
        }
        match appender.push(&key, &value) {
            Ok(()) => {
                pushed += 1;
                model.insert(key, value);
            }
            Err(Error::Full { .. }) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let found = appender.finish()?;
    Finding::unless(found == pushed, || format!("{found} entries were loaded, not {pushed}"))
}

/// Changes a few keys of a few trees, or much at once.
///
/// # Errors
///
/// As [`change_key`].
pub fn change_trees(
    random: &mut Random,
    txn: &mut WriteTxn,
    model: &mut Model,
    space: u64,
) -> Result<(), Finding> {
    let deletes = one_of(random, &[10, 50, 90]);
    // Now and then so much that the commit's pages are too many for its meta page.
    let changes = if random.chance(8) { 300 } else { 25 };
    for _ in 0..=random.below(3) {
        let name = format!("tree{}", random.below(3));
        if random.chance(3) {
            let (was_there, found) = (model.remove(&name).is_some(), txn.drop_tree(&name)?);
            Finding::unless(found == was_there, || format!("the removal of {name} answered {found}"))?;
            continue;
        }
        let mut tree = txn.tree(&name)?;
        let entries = model.entry(name).or_default();
        match random.below(12) {
            0 => delete_range(random, &mut tree, entries, space)?,
            1 => load_sorted(random, &mut tree, entries)?,
            _ => {
                for _ in 0..random.below(changes) {
                    change_key(random, &mut tree, entries, space, deletes)?;
                }
            }
        }
    }
    Ok(())
}
