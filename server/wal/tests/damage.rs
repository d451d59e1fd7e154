//! Damage to what was synced is refused, whatever it is, and the files stay as they were.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::*;
use conure_io::{Disk, SimDisk};
use conure_wal::{Error, Floor, Wal};

/// A log of several segments, whose last batch holds records and is not proved by a later one.
fn written() -> (SimDisk, Floor) {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    // So many that the last segment holds several batches.
    for _ in 0..7 {
        save_vote(&wal, b"the vote").unwrap();
    }
    for first in 0..30 {
        append(&wal, entries(first * 3..first * 3 + 3, 500)).unwrap();
    }
    let floor = wal.floor(Some(89));
    let image = disk.image().unwrap();
    drop(wal);
    let (_, last) = contents(&image).pop().unwrap();
    assert!(
        last_batch_at(&last) > 4096 + 1024,
        "damage before the last batch of the last segment is of interest"
    );
    (image, floor)
}

fn contents(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    segments(disk).into_iter().map(|name| (name.clone(), file_bytes(disk, &name))).collect()
}

fn last_batch_at(bytes: &[u8]) -> usize {
    (4096..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"CWB1")).max().unwrap()
}

/// How far a file is written: behind that, there is room that was taken ahead.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn refused(disk: &SimDisk) -> Error {
    let before = contents(disk);
    let error = open(disk).map(|_| ()).expect_err("the damage is refused");
    assert!(contents(disk) == before, "a refused log stays as it was");
    error
}

#[test]
fn a_flipped_bit_anywhere_before_the_last_batch_is_refused() {
    let (disk, _) = written();
    let files = contents(&disk);
    assert!(files.len() >= 4, "several segments");
    let (mut flips, last) = (0_u32, files.len() - 1);
    for (at, (name, bytes)) in files.iter().enumerate() {
        let synced_end = if at == last { last_batch_at(bytes) } else { bytes.len() };
        // Every byte of headers of batches, and a sample of everything else.
        for byte in (0..synced_end).filter(|byte| byte % 512 < 64 && *byte >= 4096 || byte % 29 == 0) {
            let mut damaged = bytes.clone();
            damaged[byte] ^= 1 << (byte % 8);
            put_file(&disk, name, &damaged);
            let error = open(&disk).map(|_| ()).expect_err(&format!("{name}, byte {byte}"));
            assert!(matches!(error, Error::Damaged { .. }), "{name}, byte {byte}: {error}");
            assert!(file_bytes(&disk, name) == damaged, "a refused log stays as it was");
            flips += 1;
        }
        put_file(&disk, name, bytes);
    }
    println!("{flips} flipped bits, all refused");
    assert!(flips > 4_000);
    open(&disk).unwrap();
}

#[test]
fn a_missing_sector_before_the_last_batch_is_refused() {
    let (disk, _) = written();
    let (name, bytes) = contents(&disk).pop().unwrap();
    for sector in (0..last_batch_at(&bytes)).step_by(512).filter(|at| bytes[*at..at + 512] != [0; 512]) {
        let mut damaged = bytes.clone();
        damaged[sector..sector + 512].fill(0);
        put_file(&disk, &name, &damaged);
        assert!(matches!(refused(&disk), Error::Damaged { .. }), "sector at {sector}");
    }
}

#[test]
fn the_error_names_file_place_and_mend() {
    let (disk, _) = written();
    let (name, mut bytes) = contents(&disk).swap_remove(1);
    bytes[4096] ^= 1;
    put_file(&disk, &name, &bytes);
    let text = refused(&disk).to_string();
    for part in ["00000002.log", "byte 4096", "let it join again"] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// The last batch: nothing after it says that it was synced. Only a checkpoint's floor can tell.
#[test]
fn damage_to_the_last_batch_is_cut_unless_the_floor_knows_it() {
    let (disk, floor) = written();
    let (name, mut bytes) = contents(&disk).pop().unwrap();
    let at = last_batch_at(&bytes);
    bytes[at + 100] ^= 1;
    put_file(&disk, &name, &bytes);
    let error = open_with(&disk, Some(&floor)).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Damaged { offset, .. } if offset == at as u64), "{error}");
    assert!(file_bytes(&disk, &name) == bytes, "a refused log stays as it was");
    let (wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.torn_tail_bytes_cut, (used(&bytes) - at) as u64);
    assert_eq!(all(&wal), entries(0..87, 500));
}

