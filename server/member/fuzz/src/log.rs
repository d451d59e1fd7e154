//! Whatever stands in the log's files: refused or read, and what opening makes of it is read the same again.

#![no_main]

use std::sync::Arc;

use conure_io::{Disk, OpenMode, SimDisk};
use conure_wal::{Inspection, Options, Wal};
use libfuzzer_sys::fuzz_target;

const NAME: &str = "00000001.log";
const HEADER: usize = 4096;

/// Puts the checksums right that stand where a valid file has them, so that what is behind them is looked at too.
fn repair(bytes: &mut [u8]) {
    let put = |bytes: &mut [u8], at: usize, crc: u32| bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    if bytes.len() < HEADER + 64 {
        return;
    }
    bytes[..8].copy_from_slice(b"CONUREWL");
    let crc = crc32c::crc32c(&bytes[12..HEADER]);
    put(bytes, 8, crc);
    let mut at = HEADER;
    while at + 64 <= bytes.len() {
        let body = u32::from_le_bytes(bytes[at + 40..at + 44].try_into().unwrap()) as usize;
        let end = at + (64 + body).next_multiple_of(512);
        let Some(records) = bytes.get(at + 64..end) else { return };
        let crc = crc32c::crc32c(records);
        put(bytes, at + 44, crc);
        let crc = crc32c::crc32c(&bytes[at + 8..at + 64]);
        put(bytes, at + 4, crc);
        at = end;
    }
}

/// A log with a few entries, as its writer leaves it.
fn valid() -> Vec<u8> {
    let disk = Arc::new(SimDisk::new());
    let (log, _) = Wal::open(Arc::clone(&disk) as Arc<_>, Options::default(), None).unwrap();
    for index in 0..6 {
        let payload = vec![7; index * 90].into();
        log.append(vec![conure_wal::Entry { index: index as u64, payload }], |_| {});
        log.save_vote(vec![1, 2, 3].into(), |_| {});
    }
    drop(log);
    let file = disk.open(NAME, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fuzz_target!(|input: &[u8]| {
    let Some((&mode, input)) = input.split_first() else { return };
    let mut bytes = if mode & 1 == 0 { input.to_vec() } else { valid() };
    if mode & 1 == 1 {
        // Edits: where, and what.
        for edit in input.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
            bytes[at] = edit[2];
        }
    }
    if mode & 2 == 2 {
        repair(&mut bytes);
    }
    let disk = Arc::new(SimDisk::new());
    disk.open(NAME, OpenMode::CreateNew).unwrap().write_all_at(&bytes, 0).unwrap();
    let Ok(seen) = Inspection::read(disk.as_ref()) else {
        assert!(Wal::open(disk as Arc<_>, Options::default(), None).is_err(), "opened what cannot be read");
        return;
    };
    let entries = seen.entries(0..u64::MAX, usize::MAX);
    let (vote, indexes) = (seen.vote(), seen.indexes());
    drop(seen);
    let Ok((log, _)) = Wal::open(disk as Arc<_>, Options::default(), None) else { return };
    assert_eq!((log.vote(), log.first_index().zip(log.last_index())), (vote, indexes));
    if let (Ok(entries), Ok(again)) = (entries, log.read(0..u64::MAX, usize::MAX)) {
        assert_eq!(entries, again);
    }
});
