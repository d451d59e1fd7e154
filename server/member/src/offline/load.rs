//! A new cluster from a dump.

use std::io::{BufRead, Read as _};
use std::path::Path;

use super::OfflineError;
use super::founding::{self, Founded, NewCluster, Origin, Put};
use super::text::{self, AnyHeader, Header, Item};
use crate::backup_format::Record;

const WHOLE: &str = "load a whole dump as `conure-db dump` wrote it";
const CHANGED: &str =
    "make the dump again, or, where it was changed on purpose, leave crc32c out and set keys right";

/// Makes `dir` the data directory of a new one-member cluster that holds what the dump holds, as [`super::restore()`] does
/// with a backup: nothing counts before the whole dump was read, and revisions go on as they do there.
///
/// # Errors
///
/// [`OfflineError::Dump`] names the line that is wrong; the others are those of [`super::restore()`].
pub fn load(dump: impl BufRead, dir: &Path, new: &NewCluster) -> Result<Founded, OfflineError> {
    founding::found(dir, new, |put| {
        let mut lines = Lines { dump, line: Vec::new(), number: 0 };
        let header = header(&mut lines)?;
        records(&mut lines, &header, put)?;
        Ok(Origin {
            cluster_id: header.cluster_id,
            incarnation: header.incarnation,
            revision: header.revision,
            log_index: 0,
        })
    })
}

struct Lines<R> {
    dump: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn refused(&self, reason: impl Into<String>, mend: &'static str) -> OfflineError {
        OfflineError::Dump { line: self.number, reason: reason.into(), mend }
    }

    /// Reads the next line, without its break; false at the end. A line without a break was cut off.
    fn next(&mut self) -> Result<bool, OfflineError> {
        self.line.clear();
        self.number += 1;
        let limit = text::LINE_LEN_MAX as u64;
        let read = self.dump.by_ref().take(limit).read_until(b'\n', &mut self.line);
        read.map_err(OfflineError::io("read the dump"))?;
        if self.line.is_empty() {
            return Ok(false);
        }
        if self.line.pop_if(|last| *last == b'\n').is_none() {
            let long = self.line.len() as u64 >= limit;
            let reason =
                if long { "it is longer than any line of a dump" } else { "the dump is cut off in it" };
            return Err(self.refused(reason, WHOLE));
        }
        Ok(true)
    }
}

fn header(lines: &mut Lines<impl BufRead>) -> Result<Header, OfflineError> {
    let any = if lines.next()? { serde_json::from_slice::<AnyHeader>(&lines.line).ok() } else { None };
    let Some(any) = any else { return Err(lines.refused("it does not begin as a dump", WHOLE)) };
    if any.conuredb_dump != text::VERSION {
        let reason =
            format!("it has format version {}, this program knows {}", any.conuredb_dump, text::VERSION);
        return Err(lines.refused(reason, "use the program that wrote it"));
    }
    let header: Header = serde_json::from_slice(&lines.line)
        .map_err(|e| lines.refused(format!("its header is none ({e})"), WHOLE))?;
    if header.crc32c.as_ref().is_some_and(|crc| !text::checksum_fits(&lines.line, 0, crc)) {
        return Err(lines.refused("its checksum is wrong", CHANGED));
    }
    Ok(header)
}

fn records(lines: &mut Lines<impl BufRead>, header: &Header, put: &mut Put<'_>) -> Result<(), OfflineError> {
    let (mut crc, mut count, mut last) = (0, 0, Vec::new());
    while lines.next()? {
        match text::parse(&lines.line).map_err(|reason| lines.refused(reason, WHOLE))? {
            Item::Record { key, revision, value } => {
                if key <= last {
                    return Err(
                        lines.refused("its key is not above the one before", "sort the keys by their bytes")
                    );
                }
                if revision == 0 || revision > header.revision {
                    let reason =
                        format!("its revision is {revision}, and that of the header {}", header.revision);
                    return Err(lines.refused(reason, "give it one from 1 to the header's"));
                }
                put(Record { key: &key, revision, value: &value })?;
                crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, &lines.line), b"\n");
                count += 1;
                last = key;
            }
            Item::End { keys, crc32c } => {
                if keys != count {
                    return Err(lines.refused(format!("{count} keys came and {keys} should have"), CHANGED));
                }
                if crc32c.is_some_and(|wanted| !text::checksum_fits(&lines.line, crc, &wanted)) {
                    return Err(lines.refused("its checksum is not that of the lines before it", CHANGED));
                }
                return if lines.next()? {
                    Err(lines.refused("something follows the end", WHOLE))
                } else {
                    Ok(())
                };
            }
        }
    }
    Err(lines.refused("the dump is cut off before it", WHOLE))
}