#[test]
fn any_flipped_bit_of_a_last_batch_that_nobody_knows_to_be_synced_is_cut() {
    let (whole, _) = written();
    let (name, bytes) = contents(&whole).pop().unwrap();
    let at = last_batch_at(&bytes);
    for bit in (at * 8..used(&bytes) * 8).step_by(13) {
        let disk = whole.image().unwrap();
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        put_file(&disk, &name, &damaged);
        let (wal, recovered) = open(&disk).unwrap_or_else(|error| panic!("bit {bit}: {error}"));
        assert_eq!(recovered.torn_tail_bytes_cut, (used(&damaged) - at) as u64, "bit {bit}");
        assert_eq!(all(&wal), entries(0..87, 500), "bit {bit}");
    }
}

#[test]
fn after_a_clean_close_damage_to_the_last_entries_is_refused_without_a_floor() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    append(&wal, entries(0..3, 100)).unwrap();
    drop(wal);
    let (name, mut bytes) = contents(&disk).pop().unwrap();
    bytes[4096 + 200] ^= 1;
    put_file(&disk, &name, &bytes);
    assert!(matches!(refused(&disk), Error::Damaged { offset: 4096, .. }));
}

#[test]
fn a_torn_tail_of_which_only_later_pages_arrived_is_cut() {
    let (disk, floor) = written();
    let (name, bytes) = contents(&disk).pop().unwrap();
    // A batch of many pages that was never synced: any of its pages may be there, and others not.
    let (wal, _) = open(&disk).unwrap();
    append(&wal, vec![entry(90, 6000)]).unwrap();
    let image = disk.image().unwrap();
    drop(wal);
    let (_, mut full) = contents(&image).pop().unwrap();
    full.truncate(used(&full).next_multiple_of(512));
    let start = last_batch_at(&full);
    assert!(full.len() - start > 3 * 512 && full.len() > used(&bytes));
    for mask in 0..64_u32 {
        let mut torn = full.clone();
        for page in (start..full.len()).step_by(1024).enumerate().filter(|(page, _)| mask & (1 << page) == 0)
        {
            let end = (page.1 + 1024).min(torn.len());
            torn[page.1..end].fill(0);
        }
        let (last, _) = contents(&image).pop().unwrap();
        let copy = image.image().unwrap();
        put_file(&copy, &last, &torn);
        let (wal, recovered) = open_with(&copy, Some(&floor)).unwrap();
        let whole = torn == full;
        assert_eq!(recovered.last_index, Some(if whole { 90 } else { 89 }), "pages {mask:b} of {name}");
        // What was cut is never read later.
        append(&wal, entries(if whole { 91 } else { 90 }..93, 30)).unwrap();
        drop(wal);
        let (_, recovered) = open(&copy).unwrap();
        assert_eq!((recovered.last_index, recovered.torn_tail_bytes_cut), (Some(92), 0));
    }
}

#[test]
fn a_missing_segment_is_refused() {
    let (disk, floor) = written();
    let files = contents(&disk);
    let (last, others) = files.split_last().unwrap();
    for (name, _) in others {
        let copy = disk.image().unwrap();
        copy.remove(name).unwrap();
        let error = refused(&copy);
        assert!(matches!(&error, Error::MissingSegment { file, .. } if file == name), "{error}");
    }
    let copy = disk.image().unwrap();
    copy.remove(&last.0).unwrap();
    let error = open_with(&copy, Some(&floor)).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::BehindCheckpoint { .. }), "{error}");
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let (disk, _) = written();
    let (other, _) = written();
    for (name, bytes) in contents(&other) {
        let copy = disk.image().unwrap();
        put_file(&copy, &name, &bytes);
        assert!(matches!(refused(&copy), Error::ForeignSegment { .. }), "{name}");
    }
    let extra = disk.image().unwrap();
    put_file(&extra, "00000099.log", &contents(&other)[0].1);
    refused(&extra);
}

