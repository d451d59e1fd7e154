//! The simulated disk keeps what was synced, loses what was not, and fails when told to.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::collections::BTreeSet;
use std::io;

use conure_io::{Disk, OpenMode, SimDisk};

fn contents(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(name, OpenMode::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

#[test]
fn synced_bytes_are_in_every_image_and_unsynced_ones_in_some() {
    let disk = SimDisk::new();
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    disk.sync_dir().unwrap();
    file.write_all_at(&[1; 1024], 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&[2; 1024], 0).unwrap();
    file.write_all_at(&[3; 512], 1024).unwrap();

    let mut seen = BTreeSet::new();
    for seed in 0..500 {
        let bytes = contents(&disk.crash_image(disk.ops(), seed).unwrap(), "a").unwrap();
        assert!(bytes.len() == 1024 || bytes.len() == 1536);
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector was torn");
        }
        seen.insert(bytes.chunks(512).map(|sector| sector[0]).collect::<Vec<_>>());
    }
    for wanted in [&[1, 1][..], &[2, 2], &[1, 2], &[2, 1], &[1, 1, 3], &[2, 2, 3], &[2, 2, 0], &[1, 1, 0]] {
        assert!(seen.contains(wanted), "no image was {wanted:?}: {seen:?}");
    }
}

#[test]
fn names_are_durable_only_after_the_directory_was_synced() {
    let disk = SimDisk::new();
    let file = disk.open("new", OpenMode::CreateNew).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    let unsynced = disk.ops();
    disk.sync_dir().unwrap();
    disk.rename("new", "final").unwrap();
    let renamed = disk.ops();
    disk.sync_dir().unwrap();

    let names = |prefix: usize| -> BTreeSet<Vec<String>> {
        (0..200).map(|seed| disk.crash_image(prefix, seed).unwrap().list().unwrap()).collect()
    };
    let listed = |lists: &[&[&str]]| -> BTreeSet<Vec<String>> {
        lists.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect()
    };
    assert_eq!(names(unsynced), listed(&[&[], &["new"]]));
    assert_eq!(names(renamed), listed(&[&["new"], &["final"]]));
    assert_eq!(names(disk.ops()), listed(&[&["final"]]));
    assert_eq!(contents(&disk.crash_image(disk.ops(), 7).unwrap(), "final").unwrap(), b"x");
}

#[test]
fn the_same_seed_makes_the_same_image() {
    let disk = SimDisk::new();
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    for i in 0..20_u8 {
        file.write_all_at(&[i; 700], u64::from(i) * 700).unwrap();
    }
    for seed in 0..20 {
        let one = contents(&disk.crash_image(15, seed).unwrap(), "a");
        let two = contents(&disk.crash_image(15, seed).unwrap(), "a");
        assert_eq!(one, two);
    }
}

#[test]
fn what_a_failed_sync_dropped_stays_unsure_after_a_later_sync() {
    let disk = SimDisk::new();
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    disk.sync_dir().unwrap();
    file.write_all_at(&[1; 512], 0).unwrap();
    disk.fail_sync_after(0);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(disk.syncs(), 2);
    let lost = (0..100)
        .filter(|seed| contents(&disk.crash_image(disk.ops(), *seed).unwrap(), "a").unwrap().is_empty());
    assert!(lost.count() > 0);
}

#[test]
fn a_failing_write_is_short_and_a_full_disk_refuses() {
    let disk = SimDisk::new();
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    disk.fail_write_after(1);
    file.write_all_at(&[1; 1000], 0).unwrap();
    assert!(file.write_all_at(&[2; 2000], 1000).is_err());
    assert_eq!(file.len().unwrap(), 1536, "whole sectors of it");

    disk.limit_bytes(2600);
    let error = file.write_all_at(&[3; 2000], 1536).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 2560);
    assert_eq!(file.set_len(3000).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_all_at(&[4; 2560], 0).unwrap();
}

#[test]
fn a_cut_and_a_sync_of_the_directory_fail_when_told_to_and_leave_what_was() {
    let disk = SimDisk::new();
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    file.write_all_at(&[1; 2048], 0).unwrap();
    disk.fail_cut_after(1);
    disk.fail_dir_sync_after(1);
    file.set_len(4096).unwrap();
    file.set_len(1024).unwrap();
    assert!(file.set_len(512).is_err());
    assert_eq!(file.len().unwrap(), 1024);
    file.set_len(512).unwrap();
    disk.sync_dir().unwrap();
    disk.rename("a", "b").unwrap();
    assert!(disk.sync_dir().is_err());
    let names = |disk: &SimDisk| -> BTreeSet<Vec<String>> {
        (0..100).map(|seed| disk.crash_image(disk.ops(), seed).unwrap().list().unwrap()).collect()
    };
    assert_eq!(names(&disk), BTreeSet::from([vec!["a".to_owned()], vec!["b".to_owned()]]));
    disk.sync_dir().unwrap();
    assert_eq!(names(&disk), BTreeSet::from([vec!["b".to_owned()]]));
}

#[test]
fn the_map_shows_later_writes_and_the_lock_is_exclusive() {
    let disk = SimDisk::new();
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    file.set_len(4096).unwrap();
    let map = file.map(4096).unwrap();
    file.write_all_at(b"hello", 100).unwrap();
    assert_eq!(&map[100..105], b"hello");
    assert!(file.map(8192).is_err());

    file.try_lock().unwrap();
    let other = disk.open("a", OpenMode::Existing).unwrap();
    assert_eq!(other.try_lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(file);
    other.try_lock().unwrap();
}

#[test]
fn a_killed_process_leaves_what_it_wrote_but_no_more_durable_than_it_was() {
    let disk = SimDisk::new();
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    disk.sync_dir().unwrap();
    file.try_lock().unwrap();
    file.write_all_at(&[1; 512], 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&[2; 512], 0).unwrap();
    let prefix = disk.ops();
    file.write_all_at(&[3; 512], 0).unwrap();

    let image = disk.kill_image(prefix).unwrap();
    assert_eq!(contents(&image, "a").unwrap(), [2; 512]);
    image.open("a", OpenMode::Existing).unwrap().try_lock().unwrap();
    let crashed: BTreeSet<u8> = (0..50)
        .map(|seed| contents(&image.crash_image(image.ops(), seed).unwrap(), "a").unwrap()[0])
        .collect();
    assert_eq!(crashed, BTreeSet::from([1, 2]));
    image.open("a", OpenMode::Existing).unwrap().sync_data().unwrap();
    assert_eq!(contents(&image.crash_image(image.ops(), 1).unwrap(), "a").unwrap(), [2; 512]);
}

#[test]
fn an_image_can_crash_again() {
    let disk = SimDisk::new();
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    disk.sync_dir().unwrap();
    file.write_all_at(&[1; 512], 0).unwrap();
    file.sync_data().unwrap();
    let image = disk.crash_image(disk.ops(), 1).unwrap();
    let file = image.open("a", OpenMode::Existing).unwrap();
    file.write_all_at(&[2; 512], 512).unwrap();
    file.sync_data().unwrap();
    let again = contents(&image.crash_image(image.ops(), 2).unwrap(), "a").unwrap();
    assert_eq!(again, [[1; 512], [2; 512]].concat());
}
