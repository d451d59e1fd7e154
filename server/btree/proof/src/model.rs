//! A database as maps, and what it is filled with.

use std::collections::BTreeMap;
use std::sync::Arc;

use conure_btree::{Db, Error, Options, ReadTxn};
use conure_io::{Random, SimDisk};

use crate::NAME;

/// One tree: keys and values.
pub type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A whole database: its trees by name.
pub type Model = BTreeMap<String, Entries>;

/// What a run met that should not be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// The engine refused what it should do.
    #[error("refused: {0}")]
    Refused(#[from] Error),
    /// The engine answered something else than the model.
    #[error("{0}")]
    Differs(String),
    /// The simulated disk itself failed.
    #[error("the simulated disk failed: {0}")]
    Disk(#[from] std::io::Error),
}

impl Finding {
    /// A difference, where `same` is false.
    pub(crate) fn unless(same: bool, what: impl FnOnce() -> String) -> Result<(), Self> {
        if same { Ok(()) } else { Err(Self::Differs(what())) }
    }
}

/// Options for a small database: pages of that many bytes, and a file that grows in small steps.
#[must_use]
pub fn options(page_size_bytes: u32) -> Options {
    let mut options = Options::default();
    options.page_size_bytes = page_size_bytes;
    options.growth_bytes_min = 16 * 1024;
    options
}

/// Opens the database on a simulated disk.
///
/// # Errors
///
/// Those of [`Db::open`].
pub fn open(disk: &SimDisk, options: Options) -> Result<Db, Error> {
    Db::open(Arc::new(disk.clone()), NAME, options)
}

/// Everything that a snapshot holds.
///
/// # Errors
///
/// Those of reading; a tree that counts its keys wrongly.
pub fn contents(read: &ReadTxn) -> Result<Model, Finding> {
    let mut model = Model::new();
    for name in read.tree_names()? {
        let Some(tree) = read.tree(&name)? else {
            return Err(Finding::Differs(format!("the tree {name:?} is listed and not there")));
        };
        let mut entries = Entries::new();
        for entry in tree.range(..) {
            let (key, value) = entry?;
            entries.insert(key.to_vec(), value.to_vec());
        }
        let (counted, said) = (entries.len() as u64, tree.len());
        Finding::unless(counted == said, || {
            format!("the tree {name:?} has {counted} keys and says that it has {said}")
        })?;
        model.insert(name, entries);
    }
    Ok(model)
}

/// A key from a small space, so that keys meet again: mostly short, now and then as long as keys may be.
pub fn random_key(random: &mut Random, space: u64) -> Vec<u8> {
    let number = random.below(space);
    let mut key = format!("{:05}", number.wrapping_mul(7919) % 100_000).into_bytes();
    match number % 61 {
        7 => key.resize(conure_btree::MAX_KEY_BYTES, b'k'),
        8..=11 => key.resize(300, b'x'),
        _ => {}
    }
    key
}

/// A value: mostly short, at times on pages of its own.
pub fn random_value(random: &mut Random) -> Vec<u8> {
    let len = match random.below(40) {
        0 => 0,
        1..=28 => random.below(120),
        29..=35 => random.below(1500),
        36..=38 => 4000 + random.below(9000),
        _ => 20_000 + random.below(30_000),
    };
    let fill = random.next_u64().to_le_bytes();
    // The words differ from each other, so that one in another's place is seen.
    (0_u64..len).map(|i| fill.get(low(i % 8)).map_or(0, |byte| byte ^ low_byte(i / 8))).collect()
}

/// The number, which is small.
fn low(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn low_byte(number: u64) -> u8 {
    u8::try_from(number % 251).unwrap_or(0)
}

/// A random number below `bound`, as an index.
pub fn below(random: &mut Random, bound: usize) -> usize {
    low(random.below(bound as u64))
}

/// One of `choices`, which must not be empty.
pub fn one_of<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[below(random, choices.len())]
}

/// The file is sound.
///
/// # Panics
///
/// Where it is not, or cannot be looked at.
#[expect(clippy::panic, reason = "tests want to fail here")]
pub fn assert_clean(db: &Db) {
    match db.check() {
        Ok(report) => assert!(report.is_clean(), "{:?}", report.problems),
        Err(error) => panic!("{error}"),
    }
}
