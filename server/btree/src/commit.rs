//! Making a commit last: pages first, then the meta page that leads to them.
//!
//! A durable commit writes its pages and then the meta page into the slot that does not describe the last durable
//! commit. Where the meta page can list all runs written since then, one sync makes all of it durable together: a meta page
//! whose listed runs are not all there, with their checksums, is one whose sync did not happen. Where the list is too
//! short, a sync of the pages comes before the meta page.
//!
//! **Invariant:** the slot and the pages of the last durable commit are not touched before the next one is durable.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Weak};

use conure_io::File;

use crate::Error;
use crate::db::{Shared, Snapshot, Writer};
use crate::hash::PageMap;
use crate::meta::{Meta, TreeState, list_len_max};
use crate::page::{self, PageId};
use crate::pins::Freed;
use crate::planted::Planted;
use crate::view::{Source, View};

/// Bytes written at once where pages lie side by side. What is written at once, the kernel may keep as one piece of its
/// cache, and then each later write of a single page goes through the state of all pages of the piece: 1 MiB at once made
/// such writes several times as slow as this does.
const WRITE_BYTES_MAX: usize = 16 << 10;

/// Pages in memory that are kept for the next transaction.
const SPARE_PAGES_MAX: usize = 2048;

/// Bytes cut off the file at once.
const CUT_BYTES_MAX: u64 = 64 << 20;

/// The runs written since the last durable commit that the newest commit reaches, with their checksums.
#[derive(Debug, Default)]
pub(crate) struct Written {
    runs: PageMap<u32>,
    /// There were more than a meta page can list.
    too_many: bool,
    /// Whether there was any commit at all since then.
    pub(crate) any: bool,
}

impl Written {
    pub(crate) fn add(&mut self, id: PageId, checksum: u32, max: usize) {
        if self.too_many {
            return;
        }
        self.runs.insert(id, checksum);
        // Runs freed later leave the list: some more than fit are no reason to give up yet.
        if self.runs.len() > 4 * max {
            self.too_many = true;
            self.runs = PageMap::default();
        }
    }

    pub(crate) fn remove(&mut self, id: PageId) {
        self.runs.remove(&id);
    }

    fn list(&self, max: usize) -> Option<Vec<(PageId, u32)>> {
        if self.too_many || self.runs.len() > max {
            return None;
        }
        let mut list: Vec<_> = self.runs.iter().map(|(id, checksum)| (*id, *checksum)).collect();
        list.sort_unstable();
        Some(list)
    }
}

/// Writes finished runs, those side by side together. They become trusted.
pub(crate) fn write_runs(
    shared: &Shared,
    writer: &mut Writer,
    txn: u64,
    mut runs: Vec<(PageId, Vec<u8>)>,
) -> Result<(), Error> {
    let page_size = writer.view.page_size();
    let max = list_len_max(page_size);
    runs.sort_unstable_by_key(|(id, _)| *id);
    for (id, run) in &mut runs {
        let pages = crate::bytes::word(run.len() / page_size);
        let checksum = page::finish(run, shared.seed, *id, pages, txn);
        writer.written.add(*id, checksum, max);
        writer.view.trust(*id, pages);
    }
    let offset = |id: PageId| u64::from(id) * page_size as u64;
    let mut buffer = std::mem::take(&mut writer.buffer);
    let mut rest = runs.as_slice();
    while let Some((first, run)) = rest.first() {
        let (mut count, mut len) = (1, run.len());
        while let Some((id, run)) = rest.get(count)
            && len + run.len() <= WRITE_BYTES_MAX
            && offset(*first) + len as u64 == offset(*id)
        {
            count += 1;
            len += run.len();
        }
        let (together, after) = rest.split_at(count);
        if count == 1 {
            write(shared, run, offset(*first))?;
        } else {
            buffer.clear();
            together.iter().for_each(|(_, run)| buffer.extend_from_slice(run));
            write(shared, &buffer, offset(*first))?;
        }
        rest = after;
    }
    writer.buffer = buffer;
    for (_, run) in runs {
        if run.len() == page_size && writer.spare.len() < SPARE_PAGES_MAX {
            writer.spare.push(run);
        }
    }
    Ok(())
}

fn write(shared: &Shared, bytes: &[u8], offset: u64) -> Result<(), Error> {
    for (piece, at) in bytes.chunks(WRITE_BYTES_MAX).zip((offset..).step_by(WRITE_BYTES_MAX)) {
        shared.or_poison("write to the database file", shared.file.write_all_at(piece, at))?;
    }
    Ok(())
}

/// Makes the file, and the view of it, long enough for all pages in use.
pub(crate) fn grow(shared: &Shared, writer: &mut Writer) -> Result<(), Error> {
    grow_to(shared, writer, writer.space.end())
}

/// Makes sure that the pages which a durable commit writes of the list of free pages find a place: past that, an error
/// would leave more behind than the transaction can take back.
pub(crate) fn reserve(shared: &Shared, writer: &mut Writer) -> Result<(), Error> {
    let needed = writer.space.own_pages_max();
    if writer.space.ready_pages() >= u64::from(needed) {
        return Ok(());
    }
    grow_to(shared, writer, writer.space.end().saturating_add(needed))
}

