//! The files and folders of one disk: names, links and room. Pure; errors are those of system calls.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use rustix::io::Errno;

use super::PAGE_BYTES;
use super::content::Content;

pub(super) const ROOT: u64 = 1;

type Names = BTreeMap<OsString, u64>;

/// One change of a folder's names; each is on the platter whole or not at all.
#[derive(Debug, Clone)]
pub(super) struct Change(Vec<(OsString, Option<u64>)>);

impl Change {
    fn apply(self, names: &mut Names) {
        for (name, ino) in self.0 {
            match ino {
                Some(ino) => names.insert(name, ino),
                None => names.remove(&name),
            };
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    File(Content),
    Folder { now: Names, durable: Names, pending: Vec<Change> },
}

impl Default for Body {
    fn default() -> Self {
        Self::Folder { now: Names::new(), durable: Names::new(), pending: Vec::new() }
    }
}

/// One file or folder.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) body: Body,
    pub(super) mode: u16,
    pub(super) opened: u64,
}

/// What happens to unsynced writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Every one of them is lost.
    All,
    /// Some sectors, lengths and names had reached the platter; the seed says which.
    Torn(u64),
}

/// One disk.
#[derive(Debug, Clone)]
pub(super) struct State {
    inodes: BTreeMap<u64, Inode>,
    next: u64,
    /// Pages that take room now.
    used: u64,
    capacity: u64,
}

