//! Where what a command writes is to go. Everything that can be known to be wrong is said before anything is transferred.
//!
//! **Invariant:** only a regular file is ever replaced. A device, a pipe or a socket has no content that a new file could take the place of.
//!
//! What is being written has one name, `FILE.unfinished`, and a lock. A command that is killed leaves it there, without the lock, and
//! the next one takes it over: there is never more than one, and none that keeps others out.

use std::fs::{self, File, TryLockError};
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl};

use super::CommandError;

/// Refuses a standard output that would lose what is written to it, or show a person what is not text.
pub(super) fn check_standard_output(text: bool) -> Result<(), CommandError> {
    let out = super::standard_output()?;
    if !text && out.is_terminal() {
        let reason =
            "standard output is a terminal, and this is not text; name a file, or send it to one with >";
        return Err(CommandError::Unusable(reason.to_owned()));
    }
    match fcntl_getfl(&out).map(|flags| flags & OFlags::RWMODE) {
        Ok(OFlags::WRONLY | OFlags::RDWR) => Ok(()),
        Ok(_) => Err(super::output_failed(io::Error::other("it is not open for writing"))),
        Err(error) => Err(super::output_failed(error.into())),
    }
}

/// A file that gets its content all at once.
#[derive(Debug)]
pub(super) struct Target {
    /// Where it is, after symbolic links.
    path: PathBuf,
    shown: String,
    replace: bool,
}

impl Target {
    /// The file at `path`, which is replaced only with `force`.
    pub(super) fn new(path: &Path, force: bool) -> Result<Self, CommandError> {
        let shown = path.display().to_string();
        let refused = |reason: &str| Err(CommandError::Unusable(format!("FILE {shown:?} {reason}")));
        let bytes = path.as_os_str().as_bytes();
        if path.is_dir() {
            return refused("is a directory; name a file");
        }
        if bytes.ends_with(b"/") || bytes.ends_with(b"/.") || path.file_name().is_none() {
            return refused("names a directory; name a file");
        }
        let Ok(link) = fs::symlink_metadata(path) else {
            // Whether one can be made there is seen when it is.
            return Ok(Self { path: path.to_owned(), shown, replace: force });
        };
        let Ok(found) = fs::metadata(path) else {
            return refused("is a symbolic link to nothing; name the file itself");
        };
        if !found.is_file() {
            return refused(
                "is not a regular file, and nothing else is ever replaced; for a pipe or a device write to standard output: - > FILE",
            );
        }
        if !force {
            return refused("is there already; name another one, or replace it with --force");
        }
        let path = if link.is_symlink() { fs::canonicalize(path) } else { Ok(path.to_owned()) };
        match path {
            Ok(path) => Ok(Self { path, shown, replace: true }),
            Err(error) => refused(&format!("cannot be followed: {error}; name the file itself")),
        }
    }

    /// Makes the file that will get the name, or takes over the one that a killed command left.
    pub(super) fn create(&self) -> Result<Unfinished<'_>, CommandError> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        let temporary = self.path.with_file_name(name);
        let shown = temporary.display().to_string();
        let refused = |reason: String| CommandError::Unusable(format!("{shown:?} {reason}"));
        for _ in 0..TAKING_OVER_MAX {
            let file = open(&temporary).map_err(|error| {
                refused(format!("cannot be made: {error}; name a file that can be written"))
            })?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => {
                    return Err(refused(format!(
                        "cannot be locked: {error}; name a file on another file system"
                    )));
                }
            }
            // Whoever held it may have given it its name, or removed it, before the lock was free.
            if !is_at(&file, &temporary) {
                continue;
            }
            // One that was killed as it finished has its name too: its content is a whole backup.
            if file.metadata().is_ok_and(|found| found.nlink() == 1) {
                file.set_len(0).map_err(|error| refused(format!("cannot be written: {error}; remove it")))?;
                return Ok(Unfinished { target: self, temporary, file });
            }
            fs::remove_file(&temporary)
                .map_err(|error| refused(format!("cannot be removed: {error}; name another file")))?;
        }
        let file = &self.shown;
        Err(refused(format!("is in use: another backup to {file:?} runs; wait for it, or name another file")))
    }
}

/// How often a file that another command has just finished is opened once more.
const TAKING_OVER_MAX: usize = 10;

/// Opens a regular file, which is made where it is not there. No link is followed: its target is somebody's.
fn open(path: &Path) -> io::Result<File> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = File::options().write(true).create(true).truncate(false).custom_flags(no_follow).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Whether the path leads to that very file.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().and_then(|open| Ok(same(open, fs::symlink_metadata(path)?))).unwrap_or(false)
}

/// A file that goes again unless it gets its name.
#[derive(Debug)]
pub(super) struct Unfinished<'a> {
    target: &'a Target,
    temporary: PathBuf,
    pub(super) file: File,
}

