//! A copy of a data directory as it was, beside what is made of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use conure_io::Space;

use super::OfflineError;
use crate::identity::IDENTITY_FILE;
use crate::member::LOG_DIR;
use crate::raft::store::TREE_FILE;

/// Keeps the member's files of `dir` in its folder `name`, unless they are there already, and gives the folder. The log's
/// files are linked: whoever goes on must make new ones rather than write to these.
pub(crate) fn keep(dir: &Path, name: &str) -> Result<PathBuf, OfflineError> {
    let kept = dir.join(name);
    if kept.exists() {
        return Ok(kept);
    }
    enough_room(dir)?;
    let unfinished = dir.join(format!("{name}.unfinished"));
    let io = OfflineError::io(format!("keep a copy in {}", kept.display()));
    fill(dir, &unfinished)
        .and_then(|()| fs::rename(&unfinished, &kept))
        .and_then(|()| sync(dir))
        .map_err(io)?;
    Ok(kept)
}

/// The copy, and what the changes in the log may make the database grow by.
fn enough_room(dir: &Path) -> Result<(), OfflineError> {
    let io = OfflineError::io(format!("look at the room in {}", dir.display()));
    let needed = || -> io::Result<u64> {
        let mut bytes = fs::metadata(dir.join(TREE_FILE))?.len();
        for entry in fs::read_dir(dir.join(LOG_DIR))? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    };
    let (needed, space) = needed().and_then(|needed| Ok((needed, Space::at(dir)?))).map_err(io)?;
    if space.free_bytes >= needed {
        return Ok(());
    }
    Err(OfflineError::dir(
        dir,
        format!("has {} bytes of free disk, and a copy of what is there needs {needed}", space.free_bytes),
        "make room, or copy the directory elsewhere yourself and repeat with --no-copy",
    ))
}

fn fill(dir: &Path, into: &Path) -> io::Result<()> {
    match fs::remove_dir_all(into) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::create_dir_all(into.join(LOG_DIR))?;
    for name in [IDENTITY_FILE, TREE_FILE] {
        fs::copy(dir.join(name), into.join(name))?;
        fs::File::open(into.join(name))?.sync_all()?;
    }
    for entry in fs::read_dir(dir.join(LOG_DIR))? {
        let entry = entry?;
        fs::hard_link(entry.path(), into.join(LOG_DIR).join(entry.file_name()))?;
    }
    sync(&into.join(LOG_DIR))?;
    sync(into)
}

fn sync(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}
