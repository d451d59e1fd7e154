//! The format of backups, on both sides.
//!
//! `CONUREBK · version (u16)`, then frames: `kind (u8) · length (u32) · crc32c of kind, length and payload (u32) ·
//! payload`, little endian. First a header, then the record stream of a snapshot in pieces of at most 1 MiB, last
//! an end with the record stream's length (u64) and crc32c (u32). Without its end a backup is not whole.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::offline::{BackupError, OfflineError};
use crate::raft::records::{CHUNK_MAX, Joiner, TreeId};
use crate::raft::state::{APPLIED_KEY, Applied};

const MAGIC: &[u8; 8] = b"CONUREBK";
const VERSION: u16 = 1;
const BEGINNING: usize = MAGIC.len() + 2;
const FRAME_HEADER: usize = 9;
/// What a frame holds.
const HEADER: u8 = 1;
const DATA: u8 = 2;
const END: u8 = 3;
/// A header holds a cluster's id and three numbers.
const HEADER_LEN_MAX: usize = 4 << 10;
const END_LEN: usize = 12;
/// A stored value begins with its revision.
const REVISION_LEN: usize = 8;

/// What a backup says of itself in its header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) cluster_id: String,
    pub(crate) incarnation: u64,
    pub(crate) revision: u64,
    pub(crate) log_index: u64,
}

/// A user's key and value in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) revision: u64,
    pub(crate) value: &'a [u8],
}

fn frame(kind: u8, payload: &[u8]) -> io::Result<Bytes> {
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?.to_le_bytes();
    let crc = frame_crc(kind, len, payload);
    let mut bytes = BytesMut::with_capacity(payload.len() + FRAME_HEADER);
    bytes.extend_from_slice(&[kind]);
    bytes.extend_from_slice(&len);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes.freeze())
}

fn frame_crc(kind: u8, len: [u8; 4], payload: &[u8]) -> u32 {
    [&[kind][..], &len, payload].iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part))
}

/// The payload of the end, after a record stream of that length and checksum.
fn end_of(len: u64, crc: u32) -> [u8; END_LEN] {
    let mut end = [0; END_LEN];
    end[..8].copy_from_slice(&len.to_le_bytes());
    end[8..].copy_from_slice(&crc.to_le_bytes());
    end
}

/// Writes a backup, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    len: u64,
    crc: u32,
}

impl Encoder {
    /// What every backup begins with.
    pub(crate) fn begin(&self, header: &Header) -> io::Result<Bytes> {
        let mut beginning = BytesMut::from(&MAGIC[..]);
        beginning.extend_from_slice(&VERSION.to_le_bytes());
        let header = postcard::to_stdvec(header).map_err(io::Error::other)?;
        beginning.extend_from_slice(&frame(HEADER, &header)?);
        Ok(beginning.freeze())
    }

    /// The next piece of the record stream.
    pub(crate) fn data(&mut self, chunk: &[u8]) -> io::Result<Bytes> {
        self.len += chunk.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, chunk);
        frame(DATA, chunk)
    }

    /// What every whole backup ends with.
    pub(crate) fn end(&self) -> io::Result<Bytes> {
        frame(END, &end_of(self.len, self.crc))
    }
}

/// Takes a backup apart and verifies all of it: frames, the record stream's length and checksum, the order of keys.
/// Holds a frame and a record at most.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    pending: BytesMut,
    /// Bytes of the backup that were understood.
    at: u64,
    begun: bool,
    header: Option<Header>,
    ended: bool,
    len: u64,
    crc: u32,
    joiner: Joiner,
    described: bool,
    last_key: Vec<u8>,
    keys: u64,
}

