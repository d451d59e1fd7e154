//! The batch being made: records, and what to do once they are durable.

use crate::format::{BATCH_HEADER_BYTES, Record, put_record};
use crate::logical::Logical;
use crate::shared::{Done, Op};

/// A buffer larger than this is given back after its batch.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// Where in the batch an entry's record is.
pub(crate) struct Placed {
    pub(crate) index: u64,
    pub(crate) serial: u64,
    pub(crate) within: usize,
    pub(crate) payload_bytes: usize,
}

/// The batch being made.
pub(crate) struct Batch {
    /// Room for the header, then the records.
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: u32,
    pub(crate) placed: Vec<Placed>,
    /// The callbacks of what this batch completes.
    pub(crate) done: Vec<Done>,
    /// What the log says with this batch.
    pub(crate) after: Logical,
}

impl Op {
    pub(crate) fn payload_bytes(&self) -> usize {
        match self {
            Self::Entry { payload, .. } | Self::Vote(payload) | Self::Purge(_, payload) => payload.len(),
            Self::Truncate(_) => 0,
        }
    }
}

impl Batch {
    /// An empty batch that follows `before`, in the memory of `bytes`.
    pub(crate) fn new(mut bytes: Vec<u8>, before: &Logical) -> Self {
        bytes.clear();
        if bytes.capacity() > BUFFER_BYTES_KEPT {
            bytes = Vec::new();
        }
        bytes.resize(BATCH_HEADER_BYTES, 0);
        Self { bytes, records: 0, placed: Vec::new(), done: Vec::new(), after: before.clone() }
    }

    /// Adds the record.
    pub(crate) fn put(&mut self, op: &Op) {
        let within = self.bytes.len();
        let record = match op {
            Op::Entry { index, payload, serial } => {
                self.after.append(*index);
                let payload_bytes = payload.len();
                self.placed.push(Placed { index: *index, serial: *serial, within, payload_bytes });
                Record::Entry { index: *index, payload }
            }
            Op::Vote(vote) => {
                self.after.vote = Some(vote.clone());
                Record::Vote { vote }
            }
            Op::Truncate(from) => {
                self.after.truncate(*from);
                Record::Truncate { from: *from }
            }
            Op::Purge(upto, marker) => {
                self.after.purge(*upto, marker.clone());
                Record::Purge { upto: *upto, marker }
            }
        };
        put_record(&mut self.bytes, record);
        self.records += 1;
    }
}
