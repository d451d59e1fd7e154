//! What the log keeps, what it gives back, what it refuses.

mod common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::*;
use conure_io::{Disk, RealDisk, SimDisk};
use conure_wal::{Entry, Error, OPAQUE_BYTES_MAX, Options, Wal};

#[test]
fn a_new_log_is_empty_and_says_that_it_is_new() {
    let disk = SimDisk::new();
    let (wal, recovered) = open(&disk).unwrap();
    assert!(recovered.created);
    assert_eq!((wal.first_index(), wal.last_index(), wal.purged(), wal.vote()), (None, None, None, None));
    assert_eq!(all(&wal), []);
    drop(wal);
    assert!(!open(&disk).unwrap().1.created);
}

#[test]
fn everything_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::new(directory.path()).unwrap());
    let again = || Wal::open(Arc::clone(&disk) as Arc<dyn Disk>, small(), None).unwrap();
    let (wal, _) = again();
    append(&wal, entries(5..100, 700)).unwrap();
    save_vote(&wal, b"vote 1").unwrap();
    truncate(&wal, 90).unwrap();
    append(&wal, entries(90..95, 9)).unwrap();
    purge(&wal, 40).unwrap();
    save_vote(&wal, b"vote 2").unwrap();
    let mut expected = entries(41..90, 700);
    expected.extend(entries(90..95, 9));
    assert_eq!(all(&wal), expected);
    drop(wal);

    let (wal, recovered) = again();
    assert_eq!(recovered.vote.as_deref(), Some(&b"vote 2"[..]));
    assert_eq!((recovered.first_index, recovered.last_index), (Some(41), Some(94)));
    assert_eq!(recovered.purged.map(|purged| (purged.index, purged.marker)), Some((40, marker(40))));
    assert_eq!(recovered.torn_tail_bytes_cut, 0);
    assert_eq!(all(&wal), expected);
    append(&wal, entries(95..97, 9)).unwrap();
    expected.extend(entries(95..97, 9));
    assert_eq!(all(&wal), expected);
}

#[test]
fn room_taken_ahead_is_no_torn_tail_and_goes_when_the_log_is_closed() {
    let (running, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = |directory: &tempfile::TempDir| directory.path().join("00000001.log");
    let open = |directory: &tempfile::TempDir| {
        let disk = Arc::new(RealDisk::new(directory.path()).unwrap()) as Arc<dyn Disk>;
        Wal::open(disk, Options { allocate_bytes: 1 << 20, ..Options::default() }, None).unwrap()
    };
    let (wal, _) = open(&running);
    append(&wal, entries(0..10, 100)).unwrap();
    let used = wal.stats().disk_bytes;
    assert!(std::fs::metadata(file(&running)).unwrap().len() >= used + (1 << 20));
    // What a kill leaves.
    std::fs::copy(file(&running), file(&copied)).unwrap();
    drop(wal);
    assert!(std::fs::metadata(file(&running)).unwrap().len() <= used + 512);

    let (wal, recovered) = open(&copied);
    assert_eq!((recovered.last_index, recovered.torn_tail_bytes_cut), (Some(9), 0));
    append(&wal, entries(10..12, 100)).unwrap();
    assert_eq!(all(&wal), entries(0..12, 100));
}

#[test]
fn appended_entries_are_readable_before_they_are_durable() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    let (reached, wait_reached) = std::sync::mpsc::channel();
    let (go_on, wait_go_on) = std::sync::mpsc::channel::<()>();
    // While this callback waits, the writer writes nothing.
    wal.append(entries(0..1, 8), move |_| {
        reached.send(()).unwrap();
        wait_go_on.recv().unwrap();
    });
    wait_reached.recv().unwrap();
    wal.append(entries(1..3, 8), drop);
    assert_eq!(all(&wal), entries(0..3, 8));
    wal.truncate(2, drop);
    wal.append(entries(2..4, 99), drop);
    assert_eq!(wal.read(1..3, usize::MAX).unwrap(), [entry(1, 8), entry(2, 99)]);
    go_on.send(()).unwrap();
    append(&wal, entries(4..5, 8)).unwrap();
    assert_eq!(wal.stats().cached_bytes, 0);
    assert_eq!(wal.read(1..3, usize::MAX).unwrap(), [entry(1, 8), entry(2, 99)]);
}

