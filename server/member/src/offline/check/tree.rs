//! The tree's part of a check: every page, then every key.

use conure_btree::{Db, Problem};
use conure_wal::Floor;

use super::CheckedPart;
use crate::offline::OfflineError;
use crate::offline::directory::{Directory, checked, described, snapshot};
use crate::raft::state::{Applied, KV_TREE};
use crate::raft::store::{TREE_FILE, engine};

/// The tree, unless it is too broken to be walked.
pub(super) fn check_database(
    directory: &Directory,
    percent: &mut dyn FnMut(u64),
) -> Result<(CheckedPart, Option<Db>), OfflineError> {
    let mut part = CheckedPart::new("database");
    let tree = match directory.tree() {
        Ok(Some(tree)) => {
            check_pages(directory, &tree, &mut part, percent)?;
            part.faults.is_empty().then_some(tree)
        }
        Ok(None) => {
            part.looked_at = "none".to_owned();
            None
        }
        Err(conure_btree::Error::Corrupt { page, reason }) => {
            part.looked_at = format!("{} bytes", directory.tree_bytes());
            part.fault(format!("{TREE_FILE}, page {page}"), format!("{reason}; it cannot be opened"));
            None
        }
        Err(error @ conure_btree::Error::NotADatabase { .. }) => {
            part.fault(TREE_FILE, error);
            None
        }
        Err(error) => return Err(directory.unreadable(error)),
    };
    Ok((part, tree))
}

fn check_pages(
    directory: &Directory,
    tree: &Db,
    part: &mut CheckedPart,
    percent: &mut dyn FnMut(u64),
) -> Result<(), OfflineError> {
    let report = checked(tree, percent).map_err(|e| directory.unreadable(e))?;
    let stats = tree.stats();
    part.looked_at = format!(
        "{} pages of {} bytes, {} of them free, commit {}",
        report.pages, stats.page_size_bytes, report.free_pages, report.commit
    );
    let place = |page: u32| {
        format!("{TREE_FILE}, page {page} (byte {})", u64::from(page) * u64::from(stats.page_size_bytes))
    };
    for Problem { page, reason } in &report.problems {
        part.fault(place(*page), reason);
    }
    let reading = OfflineError::io("read the database");
    for slot in directory.damaged_meta_pages(stats.page_size_bytes as usize).map_err(reading)? {
        part.fault(place(slot.into()), "this meta page is damaged");
    }
    Ok(())
}

/// Every stored value begins with a revision that the whole has reached.
pub(super) fn check_keys(tree: &Db, part: &mut CheckedPart) -> Option<(Applied, Option<Floor>)> {
    let read = snapshot(tree).map_err(|e| part.fault(TREE_FILE, e)).ok()?;
    let (applied, floor) =
        described(&read).map_err(|e| part.fault(format!("{TREE_FILE}, tree meta"), e)).ok()?;
    let place = |number: u64| format!("{TREE_FILE}, tree {KV_TREE}, key {number}");
    let mut keys = 0;
    let walked = read.tree(KV_TREE).and_then(|kv| {
        for entry in kv.iter().flat_map(|kv| kv.range(..)) {
            let (_, stored) = entry?;
            keys += 1;
            match stored.split_first_chunk::<8>().map(|(revision, _)| u64::from_le_bytes(*revision)) {
                None => part.fault(place(keys), "its value has no revision"),
                Some(revision) if revision == 0 || revision > applied.revision => {
                    part.fault(
                        place(keys),
                        format!("its revision is {revision}, the whole {}", applied.revision),
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    });
    if let Err(error) = walked {
        part.fault(TREE_FILE, engine(error));
    }
    part.looked_at = format!("{keys} keys, revision {}", applied.revision);
    Some((applied, floor))
}
