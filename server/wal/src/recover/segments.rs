//! Which files make up the log: their names, headers and owner.

use conure_io::{Disk, OpenMode};

use crate::Error;
use crate::format::{
    HeaderError, SEGMENT_HEADER_BYTES, SegmentHeader, VERSION, segment_name, segment_number,
};
use crate::options::SEGMENT_BYTES_MAX;
use crate::segment::Segment;

/// A segment with its header read.
#[derive(Debug)]
pub(crate) struct Headed {
    pub(crate) segment: Segment,
    pub(crate) header: SegmentHeader,
    pub(crate) crc: u32,
}

#[derive(Debug, Default)]
pub(crate) struct FoundSegments {
    /// Unbroken in number up to the last.
    pub(crate) segments: Vec<Headed>,
    pub(crate) leftovers: Vec<String>,
}

/// Finds the unbroken run of segments that ends with the last one.
pub(crate) fn find(disk: &dyn Disk) -> Result<FoundSegments, Error> {
    let names = disk.list().map_err(Error::io("listing", "directory"))?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    let mut found = FoundSegments::default();

    let mut rest = &numbers[..];
    if let Some((&last, before)) = numbers.split_last()
        && is_unborn(disk, last, before.last().copied())?
    {
        found.leftovers.push(segment_name(last));
        rest = before;
    }
    let run = rest.windows(2).rposition(|pair| pair[0] + 1 != pair[1]).map_or(0, |hole| hole + 1);
    // A hole: the files before it were purged and removed, in an order of the file system's choice. Where they
    // are missed after all, the replay says so.
    let (removed, kept) = rest.split_at(run);
    for &number in kept {
        let headed = read(disk, number)?;
        if let Some(first) = found.segments.first() {
            check_owner(number, headed.header.log_id, first.header.log_id)?;
        }
        found.segments.push(headed);
    }
    for &number in removed {
        if let (Ok(headed), Some(first)) = (read(disk, number), found.segments.first()) {
            check_owner(number, headed.header.log_id, first.header.log_id)?;
        }
        found.leftovers.push(segment_name(number));
    }
    Ok(found)
}

fn check_owner(number: u32, found: u64, expected: u64) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::ForeignSegment { file: segment_name(number), found, expected })
}

fn open(disk: &dyn Disk, number: u32) -> Result<(Segment, Vec<u8>), Error> {
    let name = segment_name(number);
    let file = disk.open(&name, OpenMode::Existing).map_err(Error::io("opening", &name))?;
    let len = file.len().map_err(Error::io("asking the length of", &name))?;
    let bytes = u32::try_from(len).ok().filter(|len| *len <= SEGMENT_BYTES_MAX);
    let bytes =
        bytes.ok_or_else(|| Error::damaged(&name, 0, format!("{len} bytes are more than a segment has")))?;
    let mut head = vec![0; SEGMENT_HEADER_BYTES.min(bytes as usize)];
    file.read_exact_at(&mut head, 0).map_err(Error::io("reading", &name))?;
    Ok((Segment { number, file, index_max: None, bytes, allocated: bytes }, head))
}

/// Whether the last file is one whose making a crash broke off: its header is not whole, and nothing was ever
/// written behind the header, which happens only after the header was synced. The first segment of a run
/// cannot be: segments before it are removed only long after.
fn is_unborn(disk: &dyn Disk, last: u32, before: Option<u32>) -> Result<bool, Error> {
    let (segment, head) = open(disk, last)?;
    let follows = last == 1 || before.is_some_and(|before| before + 1 == last);
    let bare = segment.bytes as usize <= SEGMENT_HEADER_BYTES;
    Ok(follows && bare && SegmentHeader::parse(&head) == Err(HeaderError::Invalid))
}

fn read(disk: &dyn Disk, number: u32) -> Result<Headed, Error> {
    let (segment, head) = open(disk, number)?;
    match SegmentHeader::parse(&head) {
        Ok((header, crc)) if header.segment == number => Ok(Headed { segment, header, crc }),
        Ok((header, _)) => {
            let what = format!("it is segment {} of the log under another name", header.segment);
            Err(Error::damaged(segment.name(), 0, what))
        }
        Err(HeaderError::Version(found)) => {
            Err(Error::Version { file: segment.name(), found, known: VERSION })
        }
        Err(HeaderError::Invalid) => {
            Err(Error::damaged(segment.name(), 0, "its header is not what was written"))
        }
    }
}
