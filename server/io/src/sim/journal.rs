//! What a simulated disk remembers: its files at the beginning and every operation since.

use std::collections::BTreeMap;

/// The durable beginning and all operations since, in order.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) base_files: Vec<Vec<u8>>,
    pub(super) base_names: BTreeMap<String, usize>,
    pub(super) ops: Vec<Op>,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Write { inode: usize, offset: u64, bytes: Vec<u8> },
    SetLen { inode: usize, len: u64 },
    Sync { inode: usize },
    FailedSync { inode: usize },
    Name(NameOp),
    SyncDir,
}

#[derive(Debug, Clone)]
pub(super) enum NameOp {
    Create { name: String, inode: usize },
    Remove { name: String },
    Rename { from: String, to: String, inode: usize },
}

impl NameOp {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
            // The inode is named, not looked up: the rename may be on disk where the creation is not.
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}