#[test]
fn callbacks_come_in_the_order_of_submission() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    for index in 0..200 {
        let order = Arc::clone(&order);
        let done = move |result: Result<(), Error>| order.lock().unwrap().push((index, result.is_ok()));
        match index % 4 {
            0 => wal.save_vote(Bytes::from(vec![1; 8]), done),
            1 => wal.append(Vec::new(), done),
            2 => wal.append(entries(index / 4..index / 4 + 1, 900), done),
            _ => wal.purge(index / 8, Bytes::new(), done),
        }
    }
    drop(wal);
    assert_eq!(*order.lock().unwrap(), (0..200).map(|index| (index, true)).collect::<Vec<_>>());
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    append(&wal, entries(3..5, 8)).unwrap();
    for index in [0, 3, 4, 6] {
        let error = append(&wal, vec![entry(index, 8)]).unwrap_err();
        assert!(matches!(error, Error::Gap { expected: 5, found } if found == index), "{error}");
    }
    let error = append(&wal, vec![entry(5, 8), entry(7, 8)]).unwrap_err();
    assert!(matches!(error, Error::Gap { expected: 6, found: 7 }), "{error}");
    let error = append(&wal, vec![entry(5, 64 << 10)]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let error = wait(|done| wal.save_vote(Bytes::from(vec![0; OPAQUE_BYTES_MAX + 1]), done)).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(all(&wal), entries(3..5, 8));
    assert!(wal.failure().is_none());
    append(&wal, entries(5..6, 8)).unwrap();
}

#[test]
fn the_largest_entry_fits_and_one_append_may_fill_many_segments() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    let largest = (16 << 10) - 4096 - 64 - 20;
    append(&wal, vec![entry(0, largest), entry(1, largest)]).unwrap();
    append(&wal, entries(2..200, 1000)).unwrap();
    assert!(wal.stats().segments > 10);
    drop(wal);
    let (wal, _) = open(&disk).unwrap();
    let mut expected = vec![entry(0, largest), entry(1, largest)];
    expected.extend(entries(2..200, 1000));
    assert_eq!(all(&wal), expected);
    for name in segments(&disk) {
        assert!(file_bytes(&disk, &name).len() <= 16 << 10);
    }
}

#[test]
fn purged_segments_are_removed_and_the_vote_outlives_them() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    save_vote(&wal, b"early vote").unwrap();
    for first in 0..20 {
        append(&wal, entries(first * 10..first * 10 + 10, 1000)).unwrap();
    }
    let before = wal.stats();
    purge(&wal, 189).unwrap();
    append(&wal, entries(200..201, 8)).unwrap();
    let after = wal.stats();
    assert!(after.segments <= 2 && before.segments > 15, "{before:?} {after:?}");
    assert!(after.disk_bytes < before.disk_bytes / 5);
    assert_eq!(segments(&disk).len() as u64, after.segments);
    purge(&wal, 1000).unwrap();
    assert_eq!(wal.last_index(), None);
    append(&wal, entries(1001..1003, 8)).unwrap();
    drop(wal);
    let (wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.vote.as_deref(), Some(&b"early vote"[..]));
    assert_eq!(all(&wal), entries(1001..1003, 8));
}

#[test]
fn votes_alone_do_not_fill_the_disk() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    for _ in 0..100 {
        save_vote(&wal, &[7; OPAQUE_BYTES_MAX]).unwrap();
    }
    assert!(wal.stats().segments <= 2, "{:?}", wal.stats());
}

#[test]
fn reads_are_bounded_in_bytes() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    append(&wal, entries(0..50, 100)).unwrap();
    assert_eq!(wal.read(10..40, 1000).unwrap(), entries(10..20, 100));
    assert_eq!(wal.read(10..40, 0).unwrap(), entries(10..11, 100));
    assert_eq!(wal.read(50..60, 1000).unwrap(), []);
}

#[test]
fn a_second_handle_is_refused() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(Error::Locked)));
    drop(wal);
    open(&disk).unwrap();
}

#[test]
fn options_out_of_range_name_the_mend() {
    for segment_bytes in [0, 100, (64 << 20) + 1] {
        let options = Options { segment_bytes, ..Options::default() };
        let error = Wal::open(Arc::new(SimDisk::new()), options, None).unwrap_err().to_string();
        assert!(error.contains("segment_bytes") && error.contains("from 8 KiB to 64 MiB"), "{error}");
    }
}

#[test]
fn dropping_the_log_finishes_what_waits() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    for index in 0..100 {
        wal.append(vec![Entry { index, payload: Bytes::from_static(b"x") }], |result| result.unwrap());
    }
    drop(wal);
    assert_eq!(open(&disk).unwrap().1.last_index, Some(99));
}
