//! The stream of records that snapshots and backups consist of.
//!
//! `tree (u8) · key length (u32) · value length (u32) · key · value`, little endian, record after record, cut
//! into chunks anywhere.

use std::io;

use bytes::{Bytes, BytesMut};
use conure_btree::{MAX_KEY_BYTES, MAX_VALUE_BYTES, ReadTxn};

use super::state::{APPLIED_KEY, KV_TREE, META_TREE};

/// No chunk is longer.
pub(crate) const CHUNK_MAX: usize = 1 << 20;
const HEADER: usize = 9;

/// Which tree a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TreeId {
    Kv,
    Meta,
}

impl TreeId {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kv => KV_TREE,
            Self::Meta => META_TREE,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Kv => 1,
            Self::Meta => 2,
        }
    }

    fn from_code(code: u8) -> io::Result<Self> {
        match code {
            1 => Ok(Self::Kv),
            2 => Ok(Self::Meta),
            other => Err(invalid(format!("a record names tree {other}"))),
        }
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Cuts records into chunks and hands each to `sink`.
struct Cutter<F> {
    pending: BytesMut,
    sink: F,
}

impl<F: FnMut(Bytes) -> io::Result<()>> Cutter<F> {
    fn record(&mut self, tree: TreeId, key: &[u8], value: &[u8]) -> io::Result<()> {
        let length = |len: usize| u32::try_from(len).map_err(io::Error::other);
        self.bytes(&[tree.code()])?;
        self.bytes(&length(key.len())?.to_le_bytes())?;
        self.bytes(&length(value.len())?.to_le_bytes())?;
        self.bytes(key)?;
        self.bytes(value)
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = CHUNK_MAX - self.pending.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() == CHUNK_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() { Ok(()) } else { (self.sink)(self.pending.split().freeze()) }
    }
}

/// Hands the snapshot that `read` sees to `sink`, chunk by chunk. Blocks.
pub(crate) fn send_all(
    read: &ReadTxn,
    with_data: bool,
    sink: impl FnMut(Bytes) -> io::Result<()>,
) -> io::Result<()> {
    let mut cutter = Cutter { pending: BytesMut::with_capacity(CHUNK_MAX), sink };
    if let Some(meta) = read.tree(META_TREE).map_err(io::Error::other)?
        && let Some(applied) = meta.get(APPLIED_KEY).map_err(io::Error::other)?
    {
        cutter.record(TreeId::Meta, APPLIED_KEY, applied)?;
    }
    if with_data && let Some(kv) = read.tree(KV_TREE).map_err(io::Error::other)? {
        for entry in kv.range(..) {
            let (key, value) = entry.map_err(io::Error::other)?;
            cutter.record(TreeId::Kv, key, value)?;
        }
    }
    cutter.flush()
}

/// Puts chunks together again. Holds at most one record that is not whole yet.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    pending: BytesMut,
}

impl Joiner {
    /// Takes a chunk and hands every record that is whole to `sink`.
    pub(crate) fn push(
        &mut self,
        chunk: &[u8],
        mut sink: impl FnMut(TreeId, &[u8], &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.pending.extend_from_slice(chunk);
        while let Some(&[code, k0, k1, k2, k3, v0, v1, v2, v3]) = self.pending.first_chunk::<HEADER>() {
            let tree = TreeId::from_code(code)?;
            let key_len = usize::try_from(u32::from_le_bytes([k0, k1, k2, k3])).unwrap_or(usize::MAX);
            let value_len = usize::try_from(u32::from_le_bytes([v0, v1, v2, v3])).unwrap_or(usize::MAX);
            if key_len == 0 || key_len > MAX_KEY_BYTES || value_len > MAX_VALUE_BYTES {
                return Err(invalid(format!(
                    "a record has a key of {key_len} bytes and a value of {value_len}"
                )));
            }
            if self.pending.len() < HEADER + key_len + value_len {
                break;
            }
            let record = self.pending.split_to(HEADER + key_len + value_len);
            let (key, value) = record.split_at(HEADER).1.split_at(key_len);
            sink(tree, key, value)?;
        }
        Ok(())
    }

    /// Whether no record is left half.
    pub(crate) fn is_whole(&self) -> bool {
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(records: &[(TreeId, Vec<u8>, Vec<u8>)]) -> Vec<Bytes> {
        let mut chunks = Vec::new();
        let mut cutter = Cutter {
            pending: BytesMut::new(),
            sink: |chunk| {
                chunks.push(chunk);
                Ok(())
            },
        };
        for (tree, key, value) in records {
            cutter.record(*tree, key, value).unwrap();
        }
        cutter.flush().unwrap();
        chunks
    }

    #[test]
    fn records_longer_than_chunks_come_out_as_they_went_in() {
        let records = vec![
            (TreeId::Meta, b"applied".to_vec(), vec![]),
            (TreeId::Kv, vec![7; MAX_KEY_BYTES], vec![1; MAX_VALUE_BYTES]),
            (TreeId::Kv, vec![8], vec![2; CHUNK_MAX]),
        ];
        let chunks = stream(&records);
        assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_MAX));
        let mut joiner = Joiner::default();
        let mut seen = Vec::new();
        for chunk in &chunks {
            joiner
                .push(chunk, |tree, key, value| {
                    seen.push((tree, key.to_vec(), value.to_vec()));
                    Ok(())
                })
                .unwrap();
        }
        assert!(joiner.is_whole());
        assert_eq!(seen, records);
    }

    #[test]
    fn lengths_that_no_record_has_are_refused() {
        let mut joiner = Joiner::default();
        let bytes = [1, 255, 255, 255, 255, 0, 0, 0, 0];
        assert!(joiner.push(&bytes, |_, _, _| Ok(())).is_err());
        let mut joiner = Joiner::default();
        assert!(joiner.push(&[9; HEADER], |_, _, _| Ok(())).is_err());
    }
}
