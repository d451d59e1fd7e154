//! Opening a file: finding the newest commit that was made durable, and making sure that it stays so.
//!
//! **Invariant:** a file has its name only when both of its meta pages are whole and durable, so what is found under the
//! name is a database or damage, never a creation that a crash interrupted. Nothing at all, or zeros, is what a disk leaves
//! of a file that it lost: damage too, and not the file of another program.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;

use conure_io::{Disk, File, OpenMode};

use crate::commit::{self, Written};
use crate::db::{Shared, Writer};
use crate::meta::{self, Label, Meta, SECTOR, Slot, TreeState};
use crate::page::{FIRST_PAGE, PageId};
use crate::pins::Pins;
use crate::planted::Planted;
use crate::space::Space;
use crate::view::View;
use crate::{Error, Options};

pub(crate) fn open(disk: &dyn Disk, name: &str, options: Options) -> Result<Shared, Error> {
    options.check()?;
    let file = match disk.open(name, OpenMode::Existing) {
        Ok(file) => {
            let file = lock(file, name)?;
            // Its maker may have been killed after it named the file and before that was durable.
            disk.sync_dir().map_err(Error::io("sync the database directory"))?;
            file
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(disk, name, &options)?,
        Err(source) if is_read_only(&source) => {
            return Err(Error::ReadOnly { name: name.to_owned(), source });
        }
        Err(error) => return Err(Error::Io { what: "open the database file", source: error }),
    };
    recover(file, name, options)
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn lock(file: Arc<dyn File>, name: &str) -> Result<Arc<dyn File>, Error> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(Error::Locked { name: name.to_owned() })
        }
        Err(error) => Err(Error::Io { what: "lock the database file", source: error }),
    }
}

/// Makes an empty database under another name, and gives it its own once it is durable.
fn create(disk: &dyn Disk, name: &str, options: &Options) -> Result<Arc<dyn File>, Error> {
    let unfinished = format!("{name}.new");
    let making = Error::io;
    let what = "create the database file";
    match disk.open(&unfinished, OpenMode::Existing) {
        Ok(file) => {
            // Left by a crash, unless its maker still holds it.
            let _file = lock(file, name)?;
            disk.remove(&unfinished).map_err(making(what))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::Io { what, source: error }),
    }
    let file = match disk.open(&unfinished, OpenMode::CreateNew) {
        Ok(file) => lock(file, name)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Error::Locked { name: name.to_owned() });
        }
        Err(source) if is_read_only(&source) => {
            return Err(Error::ReadOnly { name: name.to_owned(), source });
        }
        Err(error) => return Err(Error::Io { what, source: error }),
    };
    if disk.open(name, OpenMode::Read).is_ok() {
        // Somebody else made it since we looked.
        disk.remove(&unfinished).map_err(making(what))?;
        return Err(Error::Locked { name: name.to_owned() });
    }
    let page_size = options.page_size_bytes as usize;
    let mut meta = Meta {
        page_size,
        file_id: RandomState::new().hash_one(name),
        txn: 1,
        catalogue: TreeState::default(),
        end: FIRST_PAGE,
        free_pages: 0,
        directory: vec![0; meta::directory_len(page_size)],
        list: Vec::new(),
    };
    let mut bytes = meta.encode(0);
    meta.txn = 2;
    bytes.extend(meta.encode(1));
    file.write_all_at(&bytes, 0).map_err(making(what))?;
    file.sync_data().map_err(making(what))?;
    disk.rename(&unfinished, name).map_err(making(what))?;
    disk.sync_dir().map_err(making(what))?;
    Ok(file)
}

fn read(file: &dyn File, offset: usize, len: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset as u64).map_err(Error::io("read the database file"))?;
    Ok(bytes)
}

/// Finds out how long the file's pages are, from whichever meta page still says so.
fn page_size(file: &dyn File, file_len: u64, name: &str) -> Result<usize, Error> {
    let not_ours = |reason| Error::NotADatabase { name: name.to_owned(), reason };
    if file_len == 0 {
        return Err(Error::corrupt(0, "the file is empty"));
    }
    let head = read(file, 0, usize::try_from(file_len).unwrap_or(SECTOR).min(SECTOR))?;
    let zeros = head.iter().all(|byte| *byte == 0);
    if head.len() < SECTOR {
        let lost = zeros || meta::begins_as_ours(&head);
        return Err(if lost {
            Error::corrupt(0, "the file ends within it")
        } else {
            not_ours("it is too short")
        });
    }
    let first = meta::label(0, &head);
    match first {
        Label::Ours { page_size } => return Ok(page_size),
        Label::Version(found) => {
            return Err(Error::Version { name: name.to_owned(), found, wanted: meta::VERSION });
        }
        Label::ByteOrder => return Err(Error::ByteOrder { name: name.to_owned() }),
        Label::Damaged | Label::Foreign => {}
    }
    let mut size = SECTOR;
    while size <= 32_768 && (size + SECTOR) as u64 <= file_len {
        if meta::label(1, &read(file, size, SECTOR)?) == (Label::Ours { page_size: size }) {
            return Ok(size);
        }
        size *= 2;
    }
    if first == Label::Foreign && !zeros {
        return Err(not_ours("it does not begin as one"));
    }
    Err(Error::corrupt(0, "neither meta page can be read"))
}

