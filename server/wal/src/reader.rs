//! Reading entries that are no longer in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use conure_io::File;

use crate::cache::{Found, Slot};
use crate::format::{RECORD_HEADER_BYTES, Record, segment_name};
use crate::{Entry, Error};

/// Neighbours are read together up to this many bytes.
const RUN_BYTES_MAX: usize = 1 << 20;

/// The entries found, those on disk read and checked.
pub(crate) fn fetch(found: Vec<Found>, files: &BTreeMap<u32, Arc<dyn File>>) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::with_capacity(found.len());
    let mut run: Vec<(u64, Slot)> = Vec::new();
    let mut run_bytes = 0;
    for one in found {
        match one {
            Found::Memory(entry) => {
                read_run(&run, files, &mut entries)?;
                run.clear();
                entries.push(entry);
            }
            Found::Disk { index, slot } => {
                let follows = run.last().is_some_and(|(_, last)| {
                    last.segment == slot.segment
                        && u64::from(last.offset) + record_bytes(last) as u64 == u64::from(slot.offset)
                });
                if !follows || run_bytes + record_bytes(&slot) > RUN_BYTES_MAX {
                    read_run(&run, files, &mut entries)?;
                    run.clear();
                    run_bytes = 0;
                }
                run_bytes += record_bytes(&slot);
                run.push((index, slot));
            }
        }
    }
    read_run(&run, files, &mut entries)?;
    Ok(entries)
}

fn record_bytes(slot: &Slot) -> usize {
    RECORD_HEADER_BYTES + slot.payload_bytes as usize
}

/// Reads records that lie next to one another.
fn read_run(
    run: &[(u64, Slot)],
    files: &BTreeMap<u32, Arc<dyn File>>,
    out: &mut Vec<Entry>,
) -> Result<(), Error> {
    let Some((_, first)) = run.first() else { return Ok(()) };
    let name = segment_name(first.segment);
    let file = files.get(&first.segment).ok_or(Error::Closed)?;
    let mut buffer = vec![0; run.iter().map(|(_, slot)| record_bytes(slot)).sum()];
    file.read_exact_at(&mut buffer, first.offset.into()).map_err(Error::io("reading", &name))?;
    let mut rest = &buffer[..];
    for (wanted, slot) in run {
        let parsed = Record::parse(rest);
        let Some((Record::Entry { index, payload }, tail)) = parsed.filter(|(record, _)| {
            matches!(record, Record::Entry { index, payload }
                if index == wanted && payload.len() == slot.payload_bytes as usize)
        }) else {
            return Err(Error::damaged(
                &name,
                slot.offset.into(),
                format!("entry {wanted} does not read back"),
            ));
        };
        out.push(Entry { index, payload: Bytes::copy_from_slice(payload) });
        rest = tail;
    }
    Ok(())
}
