//! The log against a plain model, and against bytes that nobody wrote.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use bytes::Bytes;
use common::model::{Model, Step, submit};
use common::*;
use conure_io::SimDisk;
use conure_wal::Entry;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Action {
    Append {
        count: u64,
        len: usize,
    },
    Vote(Vec<u8>),
    /// So many entries from the end.
    Truncate(u64),
    /// So many entries from the front; may go past the end.
    Purge(u64),
    Reopen,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0_u64..6, 0_usize..2_000).prop_map(|(count, len)| Action::Append { count, len }),
        2 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Action::Vote),
        1 => (0_u64..8).prop_map(Action::Truncate),
        1 => (0_u64..20).prop_map(Action::Purge),
        1 => Just(Action::Reopen),
    ]
}

fn steps(action: &Action, model: &Model) -> Vec<Step> {
    let next = model.next_index();
    match action {
        Action::Append { count, len } => {
            (next..next + count).map(|index| Step::Append(entry(index, *len))).collect()
        }
        Action::Vote(vote) => vec![Step::Vote(Bytes::from(vote.clone()))],
        Action::Truncate(back) => vec![Step::Truncate(next.saturating_sub(*back))],
        Action::Purge(count) => {
            let first = model.entries.first_key_value().map_or(next, |(index, _)| *index);
            vec![Step::Purge(first + count, marker(first + count))]
        }
        Action::Reopen => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_what_the_model_says(actions in prop::collection::vec(action(), 1..60)) {
        let disk = SimDisk::new();
        let mut model = Model::default();
        let mut wal = open(&disk).unwrap().0;
        for action in &actions {
            if matches!(action, Action::Reopen) {
                drop(wal);
                wal = open(&disk).unwrap().0;
            } else {
                let steps = steps(action, &model);
                steps.iter().for_each(|step| model.apply(step));
                submit(&wal, &steps, |ok| assert!(ok));
            }
            prop_assert_eq!(&Model::of(&wal), &model);
        }
        drop(wal);
        let (wal, recovered) = open(&disk).unwrap();
        prop_assert_eq!(&Model::of(&wal), &model);
        prop_assert_eq!(recovered.vote, model.vote);
        prop_assert_eq!(recovered.torn_tail_bytes_cut, 0);
    }

    #[test]
    fn arbitrary_bytes_as_segments_never_panic(
        files in prop::collection::vec((1_u32..4, prop::collection::vec(any::<u8>(), 0..9_000)), 1..4),
    ) {
        let disk = SimDisk::new();
        for (number, bytes) in &files {
            put_file(&disk, &format!("{number:08}.log"), bytes);
        }
        open_and_use(&disk);
    }

    /// Mutations under right checksums reach the code behind them.
    #[test]
    fn mutated_segments_never_panic(
        segment in 0_usize..3,
        cut in prop::option::of(0_usize..16_384),
        changes in prop::collection::vec((0_usize..16_384, any::<u8>()), 0..6),
        head_changes in prop::collection::vec((12_usize..100, any::<u8>()), 0..4),
        batch_changes in prop::collection::vec((0_usize..24, 8_usize..64, any::<u8>()), 0..4),
    ) {
        let disk = SimDisk::new();
        let (wal, _) = open(&disk).unwrap();
        for first in 0..15 {
            append(&wal, entries(first * 3..first * 3 + 3, 500)).unwrap();
        }
        purge(&wal, 4).unwrap();
        drop(wal);
        let name = segments(&disk).swap_remove(segment);
        let mut bytes = file_bytes(&disk, &name);
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        for (at, value) in &head_changes {
            bytes[*at] = *value;
        }
        if !head_changes.is_empty() {
            let crc = crc32c::crc32c(&bytes[12..4096]);
            bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        }
        for (sector, at, value) in batch_changes {
            let start = 4096 + sector * 512;
            if bytes.len() >= start + 64 {
                bytes[start..start + 4].copy_from_slice(b"CWB1");
                bytes[start + at] = value;
                let crc = crc32c::crc32c(&bytes[start + 8..start + 64]);
                bytes[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut);
        }
        put_file(&disk, &name, &bytes);
        open_and_use(&disk);
    }
}

/// Either it is refused with a sentence, or it works.
fn open_and_use(disk: &SimDisk) {
    match open(disk) {
        Err(error) => assert!(error.to_string().len() > 20, "{error}"),
        Ok((wal, recovered)) => {
            let held = wal.read(0..u64::MAX, 1 << 20).unwrap();
            assert_eq!(held.first().map(|entry| entry.index), recovered.first_index);
            let purged = recovered.purged.map(|purged| purged.index);
            if let Some(next) = recovered.last_index.or(purged).map_or(Some(0), |last| last.checked_add(1)) {
                append(&wal, vec![Entry { index: next, payload: Bytes::from_static(b"more") }]).unwrap();
            }
        }
    }
}
