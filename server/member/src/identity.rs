//! Who a data directory is: the identity file, outside the tree and outside snapshots.
//!
//! **Invariant:** the Raft node id follows the data directory, never the name. A directory that lost its
//! identity is a new member; a directory that was removed from its cluster never takes its old id back.

use std::io;
use std::path::Path;

use conure_client::api::Role;
use conure_io::OpenMode;
use serde::{Deserialize, Serialize};

use crate::planted::Planted;
use crate::platform;

/// The identity file's name inside the data directory.
pub(crate) const IDENTITY_FILE: &str = "identity";
const MAGIC: &[u8; 8] = b"CONUREID";
/// The format of every state but [`State::Adopted`], which only format 2 has.
const FORMAT: u32 = 1;
const FORMAT_ADOPTED: u32 = 2;
const LEN_MAX: u64 = 64 * 1024;

/// What a data directory is at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Belongs to no cluster and never did.
    Fresh,
    /// About to start a cluster of its own; nobody else knows of that cluster yet.
    Founding,
    /// Belongs to a cluster.
    Member,
    /// Let go of the cluster that it had bootstrapped itself; waits to be adopted.
    Released,
    /// Was removed from its cluster; rejoins only as a new member.
    Removed,
    /// Was taken into a cluster, and has yet to make the database and the log of a member. Until then it has given no vote and
    /// acknowledged nothing; a [`State::Member`] that has neither lost them.
    Adopted,
}

/// The content of the identity file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The member's name.
    pub(crate) name: String,
    /// The Raft node id of this directory, never zero.
    pub(crate) node_id: u64,
    /// The cluster; empty before there is one.
    pub(crate) cluster_id: String,
    /// How often the cluster was restored or recovered; 0 before there is one.
    pub(crate) incarnation: u64,
    /// What the directory is.
    pub(crate) state: State,
    /// Data member or arbiter: what the directory holds. Another one only after it was emptied.
    pub(crate) role: Role,
}

/// Why an identity file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Corrupt(String),
    /// It is an identity, and not the one that was written.
    #[error("{0}")]
    Damaged(String),
}

impl Identity {
    /// A new directory of the member `name`.
    pub(crate) fn fresh(name: &str, role: Role) -> Self {
        Self {
            name: name.to_owned(),
            node_id: if Planted::ReusesNodeId.is_on() {
                u64::from(crc32c::crc32c(name.as_bytes())) + 1
            } else {
                new_node_id()
            },
            cluster_id: String::new(),
            incarnation: 0,
            state: State::Fresh,
            role,
        }
    }

    /// Reads the identity of the data directory `dir`, `None` where it holds none.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>, IdentityError> {
        let file = match platform::present_directory(dir).open(IDENTITY_FILE, OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let len = file.len()?;
        if len > LEN_MAX {
            return Err(IdentityError::Corrupt(format!("is {len} bytes long, more than any identity")));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        file.read_exact_at(&mut bytes, 0)?;
        decode(&bytes).map(Some).map_err(|what| match loss(&bytes) {
            Some(loss) => IdentityError::Damaged(loss.to_owned()),
            None if bytes.starts_with(MAGIC) && !is_whole(&bytes) => IdentityError::Damaged(what),
            None => IdentityError::Corrupt(what),
        })
    }

    /// Replaces the identity of `dir`: after it returned, every later start sees the new one; after a crash
    /// in its midst, the old one or the new one.
    pub(crate) fn store(&self, dir: &Path) -> io::Result<()> {
        self.store_by(dir, "identity.new")
    }

    /// The same by way of a file called `temporary`, which may be there already.
    pub(crate) fn store_by(&self, dir: &Path, temporary: &str) -> io::Result<()> {
        let disk = platform::present_directory(dir);
        let file = match disk.open(temporary, OpenMode::Existing) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => disk.open(temporary, OpenMode::CreateNew)?,
            opened => opened?,
        };
        file.set_len(0)?;
        file.write_all_at(&self.encode()?, 0)?;
        file.sync_data()?;
        disk.rename(temporary, IDENTITY_FILE)?;
        disk.sync_dir()
    }

    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let body = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let mut bytes = MAGIC.to_vec();
        let format = if self.state == State::Adopted { FORMAT_ADOPTED } else { FORMAT };
        bytes.extend_from_slice(&format.to_le_bytes());
        bytes.extend_from_slice(&body);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        Ok(bytes)
    }
}

