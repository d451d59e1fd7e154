//! What somebody else knows to have been durable here: the least that the log must hold when it opens.

use bytes::Bytes;

/// A point in one log's life: its identity and the number of a batch that was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The log's random identity.
    pub log_id: u64,
    /// The last batch known durable; batches count up and are never renumbered.
    pub batch: u64,
}

/// What a durable checkpoint of the database recorded of this log. Made by [`Wal::floor`](crate::Wal::floor),
/// stored with the checkpoint, and given to [`Wal::open`](crate::Wal::open).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floor {
    /// The last synced batch: decides what a damaged last batch is, and finds a lost or exchanged log.
    pub mark: Option<Mark>,
    /// The durable vote: the log must have one too.
    pub vote: Option<Bytes>,
    /// The log must reach this index, or be purged to it. It must be one that no truncation will ever drop.
    pub committed_index: Option<u64>,
}

const VERSION: u8 = 1;

impl Floor {
    /// The floor as bytes, to be stored with a checkpoint.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let flags = u8::from(self.mark.is_some())
            | u8::from(self.vote.is_some()) << 1
            | u8::from(self.committed_index.is_some()) << 2;
        out.push(flags);
        if let Some(mark) = self.mark {
            out.extend_from_slice(&mark.log_id.to_le_bytes());
            out.extend_from_slice(&mark.batch.to_le_bytes());
        }
        if let Some(index) = self.committed_index {
            out.extend_from_slice(&index.to_le_bytes());
        }
        if let Some(vote) = &self.vote {
            out.extend_from_slice(vote);
        }
        out
    }

    /// The floor that [`Floor::encode`] wrote; `None` where the bytes are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[version, flags], mut rest) = bytes.split_first_chunk()?;
        if version != VERSION || flags > 7 {
            return None;
        }
        let mut number = || {
            let (head, tail) = rest.split_first_chunk()?;
            rest = tail;
            Some(u64::from_le_bytes(*head))
        };
        let mark = if flags & 1 == 0 { None } else { Some(Mark { log_id: number()?, batch: number()? }) };
        let committed_index = if flags & 4 == 0 { None } else { Some(number()?) };
        let vote = if flags & 2 == 0 { None } else { Some(Bytes::copy_from_slice(rest)) };
        if vote.is_none() && !rest.is_empty() {
            return None;
        }
        Some(Self { mark, vote, committed_index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_survives_encoding() {
        for flags in 0..8_u8 {
            let floor = Floor {
                mark: (flags & 1 != 0).then_some(Mark { log_id: 7, batch: u64::MAX }),
                vote: (flags & 2 != 0).then(|| Bytes::from_static(b"vote")),
                committed_index: (flags & 4 != 0).then_some(0),
            };
            assert_eq!(Floor::decode(&floor.encode()), Some(floor));
        }
    }

    #[test]
    fn foreign_bytes_are_no_floor() {
        for bytes in [&b""[..], b"\x01", b"\x02\x00", b"\x01\x08", b"\x01\x01\x00", b"\x01\x00more"] {
            assert_eq!(Floor::decode(bytes), None, "{bytes:?}");
        }
    }
}
