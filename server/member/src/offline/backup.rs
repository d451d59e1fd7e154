//! A backup on its way through somebody else's hands: verified as it passes.

use crate::backup_format::Decoder;
use crate::offline::OfflineError;

/// What a whole backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupSummary {
    /// The cluster that it was made of.
    pub cluster_id: String,
    /// That cluster's incarnation.
    pub incarnation: u64,
    /// The cluster's revision at that moment.
    pub revision: u64,
    /// How many keys it holds.
    pub keys: u64,
}

/// Verifies a backup: feed it every byte, then ask it whether that was all.
#[derive(Debug, Default)]
pub struct BackupReader {
    decoder: Decoder,
}

impl BackupReader {
    /// Takes the next bytes, however they are cut. Keeps about 6 MiB at most.
    ///
    /// # Errors
    ///
    /// [`OfflineError::Backup`] as soon as something is wrong.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), OfflineError> {
        self.decoder.push(bytes, |_| Ok(()))
    }

    /// There are no more bytes.
    ///
    /// # Errors
    ///
    /// [`OfflineError::Backup`] when the backup is not whole.
    pub fn finish(self) -> Result<BackupSummary, OfflineError> {
        let (header, keys) = self.decoder.finish()?;
        Ok(BackupSummary {
            cluster_id: header.cluster_id,
            incarnation: header.incarnation,
            revision: header.revision,
            keys,
        })
    }
}