impl Decoder {
    /// Takes the next bytes, however they are cut, and hands every record that is whole to `sink`.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut sink: impl FnMut(Record<'_>) -> Result<(), OfflineError>,
    ) -> Result<(), OfflineError> {
        self.pending.extend_from_slice(bytes);
        if !self.begun {
            if self.pending.iter().zip(MAGIC).any(|(found, wanted)| found != wanted) {
                return Err(BackupError::NotABackup.into());
            }
            let Some(beginning) = self.pending.first_chunk::<BEGINNING>() else { return Ok(()) };
            let (_, version) = beginning.split_at(MAGIC.len());
            let found = u16::from_le_bytes([version[0], version[1]]);
            if found != VERSION {
                return Err(BackupError::Version { found, known: VERSION }.into());
            }
            self.begun = true;
            self.consume(BEGINNING);
        }
        while let Some((kind, payload)) = self.next_frame()? {
            self.frame(kind, &payload, &mut sink)?;
            self.at += (FRAME_HEADER + payload.len()) as u64;
        }
        Ok(())
    }

    /// All bytes were pushed: the header and how many keys there were, if the backup is whole.
    pub(crate) fn finish(self) -> Result<(Header, u64), OfflineError> {
        match self.header {
            Some(header) if self.ended => Ok((header, self.keys)),
            _ => Err(BackupError::CutOff { at: self.at + self.pending.len() as u64 }.into()),
        }
    }

    fn consume(&mut self, len: usize) {
        self.pending.advance(len);
        self.at += len as u64;
    }

    fn damaged(&self, reason: impl Into<String>) -> OfflineError {
        BackupError::Damaged { at: self.at, reason: reason.into() }.into()
    }

    fn next_frame(&mut self) -> Result<Option<(u8, Bytes)>, OfflineError> {
        if self.ended && !self.pending.is_empty() {
            return Err(self.damaged("something follows its end"));
        }
        let Some(&[kind, l0, l1, l2, l3, c0, c1, c2, c3]) = self.pending.first_chunk::<FRAME_HEADER>() else {
            return Ok(None);
        };
        let len_bytes = [l0, l1, l2, l3];
        let len = usize::try_from(u32::from_le_bytes(len_bytes)).unwrap_or(usize::MAX);
        let fits = match kind {
            HEADER => len <= HEADER_LEN_MAX,
            DATA => len <= CHUNK_MAX,
            END => len == END_LEN,
            _ => false,
        };
        if !fits {
            return Err(self.damaged(format!("there is no frame of kind {kind} with {len} bytes")));
        }
        if self.pending.len() < FRAME_HEADER + len {
            return Ok(None);
        }
        let payload = self.pending.split_to(FRAME_HEADER + len).freeze().slice(FRAME_HEADER..);
        if frame_crc(kind, len_bytes, &payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(self.damaged("a frame has a wrong checksum"));
        }
        Ok(Some((kind, payload)))
    }

    fn frame(
        &mut self,
        kind: u8,
        payload: &[u8],
        sink: &mut impl FnMut(Record<'_>) -> Result<(), OfflineError>,
    ) -> Result<(), OfflineError> {
        match (kind, self.header.is_some()) {
            (HEADER, false) => {
                let header = postcard::from_bytes(payload);
                self.header = Some(header.map_err(|e| self.damaged(format!("its header is none: {e}")))?);
                Ok(())
            }
            (DATA, true) => {
                self.len += payload.len() as u64;
                self.crc = crc32c::crc32c_append(self.crc, payload);
                self.records(payload, sink)
            }
            (END, true) => {
                if payload != end_of(self.len, self.crc) || !self.joiner.is_whole() || !self.described {
                    return Err(self.damaged("its end does not fit what came before it"));
                }
                self.ended = true;
                Ok(())
            }
            _ => Err(self.damaged("its frames are out of order")),
        }
    }

    fn records(
        &mut self,
        chunk: &[u8],
        sink: &mut impl FnMut(Record<'_>) -> Result<(), OfflineError>,
    ) -> Result<(), OfflineError> {
        let mut joiner = std::mem::take(&mut self.joiner);
        let mut refused = None;
        let joined = joiner.push(chunk, |tree, key, value| {
            self.record(tree, key, value, sink).map_err(|error| {
                refused = Some(error);
                io::Error::other("refused")
            })
        });
        self.joiner = joiner;
        match (refused, joined) {
            (Some(error), _) => Err(error),
            (None, joined) => joined.map_err(|error| self.damaged(error.to_string())),
        }
    }

    fn record(
        &mut self,
        tree: TreeId,
        key: &[u8],
        value: &[u8],
        sink: &mut impl FnMut(Record<'_>) -> Result<(), OfflineError>,
    ) -> Result<(), OfflineError> {
        let header = self.header.as_ref();
        let revision_max = header.map_or(0, |header| header.revision);
        if tree == TreeId::Meta {
            let applied = (key == APPLIED_KEY && !self.described).then(|| Applied::decode(value));
            let fits = |applied: &Applied| {
                header.is_some_and(|header| {
                    applied.revision == header.revision && applied.cluster_id == header.cluster_id
                })
            };
            self.described = applied.is_some_and(|applied| applied.is_ok_and(|applied| fits(&applied)));
            return if self.described { Ok(()) } else { Err(self.damaged("it does not fit its header")) };
        }
        if !self.described || (self.keys > 0 && key <= self.last_key.as_slice()) {
            return Err(self.damaged("its records are out of order"));
        }
        let Some((revision, value)) = value.split_first_chunk::<REVISION_LEN>() else {
            return Err(self.damaged("a value has no revision"));
        };
        let revision = u64::from_le_bytes(*revision);
        if revision == 0 || revision > revision_max {
            return Err(self.damaged(format!("a value has revision {revision}, the whole {revision_max}")));
        }
        self.keys += 1;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        sink(Record { key, revision, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { cluster_id: "c".into(), incarnation: 3, revision: 9, log_index: 20 }
    }

    fn record(tree: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
        let lens = [u32::try_from(key.len()).unwrap(), u32::try_from(value.len()).unwrap()];
        let mut bytes = vec![tree];
        bytes.extend(lens.iter().flat_map(|len| len.to_le_bytes()));
        [bytes, key.to_vec(), value.to_vec()].concat()
    }

    fn stored(revision: u64, value: &[u8]) -> Vec<u8> {
        [&revision.to_le_bytes()[..], value].concat()
    }

    fn backup(records: &[Vec<u8>]) -> Vec<u8> {
        let applied = Applied { cluster_id: "c".into(), revision: 9, ..Applied::default() };
        let mut encoder = Encoder::default();
        let mut bytes = encoder.begin(&header()).unwrap().to_vec();
        let stream = [record(2, APPLIED_KEY, &applied.encode().unwrap()), records.concat()].concat();
        for chunk in stream.chunks(7) {
            bytes.extend_from_slice(&encoder.data(chunk).unwrap());
        }
        bytes.extend_from_slice(&encoder.end().unwrap());
        bytes
    }

    type Seen = Vec<(Vec<u8>, u64, Vec<u8>)>;

    fn read(bytes: &[u8], piece: usize) -> Result<(Header, Seen), String> {
        let (mut decoder, mut seen) = (Decoder::default(), Seen::new());
        for bytes in bytes.chunks(piece) {
            let sink = |record: Record<'_>| {
                seen.push((record.key.to_vec(), record.revision, record.value.to_vec()));
                Ok(())
            };
            decoder.push(bytes, sink).map_err(|error| error.to_string())?;
        }
        let (header, keys) = decoder.finish().map_err(|error| error.to_string())?;
        assert_eq!(keys, seen.len() as u64);
        Ok((header, seen))
    }

    #[test]
    fn a_backup_reads_back_however_it_is_cut() {
        let bytes = backup(&[record(1, b"a", &stored(1, b"x")), record(1, b"b", &stored(9, b""))]);
        let wanted = vec![(b"a".to_vec(), 1, b"x".to_vec()), (b"b".to_vec(), 9, vec![])];
        for piece in [1, 2, 9, 64, bytes.len()] {
            assert_eq!(read(&bytes, piece), Ok((header(), wanted.clone())), "{piece}");
        }
        assert_eq!(read(&backup(&[]), 5), Ok((header(), vec![])));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = backup(&[record(1, b"a", &stored(1, b"x"))]);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut broken = bytes.clone();
                broken[at] ^= 1 << bit;
                assert!(read(&broken, 50).is_err(), "bit {bit} of byte {at}");
            }
            assert!(read(&bytes[..at], 50).unwrap_err().contains("cut off"), "cut at {at}");
        }
        assert!(read(&[bytes, vec![0]].concat(), 50).is_err());
    }

    #[test]
    fn records_that_no_member_writes_are_refused() {
        let good = record(1, b"b", &stored(1, b"x"));
        for bad in [
            record(1, b"b", &stored(2, b"again")),
            record(1, b"a", &stored(2, b"behind")),
            record(1, b"c", &stored(10, b"from the future")),
            record(1, b"c", &stored(0, b"from nowhere")),
            record(1, b"c", b"short"),
            record(2, APPLIED_KEY, b""),
            record(2, b"floor", b""),
        ] {
            assert!(read(&backup(&[good.clone(), bad.clone()]), 99).is_err(), "{bad:?}");
        }
    }
}
