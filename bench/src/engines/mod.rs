//! The engines, each with the settings that it is measured with. bbolt is a program of its own, in `bbolt/`.

mod conure;
mod fjall;
mod lmdb;
mod redb;

pub use conure::Conure;
pub use fjall::Fjall;
pub use lmdb::Lmdb;
pub use redb::Redb;

use anyhow::{Result, bail};

/// The block cache of engines that have one of their own, in bytes: that of redb's published benchmark; of conure what a
/// transaction may keep of changed pages. The others leave caching to the kernel, which has all of the memory.
pub(crate) const CACHE_BYTES: u64 = 4 << 30;

/// An engine by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// `conure-btree`.
    Conure,
    /// LMDB.
    Lmdb,
    /// redb.
    Redb,
    /// bbolt.
    Bbolt,
    /// fjall.
    Fjall,
}

/// All engines; conure is the one that is measured, the others are its peers.
pub const ALL: [Name; 5] = [Name::Conure, Name::Lmdb, Name::Redb, Name::Bbolt, Name::Fjall];

impl Name {
    /// The name, as it is typed and as it stands in the result.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Conure => "conure",
            Self::Lmdb => "lmdb",
            Self::Redb => "redb",
            Self::Bbolt => "bbolt",
            Self::Fjall => "fjall",
        }
    }

    /// The name, as its makers write it.
    #[must_use]
    pub fn title(self) -> &'static str {
        if self == Self::Lmdb { "LMDB" } else { self.name() }
    }

    /// Whether it keeps its data in a B-tree; fjall is an LSM tree.
    #[must_use]
    pub fn is_btree(self) -> bool {
        self != Self::Fjall
    }
}

impl std::str::FromStr for Name {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match ALL.iter().find(|engine| engine.name() == text) {
            Some(engine) => Ok(*engine),
            None => bail!("no engine {text:?}; there are: {}", ALL.map(Self::name).join(", ")),
        }
    }
}