impl State {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        let root = Inode { body: Body::default(), mode: 0o755, opened: 0 };
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            used: 0,
            capacity: capacity_bytes / PAGE_BYTES as u64,
        }
    }

    /// The same files as they are now, nothing of them open.
    pub(super) fn image(&self) -> Self {
        let mut image = self.clone();
        for inode in image.inodes.values_mut() {
            inode.opened = 0;
        }
        image.sweep();
        image
    }

    /// The files that have a name and bytes.
    pub(super) fn files(&self) -> Vec<u64> {
        let folders = self.inodes.values().filter_map(|inode| match &inode.body {
            Body::Folder { now, .. } => Some(now.values().copied()),
            Body::File(_) => None,
        });
        folders.flatten().filter(|ino| self.content(*ino).is_ok_and(|content| content.len() > 0)).collect()
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn set_capacity(&mut self, capacity_bytes: u64) {
        self.capacity = capacity_bytes / PAGE_BYTES as u64;
    }

    pub(super) fn inode(&self, ino: u64) -> Result<&Inode, Errno> {
        self.inodes.get(&ino).ok_or(Errno::NOENT)
    }

    fn inode_mut(&mut self, ino: u64) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&ino).ok_or(Errno::NOENT)
    }

    pub(super) fn content(&self, ino: u64) -> Result<&Content, Errno> {
        match &self.inode(ino)?.body {
            Body::File(content) => Ok(content),
            Body::Folder { .. } => Err(Errno::ISDIR),
        }
    }

    fn content_mut(&mut self, ino: u64) -> Result<&mut Content, Errno> {
        match &mut self.inode_mut(ino)?.body {
            Body::File(content) => Ok(content),
            Body::Folder { .. } => Err(Errno::ISDIR),
        }
    }

    /// Changes a file's bytes and counts the room anew.
    fn edit(&mut self, ino: u64, work: impl FnOnce(&mut Content)) -> Result<(), Errno> {
        let content = self.content_mut(ino)?;
        let before = content.pages();
        work(content);
        let after = content.pages();
        self.used = (self.used + after).saturating_sub(before);
        Ok(())
    }

    fn has_room(&self, pages: u64) -> Result<(), Errno> {
        if pages > 0 && self.used + pages > self.capacity { Err(Errno::NOSPC) } else { Ok(()) }
    }

    pub(super) fn names(&self, ino: u64) -> Result<&Names, Errno> {
        match &self.inode(ino)?.body {
            Body::Folder { now, .. } => Ok(now),
            Body::File(_) => Err(Errno::NOTDIR),
        }
    }

    pub(super) fn lookup(&self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.names(parent)?.get(name).copied().ok_or(Errno::NOENT)
    }

    fn rename_in(&mut self, parent: u64, change: Change) -> Result<(), Errno> {
        match &mut self.inode_mut(parent)?.body {
            Body::Folder { now, pending, .. } => {
                change.clone().apply(now);
                pending.push(change);
                Ok(())
            }
            Body::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn make(&mut self, parent: u64, name: &OsStr, mode: u16, body: Body) -> Result<u64, Errno> {
        if self.names(parent)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let ino = self.next;
        self.next += 1;
        self.inodes.insert(ino, Inode { body, mode, opened: 0 });
        self.rename_in(parent, Change(vec![(name.to_owned(), Some(ino))]))?;
        Ok(ino)
    }

    pub(super) fn create(&mut self, parent: u64, name: &OsStr, mode: u16) -> Result<u64, Errno> {
        self.has_room(1)?;
        self.make(parent, name, mode, Body::File(Content::default()))
    }

    pub(super) fn mkdir(&mut self, parent: u64, name: &OsStr, mode: u16) -> Result<u64, Errno> {
        self.has_room(1)?;
        self.make(parent, name, mode, Body::default())
    }

    pub(super) fn remove(&mut self, parent: u64, name: &OsStr, folder: bool) -> Result<(), Errno> {
        let ino = self.lookup(parent, name)?;
        match (&self.inode(ino)?.body, folder) {
            (Body::Folder { .. }, false) => return Err(Errno::ISDIR),
            (Body::File(_), true) => return Err(Errno::NOTDIR),
            (Body::Folder { now, .. }, true) if !now.is_empty() => return Err(Errno::NOTEMPTY),
            _ => {}
        }
        self.rename_in(parent, Change(vec![(name.to_owned(), None)]))?;
        self.let_go(ino)
    }

    /// Within one folder, which is all that databases do.
    pub(super) fn rename(&mut self, parent: u64, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        let ino = self.lookup(parent, from)?;
        let replaced = self.lookup(parent, to).ok().filter(|replaced| *replaced != ino);
        self.rename_in(parent, Change(vec![(from.to_owned(), None), (to.to_owned(), Some(ino))]))?;
        replaced.map_or(Ok(()), |replaced| self.let_go(replaced))
    }

    pub(super) fn open(&mut self, ino: u64) -> Result<(), Errno> {
        self.inode_mut(ino)?.opened += 1;
        Ok(())
    }

    pub(super) fn close(&mut self, ino: u64) -> Result<(), Errno> {
        let inode = self.inode_mut(ino)?;
        inode.opened = inode.opened.saturating_sub(1);
        self.let_go(ino)
    }

    /// A file without a name that nobody has open gives its room back.
    fn let_go(&mut self, ino: u64) -> Result<(), Errno> {
        let named = self.inodes.values().any(
            |inode| matches!(&inode.body, Body::Folder { now, .. } if now.values().any(|named| *named == ino)),
        );
        if named || self.inode(ino)?.opened > 0 || matches!(self.inode(ino)?.body, Body::Folder { .. }) {
            return Ok(());
        }
        self.edit(ino, Content::release)
    }

    pub(super) fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.has_room(self.content(ino)?.new_pages(offset, data.len() as u64))?;
        self.edit(ino, |content| content.write(offset, data))
    }

    pub(super) fn allocate(&mut self, ino: u64, offset: u64, len: u64, grow: bool) -> Result<(), Errno> {
        self.has_room(self.content(ino)?.new_pages(offset, len))?;
        self.edit(ino, |content| content.allocate(offset, len, grow))
    }

    pub(super) fn set_len(&mut self, ino: u64, len: u64) -> Result<(), Errno> {
        self.edit(ino, |content| content.set_len(len))
    }

    pub(super) fn set_mode(&mut self, ino: u64, mode: u16) -> Result<(), Errno> {
        self.inode_mut(ino)?.mode = mode;
        Ok(())
    }

    /// Makes a file's bytes or a folder's names durable.
    pub(super) fn sync(&mut self, ino: u64) -> Result<(), Errno> {
        match &mut self.inode_mut(ino)?.body {
            Body::File(content) => content.sync(),
            Body::Folder { now, durable, pending } => {
                durable.clone_from(now);
                pending.clear();
                self.sweep();
            }
        }
        Ok(())
    }

    /// A sync that fails.
    pub(super) fn fail_sync(&mut self, ino: u64) -> Result<(), Errno> {
        if let Body::File(content) = &mut self.inode_mut(ino)?.body {
            content.forget_dirty();
        }
        Ok(())
    }

    /// Removes what has no name on either side and is not open.
    fn sweep(&mut self) {
        let mut kept = BTreeSet::from([ROOT]);
        for inode in self.inodes.values() {
            if let Body::Folder { now, durable, pending } = &inode.body {
                let pending = pending.iter().flat_map(|change| change.0.iter().filter_map(|(_, ino)| *ino));
                kept.extend(now.values().chain(durable.values()).copied().chain(pending));
            }
        }
        self.inodes.retain(|ino, inode| kept.contains(ino) || inode.opened > 0);
    }

    /// The power fails; nobody may have anything open any more.
    pub(super) fn lose_power(&mut self, loss: Loss) {
        let mut rng = match loss {
            Loss::All => None,
            Loss::Torn(seed) => Some(fastrand::Rng::with_seed(seed)),
        };
        for inode in self.inodes.values_mut() {
            inode.opened = 0;
            match &mut inode.body {
                Body::File(content) => content.lose_power(rng.as_mut()),
                Body::Folder { now, durable, pending } => {
                    let kept = rng.as_mut().map_or(0, |rng| rng.usize(..=pending.len()));
                    for change in pending.drain(..).take(kept) {
                        change.apply(durable);
                    }
                    now.clone_from(durable);
                }
            }
        }
        self.sweep();
        let pages = |inode: &Inode| match &inode.body {
            Body::File(content) => content.pages(),
            Body::Folder { .. } => 0,
        };
        self.used = self.inodes.values().map(pages).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    /// A disk with a synced folder `d` and in it a synced file `f` that holds "old".
    fn disk() -> (State, u64, u64) {
        let mut disk = State::new(64 << 10);
        let folder = disk.mkdir(ROOT, name("d"), 0o755).unwrap();
        let file = disk.create(folder, name("f"), 0o644).unwrap();
        disk.write(file, 0, b"old").unwrap();
        for ino in [ROOT, folder, file] {
            disk.sync(ino).unwrap();
        }
        (disk, folder, file)
    }

    #[test]
    fn a_name_is_durable_only_after_its_folder_was_synced() {
        let (mut disk, folder, _) = disk();
        let file = disk.create(folder, name("new"), 0o644).unwrap();
        disk.write(file, 0, b"x").unwrap();
        disk.sync(file).unwrap();
        disk.lose_power(Loss::All);
        assert_eq!(disk.lookup(folder, name("new")), Err(Errno::NOENT));
        assert!(disk.lookup(folder, name("f")).is_ok());
    }

    #[test]
    fn a_rename_that_was_not_synced_is_undone_with_what_it_replaced() {
        let (mut disk, folder, old) = disk();
        let new = disk.create(folder, name("new"), 0o644).unwrap();
        disk.write(new, 0, b"new").unwrap();
        disk.sync(new).unwrap();
        disk.rename(folder, name("new"), name("f")).unwrap();
        assert_eq!(disk.lookup(folder, name("f")), Ok(new));
        disk.lose_power(Loss::All);
        assert_eq!(disk.lookup(folder, name("f")), Ok(old));
        assert_eq!(disk.content(old).unwrap().read(0, 10), b"old");
        // The same, synced.
        let new = disk.create(folder, name("new"), 0o644).unwrap();
        disk.rename(folder, name("new"), name("f")).unwrap();
        disk.sync(folder).unwrap();
        disk.lose_power(Loss::All);
        assert_eq!(disk.lookup(folder, name("f")), Ok(new));
        assert_eq!(disk.used(), 0);
    }

    #[test]
    fn a_removed_file_stays_while_it_is_open_and_then_gives_its_room_back() {
        let (mut disk, folder, file) = disk();
        disk.open(file).unwrap();
        disk.remove(folder, name("f"), false).unwrap();
        assert_eq!((disk.content(file).unwrap().read(0, 3), disk.used()), (b"old".to_vec(), 1));
        disk.close(file).unwrap();
        assert_eq!(disk.used(), 0);
    }

    #[test]
    fn files_have_a_name_and_bytes() {
        let (mut disk, folder, file) = disk();
        disk.create(folder, name("empty"), 0o644).unwrap();
        assert_eq!(disk.files(), [file]);
        disk.remove(folder, name("f"), false).unwrap();
        assert!(disk.files().is_empty());
    }

    #[test]
    fn an_image_stays_as_it_was() {
        let (mut disk, folder, file) = disk();
        disk.open(file).unwrap();
        disk.write(file, 3, b"er").unwrap();
        let image = disk.image();
        disk.write(file, 0, b"new").unwrap();
        disk.remove(folder, name("f"), false).unwrap();
        assert_eq!(image.lookup(folder, name("f")), Ok(file));
        assert_eq!(image.content(file).unwrap().read(0, 9), b"older");
        assert_eq!(image.inode(file).unwrap().opened, 0);
    }

    #[test]
    fn a_full_disk_refuses_new_pages_and_takes_old_ones() {
        let (mut disk, folder, file) = disk();
        disk.set_capacity(PAGE_BYTES as u64);
        assert_eq!(disk.write(file, PAGE_BYTES as u64, b"x"), Err(Errno::NOSPC));
        assert_eq!(disk.create(folder, name("g"), 0o644), Err(Errno::NOSPC));
        assert_eq!(disk.write(file, 10, b"x"), Ok(()));
    }

    #[test]
    fn torn_names_are_a_prefix_of_what_was_done() {
        for seed in 0..50 {
            let (mut disk, folder, _) = disk();
            for one in ["1", "2", "3"] {
                disk.create(folder, name(one), 0o644).unwrap();
            }
            disk.lose_power(Loss::Torn(seed));
            let there = ["1", "2", "3"].map(|one| disk.lookup(folder, name(one)).is_ok());
            assert!(there.is_sorted_by(|a, b| a >= b), "{there:?}");
        }
    }
}