pub(crate) fn grow_to(shared: &Shared, writer: &mut Writer, pages: u32) -> Result<(), Error> {
    if pages <= writer.view.pages() {
        return Ok(());
    }
    let page_size = writer.view.page_size() as u64;
    let needed = u64::from(pages) * page_size;
    let step = (writer.file_len / 8)
        .clamp(shared.options.growth_bytes_min, shared.options.growth_bytes_min.max(1 << 30));
    // Where the file waits to be cut, it is long enough already.
    if needed > writer.file_len {
        // The step ends at the size limit; only what is needed itself may go beyond.
        let limit = shared.options.file_bytes_max.map_or(u64::MAX, |limit| limit - limit % page_size);
        let len = needed.max((writer.file_len + step).next_multiple_of(page_size).min(limit));
        // Where the disk is nearly full, there may be room for less than a step.
        writer.file_len = match allocate(shared, len) {
            Err(Error::NoSpace { .. }) if needed < len => allocate(shared, needed)?,
            result => result?,
        };
    }
    writer.replace_view(writer.view.resized(shared.file.as_ref(), writer.file_len)?);
    Ok(())
}

fn allocate(shared: &Shared, len_bytes: u64) -> Result<u64, Error> {
    match shared.file.allocate(len_bytes) {
        Err(source) if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            Err(Error::NoSpace { len_bytes, source })
        }
        result => shared.or_poison("grow the database file", result).map(|()| len_bytes),
    }
}

/// Cuts the part of the file off that the last durable commit, which ends before it, gave up, as soon as no map
/// reaches there.
///
/// The meta page of that commit is durable. The one before may name pages past the new end, but counts only where the newer
/// one is damaged, and then the file is refused. A crash may take the cut back, which leaves a longer file.
pub(crate) fn cut(shared: &Shared, writer: &mut Writer) -> Result<(), Error> {
    let pages = writer.view.pages();
    let len = u64::from(pages) * writer.view.page_size() as u64;
    let held = |(length, view): &(u32, Weak<View>)| *length > pages && view.strong_count() > 0;
    if len >= writer.file_len || writer.former_views.iter().any(held) {
        return Ok(());
    }
    // What the last holders of longer maps read has happened before.
    fence(Ordering::Acquire);
    // Some file systems take their time over each piece, and the next writer waits for it.
    let len = len.max(writer.file_len.saturating_sub(CUT_BYTES_MAX));
    shared.or_poison("cut the database file", shared.file.set_len(len))?;
    writer.file_len = len;
    Ok(())
}

/// Makes everything up to and including this commit durable. All its tree pages but `runs` are written already.
pub(crate) fn make_durable(
    shared: &Shared,
    writer: &mut Writer,
    txn: u64,
    catalogue: TreeState,
    mut runs: Vec<(PageId, Vec<u8>)>,
    freed: &mut Vec<Freed>,
    cut: bool,
) -> Result<(), Error> {
    if cut {
        writer.space.cut_tail();
    }
    let view = Arc::clone(&writer.view);
    let space_pages = writer.space.relocate(&view)?;
    grow(shared, writer)?;
    for id in space_pages.freed {
        let born = page::txn_of(writer.view.run(id)?);
        writer.written.remove(id);
        freed.push(Freed { id, pages: 1, born, freed: txn });
    }
    runs.extend(space_pages.pages);
    write_runs(shared, writer, txn, runs)?;

    let page_size = writer.view.page_size();
    let list = writer.written.list(list_len_max(page_size));
    if list.is_none() && !shared.options.has(Planted::NoDataSync) {
        shared.sync_file()?;
    }
    let meta = Meta {
        page_size,
        file_id: shared.file_id,
        txn,
        catalogue,
        end: writer.space.end(),
        free_pages: writer.space.free_pages(),
        directory: writer.space.directory().to_vec(),
        list: list.unwrap_or_default(),
    };
    if cut && shared.options.has(Planted::CutsEarly) {
        let len = u64::from(meta.end) * page_size as u64;
        shared.or_poison("cut the database file", shared.file.set_len(len))?;
    }
    let slot = 1 - writer.slot;
    write(shared, &meta.encode(slot), u64::from(slot) * meta.page_size as u64)?;
    if !shared.options.has(Planted::NoCommitSync) {
        shared.sync_file()?;
    }
    writer.slot = slot;
    let end = meta.end;
    writer.durable = meta;
    writer.sealed = false;
    writer.written = Written::default();
    if cut && end < writer.view.pages() {
        let len = u64::from(end) * page_size as u64;
        writer.replace_view(writer.view.resized(shared.file.as_ref(), len)?);
    }
    Ok(())
}

/// Writes the last durable commit down once more, now that it is known to be on disk, without a list of runs to
/// doubt: damage to one of them can then no longer look like a sync that did not happen.
///
/// Opening does this too where a crash left a meta page that does not describe a whole commit.
pub(crate) fn seal(file: &dyn File, writer: &mut Writer) -> io::Result<()> {
    let mut meta = writer.durable.clone();
    meta.txn += 1;
    meta.list.clear();
    let slot = 1 - writer.slot;
    file.write_all_at(&meta.encode(slot), u64::from(slot) * meta.page_size as u64)?;
    file.sync_data()?;
    writer.slot = slot;
    writer.durable = meta;
    writer.sealed = true;
    Ok(())
}

/// The commit as readers will see it.
pub(crate) fn snapshot(writer: &Writer, txn: u64, catalogue: TreeState) -> Snapshot {
    Snapshot {
        txn,
        catalogue,
        view: Arc::clone(&writer.view),
        end: writer.space.end(),
        free_pages: writer.space.free_pages(),
        readers: AtomicUsize::new(0),
        held_since_ms: AtomicU64::new(0),
    }
}

impl Source for Snapshot {
    fn run(&self, id: PageId) -> Result<&[u8], Error> {
        self.view.run(id)
    }

    fn txn(&self) -> u64 {
        self.txn
    }
}
