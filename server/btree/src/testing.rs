//! What the engine's unit tests hold a database against.

use std::collections::BTreeMap;

use conure_io::SimDisk;

use crate::{Db, Options, ReadTxn};

/// What a tree shall hold.
pub(crate) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database on `disk` that grows in small steps.
pub(crate) fn open_on(disk: &SimDisk, page_size_bytes: u32) -> Db {
    let options = Options { page_size_bytes, growth_bytes_min: 16 * 1024, ..Options::default() };
    Db::open(std::sync::Arc::new(disk.clone()), "tree.db", options).unwrap()
}

/// The tree `name` holds what the model does.
#[track_caller]
pub(crate) fn assert_reads(read: &ReadTxn, name: &str, model: &Model) {
    let tree = read.tree(name).unwrap().unwrap();
    let found: Model = tree
        .range(..)
        .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
        .collect();
    assert!(found == *model, "the tree does not hold what the model does");
    assert_eq!(tree.len(), model.len() as u64);
}

/// The file is sound.
#[track_caller]
pub(crate) fn assert_clean(db: &Db) {
    let report = db.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}