fn recover(file: Arc<dyn File>, name: &str, options: Options) -> Result<Shared, Error> {
    let file_len = file.len().map_err(Error::io("ask for the database file's length"))?;
    let page_size = page_size(file.as_ref(), file_len, name)?;
    if file_len < 2 * page_size as u64 {
        return Err(Error::corrupt(1, "the file ends before it"));
    }
    let slots = [
        meta::decode(0, &read(file.as_ref(), 0, page_size)?),
        meta::decode(1, &read(file.as_ref(), page_size, page_size)?),
    ];
    check_damage(&slots)?;
    let newest = slots.iter().map(Slot::newest).max().unwrap_or(0);

    let mut candidates: Vec<(u8, Meta)> = Vec::new();
    for (slot, found) in (0..).zip(&slots) {
        if let Slot::Whole(meta) = found {
            candidates.push((slot, meta.clone()));
        }
    }
    candidates.sort_by_key(|(_, meta)| std::cmp::Reverse(meta.txn));
    let mut chosen = None;
    for (slot, meta) in candidates {
        let view = View::new(file.as_ref(), file_len, page_size, crate::page::seed(meta.file_id))?;
        let whole = meta.list.iter().all(|(page, checksum)| view.holds(*page, *checksum))
            || options.has(Planted::TrustsList);
        if meta.end <= view.pages() && whole {
            chosen = Some((slot, meta, view));
            break;
        }
        if meta.list.is_empty() {
            // Its pages were synced before it was written: no crash takes them away.
            return Err(Error::corrupt(
                meta.end,
                format!(
                    "the file ends before it: it has {} pages and should have {}",
                    view.pages(),
                    meta.end
                ),
            ));
        }
    }
    let Some((slot, mut meta, view)) = chosen else {
        return Err(Error::corrupt(0, "neither meta page describes a whole commit"));
    };

    let other = match &slots[1 - usize::from(slot)] {
        Slot::Whole(other) if other.txn < meta.txn => Some(other),
        _ => None,
    };
    // The other slot describes the same, and was durable before this one was written down.
    let sealed = meta.list.is_empty() && other.is_some_and(|other| other.same_state(&meta));
    let mut syncs = 0;
    if !sealed {
        write_again(file.as_ref(), &options, slot, &meta, &view)?;
        syncs += 1;
    }
    let must_seal = !sealed && (!meta.list.is_empty() || other.is_none());
    // Whether this page is durable is not known where nobody synced it now: the next one takes its place, not the other's.
    let slot = if sealed { 1 - slot } else { slot };
    // Commit numbers of a commit that failed are not used again: its leavings must not pass for a new one's.
    meta.txn = meta.txn.max(if must_seal { newest } else { 0 });
    let mut space = Space::new(page_size, meta.directory.clone(), meta.end, meta.free_pages);
    if let Some(limit_bytes) = options.file_bytes_max {
        space.limit_strips(limit_bytes / page_size as u64);
    }
    let mut writer = Writer {
        view: Arc::new(view),
        file_len,
        former_views: Vec::new(),
        space,
        pins: Pins::default(),
        written: Written::default(),
        durable: meta,
        slot,
        sealed,
        buffer: Vec::new(),
        spare: Vec::new(),
    };
    if must_seal {
        commit::seal(file.as_ref(), &mut writer).map_err(Error::io("write to the database file"))?;
        syncs += 1;
    }
    Ok(Shared::new(file, options, writer, syncs))
}

/// Makes durable what was read. Whoever wrote it may have been killed before its sync, or its sync may have failed: then
/// the system shows what the disk does not have and takes it for written, so that another sync alone changes nothing.
fn write_again(file: &dyn File, options: &Options, slot: u8, meta: &Meta, view: &View) -> Result<(), Error> {
    let what = "write the last commit to the database file once more";
    let write = |bytes: &[u8], page: PageId| {
        file.write_all_at(bytes, u64::from(page) * meta.page_size as u64).map_err(Error::io(what))
    };
    let len = file.len().and_then(|len| file.set_len(len));
    len.map_err(Error::io(what))?;
    if options.has(Planted::OpensBySyncAlone) {
        return file.sync_data().map_err(Error::io("sync the database file"));
    }
    for (page, _) in &meta.list {
        write(view.run(*page)?, *page)?;
    }
    // The bytes that are there: whatever a crash leaves of them is no worse than it was.
    write(&meta.encode(slot), PageId::from(slot))?;
    file.sync_data().map_err(Error::io("sync the database file"))
}

/// A crash leaves whole sectors. One that is not whole is damage, and where it may belong to the newest commit, going
/// back to the one before would lose what was promised to last.
fn check_damage(slots: &[Slot; 2]) -> Result<(), Error> {
    for (page, (this, other)) in [(&slots[0], &slots[1]), (&slots[1], &slots[0])].into_iter().enumerate() {
        let Slot::Damaged { newest } = this else { continue };
        let harmless = matches!(other, Slot::Whole(meta) if newest.is_some_and(|newest| newest < meta.txn));
        if !harmless {
            return Err(Error::corrupt(crate::bytes::word(page), "this meta page is damaged"));
        }
    }
    Ok(())
}

impl Slot {
    fn newest(&self) -> u64 {
        match self {
            Self::Whole(meta) => meta.txn,
            Self::Torn { newest } => *newest,
            Self::Damaged { newest } => newest.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests;
