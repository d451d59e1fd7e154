//! Files that the system does not let this process use.
//!
//! **Invariant:** what the system refuses says nothing about the data, so no advice here empties or replaces anything.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Whether the rights to a file, and not the disk or the data, are at fault.
pub(crate) fn is_denied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// What to do about an error at `path`.
pub(crate) fn mend(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "mount the file system for writing".to_owned(),
        io::ErrorKind::PermissionDenied => rights(path),
        _ => "see to the disk and try again; this says nothing about the data".to_owned(),
    }
}

fn rights(path: &Path) -> String {
    // Where the file itself cannot be looked at, a directory above it is the obstacle.
    let found = path.ancestors().find_map(|path| Some((path, fs::symlink_metadata(path).ok()?)));
    let me = fs::metadata("/proc/self").map(|process| process.uid());
    let (Some((path, found)), Ok(me)) = (found, me) else {
        return "run this as the user that owns the data directory".to_owned();
    };
    let shown = path.display().to_string();
    if found.uid() == me {
        return format!("give this user, {}, the right to it: chmod -R u+rwX {shown:?}", user(me));
    }
    format!(
        "{shown:?} belongs to {}: run this as that user, or give it to {} with chown",
        user(found.uid()),
        user(me)
    )
}

/// A user by name, where it has one, and number.
fn user(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    name.map_or_else(|| format!("user {uid}"), |name| format!("{name} (user {uid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_advice_costs_data_and_each_names_who_may() {
        let dir = tempfile::tempdir().unwrap();
        let mine = mend(&dir.path().join("absent"), &io::ErrorKind::PermissionDenied.into());
        assert!(mine.contains("chmod") && mine.contains(&format!("{:?}", dir.path())), "{mine}");
        let roots = mend(Path::new("/proc/1/mem"), &io::ErrorKind::PermissionDenied.into());
        assert!(roots.contains("root (user 0)"), "{roots}");
        for kind in [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::Other, io::ErrorKind::UnexpectedEof] {
            let mend = mend(dir.path(), &kind.into());
            assert!(!mend.contains("empty") && !mend.contains("restore"), "{mend}");
        }
    }
}
