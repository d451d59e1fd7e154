//! One run at a time works on an instance; a second one waits for the first and says for whom.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use crate::progress::step;
use crate::wait;

/// How long a second run waits for the first.
pub const PATIENCE: Duration = Duration::from_mins(20);

/// Held while a run works; let go when dropped, or by the kernel when the run is killed.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Unlocks by name: a child that another thread is just starting holds a copy of the descriptor until it executes,
    /// and closing ours alone would leave the lock with it.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl Lock {
    /// Takes the lock `path`, waiting for at most `patience` for whoever holds it. `what` is named while waiting.
    pub fn take(path: &Path, what: &str, patience: Duration) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        // Never truncated before it is held: what it says is about the holder.
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let mut file = file.with_context(|| path.display().to_string())?;
        if !Self::held(&file)? {
            let holder = fs::read_to_string(path).unwrap_or_default();
            let holder = holder.trim();
            step(format!("waiting for {what}, in use by {holder}"), |_| {
                wait::until(&format!("{what} is free (in use by {holder})"), patience, || {
                    Ok(Self::held(&file)?.then_some(()))
                })
            })?;
        }
        file.set_len(0)?;
        let command: Vec<String> = std::env::args().collect();
        writeln!(file, "process {} (`{}`)", std::process::id(), command.join(" "))?;
        Ok(Self { file })
    }

    fn held(file: &File) -> Result<bool> {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error).context("cannot lock"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lock_is_free_though_a_starting_child_still_has_a_copy_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.lock");
        let first = Lock::take(&path, "instance demo", Duration::ZERO).unwrap();
        let _copy = first.file.try_clone().unwrap();
        drop(first);
        Lock::take(&path, "instance demo", Duration::ZERO).unwrap();
    }

    #[test]
    fn a_second_run_waits_says_for_whom_and_fails_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x/demo.lock");
        let first = Lock::take(&path, "instance demo", Duration::ZERO).unwrap();
        let error = Lock::take(&path, "instance demo", Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("instance demo is free"), "{error}");
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        Lock::take(&path, "instance demo", Duration::ZERO).unwrap();
    }
}
