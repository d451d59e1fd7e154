//! What the engine's tests share: a model of a database, and steps that random numbers choose.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]
#![allow(clippy::print_stdout, reason = "a seed that cannot be seen cannot be used again")]
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use conure_btree::{Db, Error, Options, ReadTxn, TreeMut, WriteTxn};
use conure_io::{Random, SimDisk};

pub const NAME: &str = "tree.db";

/// One tree: keys and values.
pub type TreeModel = BTreeMap<Vec<u8>, Vec<u8>>;

/// A whole database: its trees by name.
pub type Model = BTreeMap<String, TreeModel>;

pub fn options(page_size_bytes: u32) -> Options {
    let mut options = Options::default();
    options.page_size_bytes = page_size_bytes;
    options.growth_bytes_min = 16 * 1024;
    options
}

pub fn open(disk: &SimDisk, options: Options) -> Result<Db, Error> {
    Db::open(Arc::new(disk.clone()), NAME, options)
}

/// Everything that a snapshot holds.
pub fn contents(read: &ReadTxn) -> Result<Model, Error> {
    let mut model = Model::new();
    for name in read.tree_names()? {
        let tree = read.tree(&name)?.unwrap();
        let mut entries = TreeModel::new();
        for entry in tree.range(..) {
            let (key, value) = entry?;
            entries.insert(key.to_vec(), value.to_vec());
        }
        assert_eq!(entries.len() as u64, tree.len());
        model.insert(name, entries);
    }
    Ok(model)
}

/// Fails when the file is not sound.
pub fn assert_clean(db: &Db) {
    let report = db.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}

/// A key from a small space, so that keys meet again: mostly short, now and then as long as keys may be.
pub fn random_key(random: &mut Random, space: u64) -> Vec<u8> {
    let number = random.below(space);
    let mut key = format!("{:05}", number.wrapping_mul(7919) % 100_000).into_bytes();
    match number % 61 {
        7 => key.resize(4096, b'k'),
        8..=11 => key.resize(300, b'x'),
        _ => {}
    }
    key
}

pub fn random_value(random: &mut Random) -> Vec<u8> {
    let len = match random.below(40) {
        0 => 0,
        1..=28 => random.below(120),
        29..=35 => random.below(1500),
        36..=38 => 4000 + random.below(9000),
        _ => 20_000 + random.below(30_000),
    };
    let fill = random.next_u64().to_le_bytes();
    (0..usize::try_from(len).unwrap()).map(|i| fill[i % 8] ^ u8::try_from(i / 8 % 251).unwrap()).collect()
}

/// One random change to a tree, made to its model too.
pub fn random_change(
    random: &mut Random,
    tree: &mut TreeMut<'_>,
    model: &mut TreeModel,
    space: u64,
    deletes: u64,
) -> Result<(), Error> {
    let key = random_key(random, space);
    if random.chance(deletes) {
        let was_there = model.remove(&key).is_some();
        assert_eq!(tree.delete(&key)?, was_there);
    } else {
        let value = random_value(random);
        let cut = value.len() / 3;
        tree.put_parts(&key, &[&value[..cut], &value[cut..]])?;
        model.insert(key, value);
    }
    Ok(())
}

/// Changes a few keys of a few trees.
pub fn random_changes(
    random: &mut Random,
    txn: &mut WriteTxn,
    model: &mut Model,
    space: u64,
) -> Result<(), Error> {
    let deletes = [10, 50, 90][usize::try_from(random.below(3)).unwrap()];
    for _ in 0..=random.below(3) {
        let name = format!("tree{}", random.below(3));
        let mut tree = txn.tree(&name)?;
        let entries = model.entry(name).or_default();
        for _ in 0..random.below(25) {
            random_change(random, &mut tree, entries, space, deletes)?;
        }
    }
    Ok(())
}

/// A seed from the environment, or a fresh one; printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let seed = match std::env::var("CONURE_CRASH_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => RandomState::new().hash_one("seed"),
    };
    println!("CONURE_CRASH_SEED={seed}");
    seed
}
