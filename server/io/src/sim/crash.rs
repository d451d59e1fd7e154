//! What a power failure leaves: the replay of a journal's prefix with seeded choices.

use std::collections::BTreeMap;

use super::journal::{Journal, NameOp, Op};
use super::random::Random;

/// What a disk never tears: the size of a sector in bytes.
pub(super) const SECTOR: u64 = 512;

/// How one image treats what was not synced. Extremes are as likely as mixtures: many faults show only when
/// everything but one write is there, or nothing but one.
struct Mood {
    lose_percent: u64,
    tear_percent: u64,
    ordered_names: bool,
}

impl Mood {
    fn new(random: &mut Random) -> Self {
        let pick = |random: &mut Random, choices: &[u64]| {
            let index = usize::try_from(random.below(choices.len() as u64)).unwrap_or(0);
            choices[index]
        };
        Self {
            lose_percent: pick(random, &[0, 5, 20, 50, 80, 95, 100]),
            tear_percent: pick(random, &[0, 0, 10, 50]),
            ordered_names: random.chance(50),
        }
    }
}

/// One file while the journal is replayed: what is surely on disk, and what came since the last sync.
struct Replayed<'a> {
    bytes: Vec<u8>,
    pending: Vec<&'a Op>,
}

/// The files, and names by index into them, of an image after the first `prefix_len` operations.
pub(super) fn replay(
    journal: &Journal,
    prefix_len: usize,
    seed: u64,
) -> (Vec<Vec<u8>>, BTreeMap<String, usize>) {
    let mut random = Random::new(seed);
    let mood = Mood::new(&mut random);
    let mut files: Vec<Replayed<'_>> = journal
        .base_files
        .iter()
        .map(|bytes| Replayed { bytes: bytes.clone(), pending: Vec::new() })
        .collect();
    let mut names = journal.base_names.clone();
    let mut pending_names: Vec<&NameOp> = Vec::new();

    for op in journal.ops.iter().take(prefix_len) {
        match op {
            Op::Write { inode, .. } | Op::SetLen { inode, .. } => files[*inode].pending.push(op),
            Op::Sync { inode } => files[*inode].keep_all(),
            // Linux drops the pages of a failed sync: they are whatever they are, whatever syncs later.
            Op::FailedSync { inode } => files[*inode].keep_some(&mood, &mut random),
            Op::Name(op) => {
                if let NameOp::Create { inode, .. } = op
                    && *inode == files.len()
                {
                    files.push(Replayed { bytes: Vec::new(), pending: Vec::new() });
                }
                pending_names.push(op);
            }
            Op::SyncDir => {
                for op in pending_names.drain(..) {
                    op.apply(&mut names);
                }
            }
        }
    }

    for file in &mut files {
        file.keep_some(&mood, &mut random);
    }
    if mood.ordered_names {
        let kept = random.below(pending_names.len() as u64 + 1);
        pending_names.truncate(usize::try_from(kept).unwrap_or(0));
    } else {
        pending_names.retain(|_| !random.chance(mood.lose_percent));
    }
    for op in pending_names {
        op.apply(&mut names);
    }
    (files.into_iter().map(|file| file.bytes).collect(), names)
}

/// The bytes that were written to files after their last syncs, at the end of the first `prefix_len` operations.
pub(super) fn unsynced_bytes(journal: &Journal, prefix_len: usize) -> u64 {
    let mut pending: BTreeMap<usize, u64> = BTreeMap::new();
    for op in journal.ops.iter().take(prefix_len) {
        match op {
            Op::Write { inode, bytes, .. } => *pending.entry(*inode).or_default() += bytes.len() as u64,
            Op::Sync { inode } => _ = pending.remove(inode),
            Op::SetLen { .. } | Op::FailedSync { .. } | Op::Name(_) | Op::SyncDir => {}
        }
    }
    pending.values().sum()
}

/// The files and names as programs see them after the first `prefix_len` operations, synced or not.
pub(super) fn seen(journal: &Journal, prefix_len: usize) -> (Vec<Vec<u8>>, BTreeMap<String, usize>) {
    let mut files = journal.base_files.clone();
    let mut names = journal.base_names.clone();
    for op in journal.ops.iter().take(prefix_len) {
        match op {
            Op::Write { inode, offset, bytes } => put(&mut files[*inode], *offset, bytes),
            Op::SetLen { inode, len } => files[*inode].resize(to_index(*len), 0),
            Op::Name(op) => {
                if let NameOp::Create { inode, .. } = op
                    && *inode == files.len()
                {
                    files.push(Vec::new());
                }
                op.apply(&mut names);
            }
            Op::Sync { .. } | Op::FailedSync { .. } | Op::SyncDir => {}
        }
    }
    (files, names)
}

fn to_index(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated file fits into memory")
}

/// Puts `bytes` at `offset`, growing with zeros where needed.
fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = to_index(offset);
    let end = start + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[start..end].copy_from_slice(bytes);
}

impl Replayed<'_> {
    fn keep_all(&mut self) {
        for op in self.pending.drain(..) {
            match op {
                Op::Write { offset, bytes, .. } => put(&mut self.bytes, *offset, bytes),
                Op::SetLen { len, .. } => self.bytes.resize(to_index(*len), 0),
                _ => {}
            }
        }
    }

    /// Data and length fare separately: a block may be on disk where the length that covers it is not, and the
    /// other way round (then it reads as zeros). Lengths themselves are kept up to some moment.
    fn keep_some(&mut self, mood: &Mood, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        let mut len = self.bytes.len() as u64;
        let lengths_kept =
            if random.chance(50) { pending.len() as u64 } else { random.below(pending.len() as u64 + 1) };
        for (at, op) in pending.iter().enumerate() {
            let length_kept = (at as u64) < lengths_kept;
            match op {
                Op::Write { offset, bytes, .. } => {
                    if length_kept {
                        len = len.max(offset + bytes.len() as u64);
                    }
                    let torn = random.chance(mood.tear_percent);
                    if torn {
                        self.keep_sectors(*offset, bytes, random);
                    } else if !random.chance(mood.lose_percent) {
                        put(&mut self.bytes, *offset, bytes);
                    }
                }
                Op::SetLen { len: new_len, .. } if length_kept => {
                    len = *new_len;
                    // What a kept cut took away reads as zeros when the file grows again.
                    if self.bytes.len() as u64 > len {
                        self.bytes.truncate(to_index(len));
                    }
                }
                _ => {}
            }
        }
        self.bytes.resize(to_index(len), 0);
    }

    /// Keeps a part of a write: a head, a tail, or any sectors, each sector whole.
    fn keep_sectors(&mut self, offset: u64, bytes: &[u8], random: &mut Random) {
        let end = offset + bytes.len() as u64;
        let first = offset / SECTOR;
        let sectors = end.div_ceil(SECTOR) - first;
        let style = random.below(3);
        let cut = random.below(sectors + 1);
        for sector in 0..sectors {
            let kept = match style {
                0 => sector < cut,
                1 => sector >= cut,
                _ => random.chance(50),
            };
            if kept {
                let from = ((first + sector) * SECTOR).max(offset);
                let to = ((first + sector + 1) * SECTOR).min(end);
                put(&mut self.bytes, from, &bytes[to_index(from - offset)..to_index(to - offset)]);
            }
        }
    }
}
