//! A new cluster from a backup.

use std::io::{ErrorKind, Read};
use std::path::Path;

use super::founding::{self, Founded, NewCluster, Origin};
use super::{BackupError, OfflineError};
use crate::backup_format::Decoder;

/// So many bytes of the backup are read at once.
const READ_BYTES: usize = 256 << 10;

/// Makes `dir` the data directory of a new one-member cluster that holds what the backup holds. Nothing counts before
/// the whole backup was read and verified: where it is refused or the process dies, no member starts on `dir`, and
/// another attempt begins anew. Needs about 32 MiB of memory, whatever the size.
///
/// Keys keep their revisions. The cluster's own goes ahead by 2^32 for each incarnation, so that no change of the new
/// cluster ever takes a revision that the old one gave away.
///
/// # Errors
///
/// [`OfflineError::Backup`] for a backup that is not whole, [`OfflineError::DataDir`] for a directory that belongs to a
/// member or cannot be written, [`OfflineError::Name`], [`OfflineError::Io`].
pub fn restore(mut backup: impl Read, dir: &Path, new: &NewCluster) -> Result<Founded, OfflineError> {
    founding::found(dir, new, |put| {
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let len = match backup.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(OfflineError::io("read the backup")(e)),
            };
            decoder.push(buffer.get(..len).unwrap_or_default(), &mut *put)?;
        }
        let (header, _) = decoder.finish()?;
        if header.cluster_id.is_empty() {
            return Err(BackupError::Damaged { at: 0, reason: "it names no cluster".to_owned() }.into());
        }
        Ok(Origin {
            cluster_id: header.cluster_id,
            incarnation: header.incarnation,
            revision: header.revision,
            log_index: header.log_index,
        })
    })
}