#[test]
fn segments_under_each_others_names_are_refused() {
    let (disk, _) = written();
    let files = contents(&disk);
    put_file(&disk, &files[0].0, &files[1].1);
    put_file(&disk, &files[1].0, &files[0].1);
    assert!(matches!(refused(&disk), Error::Damaged { .. }));
}

#[test]
fn an_older_copy_of_a_segment_is_refused() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    append(&wal, entries(0..3, 100)).unwrap();
    let old = contents(&disk);
    for first in 1..30 {
        append(&wal, entries(first * 3..first * 3 + 3, 500)).unwrap();
    }
    drop(wal);
    put_file(&disk, &old[0].0, &old[0].1);
    assert!(matches!(refused(&disk), Error::Damaged { .. }));
}

#[test]
fn a_log_behind_its_checkpoint_is_refused() {
    let (disk, floor) = written();
    let behind = |disk: &SimDisk, floor: &Floor| {
        let error = open_with(disk, Some(floor)).map(|_| ()).expect_err("the log is behind");
        assert!(matches!(error, Error::BehindCheckpoint { .. }), "{error}");
        error.to_string()
    };
    // Gone altogether; nothing may be made in its place.
    let empty = SimDisk::new();
    assert!(behind(&empty, &floor).contains("there is no log"));
    assert_eq!(segments(&empty), Vec::<String>::new());
    // Another log in its place.
    let (other, _) = written();
    behind(&other, &floor);
    // The same log, shorter by some entries, or without its vote.
    let longer = Floor { committed_index: Some(90), ..floor.clone() };
    assert!(behind(&disk, &longer).contains("entry 90"));
    let bare = SimDisk::new();
    drop(open(&bare).unwrap());
    behind(&bare, &Floor { vote: Some("vote".into()), ..Floor::default() });
    behind(&bare, &Floor { committed_index: Some(0), ..Floor::default() });
    // And the right one opens.
    let (wal, _) = open_with(&disk, Some(&floor)).unwrap();
    assert_eq!(wal.last_index(), Some(89));
}

#[test]
fn a_log_purged_past_the_checkpoint_opens() {
    let (disk, floor) = written();
    let (wal, _) = open(&disk).unwrap();
    purge(&wal, 500).unwrap();
    drop(wal);
    let (wal, _) = open_with(&disk, Some(&floor)).unwrap();
    assert_eq!(wal.floor(Some(400)).committed_index, Some(400));
    assert_eq!(wal.floor(Some(600)).committed_index, Some(500));
}

#[test]
fn a_log_that_must_exist_is_not_started_anew() {
    let disk = SimDisk::new();
    let options = conure_wal::Options { must_exist: true, ..small() };
    let error = Wal::open(std::sync::Arc::new(disk.clone()), options, None).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("there is no log"), "{error}");
    assert_eq!(segments(&disk), Vec::<String>::new());
}

#[test]
fn a_later_format_is_refused_by_its_version() {
    let (disk, _) = written();
    let (name, mut bytes) = contents(&disk).pop().unwrap();
    bytes[12] = 2;
    let crc = crc32c::crc32c(&bytes[12..4096]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    put_file(&disk, &name, &bytes);
    assert!(matches!(refused(&disk), Error::Version { found: 2, known: 1, .. }));
}

#[test]
fn leftovers_of_a_broken_off_purge_are_cleared_away() {
    let (disk, _) = written();
    let old = contents(&disk);
    let (wal, _) = open(&disk).unwrap();
    for first in 30..60 {
        append(&wal, entries(first * 3..first * 3 + 3, 500)).unwrap();
    }
    purge(&wal, 175).unwrap();
    drop(wal);
    let kept = segments(&disk);
    // The removals of the first and third came back after a power loss, the second did not.
    for (name, bytes) in [&old[0], &old[2]] {
        put_file(&disk, name, bytes);
    }
    let (wal, _) = open(&disk).unwrap();
    assert_eq!(all(&wal), entries(176..180, 500));
    assert_eq!(segments(&disk), kept);
}
