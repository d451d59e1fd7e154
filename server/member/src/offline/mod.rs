//! Data directories that no member runs on: looking at them, checking them, dumping them, and making new ones from a
//! backup or a dump.
//!
//! `directory` opens one for looking, through `read_only`; `inspect`, `check` and `dump` look. `founding` makes a new
//! one, for `restore` and `load`; `text` is the format of dumps. `check` sees through `meta_pages` what opening a tree puts right.
//!
//! **Invariant:** looking changes no file; whoever looks holds the directory's lock, so that no member runs meanwhile.
//!
//! **Invariant:** a directory that is being made has no identity before all of it is there, verified and durable. So no
//! member ever starts on a part of it.

mod backup;
mod check;
mod directory;
mod dump;
mod error;
mod founding;
mod inspect;
mod keep;
mod load;
mod meta_pages;
mod read_only;
mod recover;
mod restore;
mod text;

pub use backup::{BackupReader, BackupSummary};
pub use check::{Check, CheckedPart, Fault, check};
pub use dump::{DumpOptions, Dumped, dump};
pub use error::{BackupError, OfflineError};
pub use founding::{Founded, NewCluster};
pub use inspect::{
    CheckpointInfo, DatabaseInfo, IdentityInfo, Inspected, LogInfo, MemberInfo, NewestInfo, TreeInfo, inspect,
};
pub use load::load;
pub use recover::{RecoverOptions, Recovered, Recovery, recover};
pub use restore::restore;

pub(crate) use founding::{UNFINISHED_FILE, settle};
