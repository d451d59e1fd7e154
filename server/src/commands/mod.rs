//! The commands on data directories and backups: `inspect`, `check`, `dump`, `load`, `backup`, `restore`, `recover`.
//!
//! `args` is what the command line takes; every other file is a command, but for `output`, `progress` and `target`, which they
//! share. What they do to files is conure-member's `offline`.
//!
//! **Invariant:** what a command was asked for goes to standard output, everything else to standard error.

mod args;
mod backup;
mod check;
mod dump;
mod found;
mod inspect;
mod output;
mod progress;
mod recover;
mod target;

use std::io;

use conure_member::offline::OfflineError;

pub use args::Tool;

/// How a command ends, other than well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The user can mend it: a path, a directory in use, a file that is no backup. Exit code 2.
    #[error("{0}")]
    Unusable(String),
    /// The directory is broken, the server did not answer, the disk failed. Exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl From<OfflineError> for CommandError {
    fn from(error: OfflineError) -> Self {
        match error {
            OfflineError::Io { .. } => Self::Failed(error.to_string()),
            _ => Self::Unusable(error.to_string()),
        }
    }
}

/// Standard output, as what a command was asked for needs it.
fn standard_output() -> Result<io::Stdout, CommandError> {
    conure_program::stdout().map_err(output_failed)
}

/// Standard output does not take what it is given.
fn output_failed(error: io::Error) -> CommandError {
    CommandError::Failed(format!("cannot write to standard output: {error}"))
}

/// Runs a command to its end.
///
/// # Errors
///
/// [`CommandError`], whose text is one line.
pub fn run(tool: &Tool) -> Result<(), CommandError> {
    match tool {
        Tool::Inspect(args) => inspect::run(args),
        Tool::Check(args) => check::run(args),
        Tool::Dump(args) => dump::run(args),
        Tool::Load(args) => found::load(args),
        Tool::Backup(args) => backup::run(args),
        Tool::Restore(args) => found::restore(args),
        Tool::Recover(args) => recover::run(args),
    }
}
