//! What keys and names may be; asked before a tree is looked at, by readers and writers alike.

use crate::{Error, MAX_KEY_BYTES, MAX_TREE_NAME_BYTES};

pub(crate) fn check_key(key: &[u8]) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::KeyEmpty),
        1..=MAX_KEY_BYTES => Ok(()),
        len => Err(Error::KeyTooLong { len }),
    }
}

pub(crate) fn check_tree_name(name: &str) -> Result<(), Error> {
    match name.len() {
        1..=MAX_TREE_NAME_BYTES => Ok(()),
        len => Err(Error::BadTreeName { len }),
    }
}