impl Unfinished<'_> {
    /// Makes the content durable and gives it the target's name.
    pub(super) fn finish(self) -> Result<(), CommandError> {
        let path = &self.target.path;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let finish = || -> io::Result<()> {
            self.file.sync_all()?;
            self.name()?;
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        };
        finish()
            .map_err(|error| CommandError::Failed(format!("cannot finish {:?}: {error}", self.target.shown)))
    }

    /// Another file that came there meanwhile stays, unless it may be replaced.
    fn name(&self) -> io::Result<()> {
        let path = &self.target.path;
        if self.target.replace {
            return match fs::symlink_metadata(path) {
                Ok(found) if !found.is_file() => Err(io::Error::other("it is not a regular file any more")),
                _ => fs::rename(&self.temporary, path),
            };
        }
        match fs::hard_link(&self.temporary, path) {
            // Not every file system has links.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
                fs::rename(&self.temporary, path)
            }
            linked => linked,
        }
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // Where it got its name by renaming, another command's may be there by now.
        if is_at(&self.file, &self.temporary) {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn refusal(path: &Path, force: bool) -> String {
        match Target::new(path, force) {
            Err(CommandError::Unusable(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn write(path: &Path, force: bool, text: &str) -> Result<(), CommandError> {
        let target = Target::new(path, force)?;
        let mut unfinished = target.create()?;
        unfinished.file.write_all(text.as_bytes()).unwrap();
        unfinished.finish()
    }

    #[test]
    fn a_file_is_replaced_only_when_asked_and_through_a_link_its_target() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        write(&file, false, "one").unwrap();
        assert!(refusal(&file, false).contains("--force"));
        write(&file, true, "two").unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        symlink("../file", dir.path().join("below/link")).unwrap();
        symlink("below/link", &link).unwrap();
        assert!(refusal(&link, false).contains("--force"));
        write(&link, true, "three").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "three");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing unfinished stays");
    }

    #[test]
    fn what_is_no_regular_file_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, socket) = (dir.path().join("pipe"), dir.path().join("socket"));
        let mode = rustix::fs::Mode::from(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        symlink(&pipe, &link).unwrap();
        for path in [&pipe, &socket, &link] {
            for force in [false, true] {
                assert!(refusal(path, force).contains("not a regular file"), "{path:?}");
            }
        }
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        // One that takes the place of the file meanwhile stays too.
        let file = dir.path().join("file");
        let target = Target::new(&file, true).unwrap();
        let unfinished = target.create().unwrap();
        fs::rename(&pipe, &file).unwrap();
        assert!(unfinished.finish().is_err());
        assert!(fs::metadata(&file).unwrap().file_type().is_fifo());
    }

    #[test]
    fn what_a_killed_command_left_is_taken_over_and_what_another_one_writes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (file, unfinished) = (dir.path().join("file"), dir.path().join("file.unfinished"));
        fs::write(&unfinished, "left by one that was killed").unwrap();
        let target = Target::new(&file, false).unwrap();
        let first = target.create().unwrap();
        assert_eq!(fs::metadata(&unfinished).unwrap().len(), 0);
        match target.create() {
            Err(CommandError::Unusable(reason)) => assert!(reason.contains("another backup"), "{reason}"),
            other => panic!("{other:?}"),
        }
        first.finish().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // Killed between the two steps in which the file gets its name.
        fs::write(&file, "whole").unwrap();
        fs::hard_link(&file, &unfinished).unwrap();
        let target = Target::new(&file, true).unwrap();
        drop(target.create().unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
        symlink("file", &unfinished).unwrap();
        assert!(matches!(target.create(), Err(CommandError::Unusable(_))), "a link is not followed");
    }

    /// As where the one renamed and the other began before the first was through.
    #[test]
    fn a_file_that_got_its_name_does_not_take_the_next_ones_away() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::new(&dir.path().join("file"), true).unwrap();
        let first = target.create().unwrap();
        fs::rename(dir.path().join("file.unfinished"), dir.path().join("file")).unwrap();
        let next = target.create().unwrap();
        drop(first);
        assert!(is_at(&next.file, &next.temporary));
    }

    #[test]
    fn a_directory_and_a_link_to_nothing_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        symlink("nowhere", dir.path().join("link")).unwrap();
        for name in ["", "new/", "new/.", "new/..", "."] {
            assert!(refusal(&dir.path().join(name), true).contains("directory"), "{name}");
        }
        assert!(refusal(Path::new(""), true).contains("directory"));
        for force in [false, true] {
            assert!(refusal(&dir.path().join("link"), force).contains("link to nothing"));
        }
        assert!(matches!(
            Target::new(&dir.path().join("absent/file"), false).unwrap().create(),
            Err(CommandError::Unusable(_))
        ));
    }
}
