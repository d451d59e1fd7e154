//! Looking at a log without opening it: what is seen, and that nothing changes.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use conure_io::{Disk, OpenMode, SimDisk};
use conure_wal::{Entry, Error, Floor, Inspection, Mark, Options, Wal};

fn contents(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let read = |name: &String| {
        let file = disk.open(name, OpenMode::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    disk.list().unwrap().into_iter().map(|name| (name.clone(), read(&name))).collect()
}

fn small() -> Options {
    Options { segment_bytes: 8 << 10, ..Options::default() }
}

fn payload(index: u64) -> Bytes {
    Bytes::from(index.to_le_bytes().repeat(60))
}

/// A log of entries 1 to 40 over several segments, purged to 10.
fn log_on(disk: &Arc<SimDisk>) -> Floor {
    let (wal, _) = Wal::open(Arc::clone(disk) as Arc<_>, small(), None).unwrap();
    wal.save_vote(Bytes::from_static(b"vote"), |result| result.unwrap());
    for index in 1..=40 {
        wal.append(vec![Entry { index, payload: payload(index) }], |result| result.unwrap());
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    wal.purge(10, Bytes::from_static(b"ten"), move |result| sender.send(result).unwrap());
    receiver.recv().unwrap().unwrap();
    wal.floor(Some(40))
}

#[test]
fn an_inspected_log_is_what_was_written_and_stays_as_it_is() {
    let disk = Arc::new(SimDisk::new());
    let floor = log_on(&disk);
    let before = contents(&disk);
    let log = Inspection::read(disk.as_ref()).unwrap();
    assert_eq!(log.indexes(), Some((11, 40)));
    assert_eq!(
        log.purged().map(|purged| (purged.index, purged.marker)),
        Some((10, Bytes::from_static(b"ten")))
    );
    assert_eq!(log.vote().as_deref(), Some(&b"vote"[..]));
    assert!(
        log.segments().len() > 1
            && log.segments().iter().all(|one| before[&one.name].len() as u64 == one.bytes)
    );
    log.check_floor(&floor).unwrap();
    let mut next = 11;
    while next <= 40 {
        let some = log.entries(next..u64::MAX, 2_000).unwrap();
        assert!(!some.is_empty() && some.len() <= 4);
        for entry in some {
            assert_eq!((entry.index, entry.payload), (next, payload(next)));
            next += 1;
        }
    }
    assert_eq!(contents(&disk), before);
}

#[test]
fn damage_is_named_and_left_alone() {
    let disk = Arc::new(SimDisk::new());
    log_on(&disk);
    let name = Inspection::read(disk.as_ref()).unwrap().segments()[0].name.clone();
    let file = disk.open(&name, OpenMode::Existing).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 5_000).unwrap();
    file.write_all_at(&[byte[0] ^ 4], 5_000).unwrap();
    let before = contents(&disk);
    let error = Inspection::read(disk.as_ref()).unwrap_err();
    assert!(matches!(&error, Error::Damaged { file, .. } if *file == name), "{error}");
    assert_eq!(contents(&disk), before);
}

#[test]
fn a_log_that_is_gone_or_ends_early_is_behind_its_checkpoint() {
    let disk = Arc::new(SimDisk::new());
    let floor = log_on(&disk);
    let none = Inspection::read(&SimDisk::new()).unwrap();
    assert_eq!((none.log_id(), none.indexes(), none.segments().len()), (None, None, 0));
    assert!(matches!(none.check_floor(&floor), Err(Error::BehindCheckpoint { .. })));
    let mark = floor.mark.map(|mark| Mark { batch: mark.batch + 100, ..mark });
    let log = Inspection::read(disk.as_ref()).unwrap();
    assert!(matches!(log.check_floor(&Floor { mark, ..floor }), Err(Error::BehindCheckpoint { .. })));
}
