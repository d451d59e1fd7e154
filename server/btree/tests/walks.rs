//! Ranges, prefixes and cursors go where those of a `BTreeMap` do, in a transaction and in a snapshot.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::ops::Bound;

use conure_btree::{Cursor, Durability, Range, Tree, TreeMut};
use conure_io::{Random, SimDisk};
use conure_proof::change::{change_key, entries_within, random_bound};
use conure_proof::model::{Entries, below, open, options, random_key};
use conure_proof::seed;

type Slices<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);
type Entry<'a> = (&'a [u8], &'a [u8]);

/// A tree of a transaction or of a snapshot.
trait Walked {
    fn over(&self, bounds: Slices<'_>) -> Range<'_>;
    fn beginning_with(&self, prefix: &[u8]) -> Range<'_>;
    fn walker(&self) -> Cursor<'_>;
}

impl Walked for Tree<'_> {
    fn over(&self, bounds: Slices<'_>) -> Range<'_> {
        self.range(bounds)
    }

    fn beginning_with(&self, prefix: &[u8]) -> Range<'_> {
        self.prefix(prefix)
    }

    fn walker(&self) -> Cursor<'_> {
        self.cursor()
    }
}

impl Walked for TreeMut<'_> {
    fn over(&self, bounds: Slices<'_>) -> Range<'_> {
        self.range(bounds)
    }

    fn beginning_with(&self, prefix: &[u8]) -> Range<'_> {
        self.prefix(prefix)
    }

    fn walker(&self) -> Cursor<'_> {
        self.cursor()
    }
}

/// One range, walked forwards, backwards, and from both ends in turn.
fn both_ways<'t>(range: impl Fn() -> Range<'t>, wanted: &[Entry<'_>]) {
    assert_eq!(range().map(Result::unwrap).collect::<Vec<_>>(), wanted);
    let mut backwards: Vec<_> = range().rev().map(Result::unwrap).collect();
    backwards.reverse();
    assert_eq!(backwards, wanted);

    let mut both = range();
    let (mut front, mut back) = (Vec::new(), Vec::new());
    while let Some(item) = both.next() {
        front.push(item.unwrap());
        let Some(item) = both.next_back() else { break };
        back.push(item.unwrap());
    }
    front.extend(back.into_iter().rev());
    assert_eq!(front, wanted);
}

/// Where a cursor of the model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Nowhere,
    Before,
    Entry(usize),
    After,
}

/// A cursor goes about at random, and a model of it too.
fn wander(cursor: &mut Cursor<'_>, entries: &[Entry<'_>], random: &mut Random, space: u64) {
    let mut at = At::Nowhere;
    for _ in 0..80 {
        let key = random_key(random, space);
        let here = |at: At| if let At::Entry(i) = at { entries.get(i).copied() } else { None };
        let up = |i: usize| if i < entries.len() { At::Entry(i) } else { At::After };
        let down = |i: Option<usize>| i.map_or(At::Before, At::Entry);
        let (found, to) = match random.below(12) {
            0 => (cursor.first().unwrap(), up(0)),
            1 => (cursor.last().unwrap(), down(entries.len().checked_sub(1))),
            2 => (cursor.seek(&key).unwrap(), up(entries.partition_point(|(other, _)| *other < &key[..]))),
            3 => {
                let above = entries.partition_point(|(other, _)| *other <= &key[..]);
                (cursor.seek_back(&key).unwrap(), down(above.checked_sub(1)))
            }
            4..=7 => {
                let to = match at {
                    At::Nowhere | At::Before => up(0),
                    At::Entry(i) => up(i + 1),
                    At::After => At::After,
                };
                (cursor.next().unwrap(), to)
            }
            _ => {
                let to = match at {
                    At::Nowhere | At::After => down(entries.len().checked_sub(1)),
                    At::Entry(i) => down(i.checked_sub(1)),
                    At::Before => At::Before,
                };
                (cursor.prev().unwrap(), to)
            }
        };
        at = to;
        assert_eq!(found, here(at), "it should stand at {at:?}");
        assert_eq!(cursor.current().unwrap(), here(at), "it stands elsewhere than it went");
    }
}

fn walk(tree: &impl Walked, model: &Entries, random: &mut Random, space: u64) {
    for _ in 0..8 {
        let (lower, upper) = (random_bound(random, space), random_bound(random, space));
        let slices = || (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        both_ways(|| tree.over(slices()), &entries_within(model, &lower, &upper));

        let mut prefix = random_key(random, space);
        prefix.truncate(below(random, 6));
        let wanted: Vec<Entry<'_>> = model
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
            .collect();
        both_ways(|| tree.beginning_with(&prefix), &wanted);
    }
    let entries: Vec<_> = model.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
    wander(&mut tree.walker(), &entries, random, space);
}

#[test]
fn ranges_prefixes_and_cursors_are_those_of_a_map() {
    let seed = seed("CONURE_WALK_SEED").unwrap();
    println!("CONURE_WALK_SEED={seed}");
    let mut random = Random::new(seed);
    for round in 0..60 {
        let space = [10, 300, 3000][round % 3];
        let db = open(&SimDisk::new(), options([512, 1024, 4096][round / 3 % 3])).unwrap();
        let mut model = Entries::new();
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        for _ in 0..random.below(400) {
            change_key(&mut random, &mut tree, &mut model, space, 25).unwrap();
        }
        // Seen by the transaction itself, before it commits, and by a reader afterwards.
        walk(&tree, &model, &mut random, space);
        txn.commit(Durability::Eventual).unwrap();
        let read = db.begin_read().unwrap();
        walk(&read.tree("t").unwrap().unwrap(), &model, &mut random, space);
    }
}

#[test]
fn keys_with_the_highest_bytes_have_their_prefixes_too() {
    let db = open(&SimDisk::new(), options(512)).unwrap();
    let mut txn = db.begin_write().unwrap();
    let mut tree = txn.tree("t").unwrap();
    let keys = [&[0xfe][..], &[0xfe, 0xff], &[0xff], &[0xff, 0], &[0xff, 0xff], &[0xff, 0xff, 0xff]];
    for key in keys {
        tree.put(key, key).unwrap();
    }
    for prefix in [&[][..], &[0xfe], &[0xff], &[0xff, 0xff], &[0xff, 0xff, 0xff, 0xff]] {
        let wanted: Vec<_> =
            keys.iter().filter(|key| key.starts_with(prefix)).map(|key| (*key, *key)).collect();
        both_ways(|| tree.prefix(prefix), &wanted);
    }
}