/// What a power loss may leave of a file that was whole: nobody else writes such a one.
fn loss(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [] => Some("is empty"),
        _ if bytes.iter().all(|byte| *byte == 0) => Some("holds nothing but zeros"),
        _ if MAGIC.starts_with(bytes) => Some("is too short"),
        _ => None,
    }
}

/// Whether the checksum at the end is that of what is before it.
fn is_whole(bytes: &[u8]) -> bool {
    let parts = bytes.split_last_chunk::<4>();
    parts.is_some_and(|(signed, crc)| crc32c::crc32c(signed) == u32::from_le_bytes(*crc))
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Identity, String> {
    let (signed, _) = bytes.split_last_chunk::<4>().ok_or("is too short")?;
    if !is_whole(bytes) {
        return Err("has a wrong checksum".into());
    }
    let rest = signed.strip_prefix(MAGIC.as_slice()).ok_or("is no identity of ConureDB")?;
    let (format, body) = rest.split_first_chunk::<4>().ok_or("is too short")?;
    let format = u32::from_le_bytes(*format);
    if !(FORMAT..=FORMAT_ADOPTED).contains(&format) {
        return Err(format!("has format {format}; this version reads formats {FORMAT} to {FORMAT_ADOPTED}"));
    }
    postcard::from_bytes(body).map_err(|e| format!("cannot be decoded: {e}"))
}

/// A random node id. Two directories that drew the same one would be taken for one member; with 64 random
/// bits that does not happen in a cluster's life.
pub(crate) fn new_node_id() -> u64 {
    loop {
        let (id, _) = uuid::Uuid::new_v4().as_u64_pair();
        // The low half of a version 4 UUID's first word is partly fixed: mix in the other word.
        let (_, low) = uuid::Uuid::new_v4().as_u64_pair();
        let id = id.rotate_left(32) ^ low;
        if id != 0 {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), None);
        let mut identity = Identity::fresh("node1", Role::Data);
        identity.store(dir.path()).unwrap();
        identity.state = State::Removed;
        identity.store(dir.path()).unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = Identity::fresh("node1", Role::Data).encode().unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut broken = bytes.clone();
                broken[at] ^= 1 << bit;
                assert!(decode(&broken).is_err(), "bit {bit} of byte {at}");
            }
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_changed_identity_is_damaged_and_a_file_that_is_none_or_of_another_format_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let loaded = |bytes: &[u8]| {
            std::fs::write(dir.path().join(IDENTITY_FILE), bytes).unwrap();
            Identity::load(dir.path())
        };
        let whole = Identity::fresh("node1", Role::Data).encode().unwrap();
        let mut flipped = whole.clone();
        flipped[20] ^= 1;
        let mut newer = whole[..whole.len() - 4].to_vec();
        newer[8] = 9;
        let crc = crc32c::crc32c(&newer);
        newer.extend_from_slice(&crc.to_le_bytes());
        let zeros = vec![0; whole.len()];
        for damaged in [flipped.as_slice(), &whole[..whole.len() - 1], &whole[..5], b"", &zeros] {
            assert!(matches!(loaded(damaged), Err(IdentityError::Damaged(_))));
        }
        for other in [newer.as_slice(), b"somebody's notes on identity"] {
            assert!(matches!(loaded(other), Err(IdentityError::Corrupt(_))));
        }
    }

    #[test]
    fn node_ids_differ() {
        let ids: std::collections::BTreeSet<u64> = (0..1000).map(|_| new_node_id()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
