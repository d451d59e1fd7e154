//! Failing disks: the log stops at the first failure, says so to everybody, and loses nothing acknowledged.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use conure_io::{Disk, RealDisk, SimDisk};
use conure_wal::{Error, Wal};

fn poisoned(disk: &SimDisk, wal: &Wal, acknowledged: u64) {
    assert!(matches!(wal.failure(), Some(Error::Io { .. })));
    let syncs = disk.syncs();
    disk.clear_faults();
    // The disk would do it now: the log must not try.
    assert!(append(wal, vec![entry(wal.last_index().unwrap() + 1, 8)]).is_err());
    assert!(save_vote(wal, b"vote").is_err());
    assert!(truncate(wal, 0).is_err());
    assert!(purge(wal, 0).is_err());
    assert!(wal.read(0..1, 1).is_err());
    assert_eq!(disk.syncs(), syncs, "a failed sync is never tried again");
    assert!(wal.floor(Some(u64::MAX)).committed_index.is_none_or(|last| last < acknowledged));
}

fn appends_until_it_fails(wal: &Wal) -> (u64, Error) {
    for index in 0..1_000 {
        if let Err(error) = append(wal, vec![entry(index, 300)]) {
            return (index, error);
        }
    }
    panic!("the disk did not fail");
}

#[test]
fn a_failing_sync_ends_all_writing() {
    for n in [0, 1, 7, 20, 21, 22, 23, 24] {
        let disk = SimDisk::new();
        let (wal, _) = open(&disk).unwrap();
        disk.fail_sync_after(n);
        let (acknowledged, error) = appends_until_it_fails(&wal);
        assert!(error.to_string().contains("syncing failed"), "{error}");
        poisoned(&disk, &wal, acknowledged);
        drop(wal);
        let (wal, _) = open(&disk).unwrap();
        assert_eq!(all(&wal)[..usize::try_from(acknowledged).unwrap()], entries(0..acknowledged, 300));
    }
}

#[test]
fn a_failing_write_ends_all_writing() {
    for n in [0, 1, 7, 20, 21, 22, 23, 24] {
        let disk = SimDisk::new();
        let (wal, _) = open(&disk).unwrap();
        disk.fail_write_after(n);
        let (acknowledged, error) = appends_until_it_fails(&wal);
        assert!(error.to_string().contains("writing failed"), "{error}");
        poisoned(&disk, &wal, acknowledged);
        drop(wal);
        let (wal, _) = open(&disk).unwrap();
        assert_eq!(all(&wal), entries(0..acknowledged, 300));
    }
}

#[test]
fn a_full_disk_ends_all_writing_and_with_room_the_log_opens_again() {
    for bytes in (20_000..40_000).step_by(777) {
        let disk = SimDisk::new();
        let (wal, _) = open(&disk).unwrap();
        disk.limit_bytes(bytes);
        let (acknowledged, error) = appends_until_it_fails(&wal);
        assert!(error.to_string().contains("see to the disk"), "{error}");
        assert!(acknowledged > 10);
        poisoned(&disk, &wal, acknowledged);
        drop(wal);
        let (wal, _) = open(&disk).unwrap();
        assert_eq!(all(&wal), entries(0..acknowledged, 300));
        append(&wal, entries(acknowledged..acknowledged + 50, 300)).unwrap();
    }
}

#[test]
fn every_callback_hears_of_the_failure_in_order() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    disk.fail_sync_after(3);
    let heard = Arc::new(Mutex::new(Vec::new()));
    for index in 0..500 {
        let heard = Arc::clone(&heard);
        wal.append(vec![entry(index, 100)], move |result| {
            heard.lock().unwrap().push((index, result.is_ok()))
        });
        // Refusals come at once, by the submitting thread: from then on the order is this thread's.
        if wal.failure().is_some() {
            break;
        }
    }
    drop(wal);
    let heard = heard.lock().unwrap();
    let failed = heard.iter().position(|(_, ok)| !ok).expect("the sync failed");
    assert!(heard[failed..].iter().all(|(_, ok)| !ok), "nothing succeeds after a failure");
    assert!(heard[..failed].iter().enumerate().all(|(at, (index, _))| *index == at as u64));
    let mut indexes: Vec<u64> = heard.iter().map(|(index, _)| *index).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, (0..heard.len() as u64).collect::<Vec<_>>(), "each exactly once");
}

#[test]
fn a_broken_off_beginning_is_begun_again() {
    for fault in [SimDisk::fail_write_after, SimDisk::fail_sync_after] {
        let disk = SimDisk::new();
        fault(&disk, 0);
        assert!(open(&disk).is_err());
        disk.clear_faults();
        let (wal, recovered) = open(&disk).unwrap();
        append(&wal, entries(0..2, 8)).unwrap();
        assert_eq!(recovered.last_index, None);
    }
}

#[test]
fn a_real_directory_that_is_gone_is_an_error_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(&directory.path().join("log")).unwrap();
    std::fs::remove_dir_all(directory.path()).unwrap();
    let error = Wal::open(Arc::new(disk) as Arc<dyn Disk>, small(), None).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
