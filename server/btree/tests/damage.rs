//! Damage to a file, whatever byte it meets: the check finds it, and a read that meets it answers an error, never wrong data.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

use conure_btree::{Durability, Error};
use conure_io::{Disk, OpenMode, Random, SimDisk};
use conure_proof::NAME;
use conure_proof::change::change_trees;
use conure_proof::disks::{bytes_of, disk_with};
use conure_proof::format::{Found, read};
use conure_proof::model::{Finding, Model, contents, open, options};

/// A database of a few pages of every kind, closed.
fn small_file(page_size: u32) -> Vec<u8> {
    let disk = SimDisk::new();
    let mut chosen = options(page_size);
    chosen.growth_bytes_min = u64::from(page_size);
    let db = open(&disk, chosen).unwrap();
    for round in 0..3_u8 {
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        for key in 0..12_u8 {
            tree.put(&[key, 0], &vec![round; page_size as usize / 8]).unwrap();
        }
        tree.put(b"outside", &vec![round; page_size as usize]).unwrap();
        txn.commit(Durability::Durable).unwrap();
    }
    drop(db);
    let bytes = bytes_of(&disk).unwrap();
    let kinds: Vec<u8> = read(&bytes)
        .unwrap()
        .used
        .iter()
        .map(|page| bytes[*page as usize * page_size as usize + 4])
        .collect();
    assert!((2..=6).all(|kind| kinds.contains(&kind)), "a kind of page is missing: {kinds:?}");
    bytes
}

/// What became of a file with one byte changed.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Found,
    /// Everything is there and the check is clean.
    Unnoticed,
}

/// Opens a damaged file and looks at all of it; panics where it answers wrong data, or the check misses what a read met.
fn fate(bytes: &[u8], page_size: u32, model: &Model, what: &str) -> Fate {
    let disk = disk_with(bytes).unwrap();
    let db = match open(&disk, options(page_size)) {
        Ok(db) => db,
        Err(Error::Corrupt { .. } | Error::NotADatabase { .. }) => return Fate::Found,
        Err(error) => panic!("{what}: {error}"),
    };
    let read = contents(&db.begin_read().unwrap());
    let clean = db.check().unwrap().is_clean();
    match read {
        Ok(read) => assert!(read == *model, "{what}: a read met it and said nothing"),
        Err(Finding::Refused(Error::Corrupt { .. })) => assert!(!clean, "{what}: the check missed it"),
        Err(error) => panic!("{what}: {error}"),
    }
    if clean { Fate::Unnoticed } else { Fate::Found }
}

/// Changes every second byte from `part` on, one at a time: in the meta pages each bit alone; elsewhere, where one checksum covers
/// all, one bit and then every bit. What is in use must be found; how many changes that were.
fn flip(bytes: &[u8], page_size: u32, found: &Found, part: usize) -> u64 {
    let mut met = 0;
    let mut bytes = bytes.to_vec();
    for at in (part..bytes.len()).step_by(2) {
        let page = u32::try_from(at).unwrap() / page_size;
        let one = 1 << (at / 2 % 8);
        let masks: &[u8] = if page < 2 { &[1, 2, 4, 8, 16, 32, 64, 128] } else { &[one, 0xff] };
        for mask in masks {
            bytes[at] ^= mask;
            let fate = fate(&bytes, page_size, &found.trees, &format!("byte {at}, bits {mask:#x}"));
            bytes[at] ^= mask;
            if page < 2 || found.used.contains(&page) {
                assert_eq!(fate, Fate::Found, "byte {at} of page {page}, bits {mask:#x}");
                met += 1;
            } else {
                assert_eq!(fate, Fate::Unnoticed, "byte {at} of page {page}, which is not in use");
            }
        }
    }
    met
}

#[test]
fn every_byte_of_a_small_file_is_under_a_checksum_that_is_looked_at() {
    let bytes = small_file(512);
    let found = read(&bytes).unwrap();
    let met = std::thread::scope(|scope| {
        let flip = |part| flip(&bytes, 512, &found, part);
        let (even, odd) = (scope.spawn(move || flip(0)), scope.spawn(move || flip(1)));
        even.join().unwrap() + odd.join().unwrap()
    });
    assert_eq!(met, 2 * 512 * 8 + found.used.len() as u64 * 512 * 2);
    println!("{met} changed bytes, all found");
}

#[test]
fn damage_to_the_older_meta_page_is_found_or_mended_and_to_the_newer_one_found() {
    let bytes = small_file(1024);
    let found = read(&bytes).unwrap();
    // The newer one tells the commit that was found.
    let commit = |page: usize| u64::from_le_bytes(*bytes[page * 1024 + 4..].first_chunk().unwrap());
    let newer = usize::from(commit(1) > commit(0));
    assert_eq!(commit(newer), found.commit);
    let mut mended = 0;
    for at in 0..2048 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let fate = fate(&damaged, 1024, &found.trees, &format!("byte {at}"));
        if at / 1024 == newer {
            assert_eq!(fate, Fate::Found, "byte {at} of the newer meta page");
        } else {
            mended += u32::from(fate == Fate::Unnoticed);
        }
    }
    assert!(mended > 0, "opening writes the older one anew where its intact sectors show that it is older");
}

#[test]
fn bits_of_larger_files_are_found_or_not_in_use() {
    for page_size in [512, 4096] {
        let disk = SimDisk::new();
        let db = open(&disk, options(page_size)).unwrap();
        let (mut model, mut random) = (Model::new(), Random::new(u64::from(page_size)));
        for _ in 0..12 {
            let mut txn = db.begin_write().unwrap();
            change_trees(&mut random, &mut txn, &mut model, 200).unwrap();
            txn.commit(Durability::Durable).unwrap();
        }
        drop(db);
        let bytes = bytes_of(&disk).unwrap();
        let found = read(&bytes).unwrap();
        for _ in 0..600 {
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << random.below(8);
            let fate = fate(&damaged, page_size, &model, &format!("byte {at}"));
            let page = u32::try_from(at).unwrap() / page_size;
            if page >= 2 {
                assert_eq!(fate == Fate::Found, found.used.contains(&page), "byte {at} of page {page}");
            }
        }
    }
}

#[test]
fn damage_under_an_open_database_is_found_by_check() {
    let disk = SimDisk::new();
    let db = open(&disk, options(512)).unwrap();
    for i in 0..50_u8 {
        let mut txn = db.begin_write().unwrap();
        txn.tree("t").unwrap().put(&[i], &[7; 300]).unwrap();
        txn.commit(Durability::Durable).unwrap();
    }
    assert!(db.check().unwrap().is_clean());
    let file = disk.open(NAME, OpenMode::Existing).unwrap();
    let pages = db.stats().pages;
    let mut found = 0;
    for page in 0..pages {
        let mut byte = [0];
        file.read_exact_at(&mut byte, page * 512 + 200).unwrap();
        file.write_all_at(&[!byte[0]], page * 512 + 200).unwrap();
        let report = db.check().unwrap();
        found += u64::from(!report.is_clean());
        file.write_all_at(&byte, page * 512 + 200).unwrap();
    }
    assert_eq!(found, pages - db.stats().free_pages);
}

#[test]
fn whole_pages_that_change_places_are_found() {
    let bytes = small_file(512);
    let found = read(&bytes).unwrap();
    let pages = bytes.len() / 512;
    for (a, b) in (0..pages).flat_map(|a| (0..a).map(move |b| (a, b))) {
        let mut swapped = bytes.clone();
        swapped.copy_within(b * 512..(b + 1) * 512, a * 512);
        swapped[b * 512..(b + 1) * 512].copy_from_slice(&bytes[a * 512..(a + 1) * 512]);
        let used = |page: usize| page < 2 || found.used.contains(&u32::try_from(page).unwrap());
        if used(a) || used(b) {
            let fate = fate(&swapped, 512, &found.trees, &format!("pages {a} and {b}"));
            assert_eq!(fate, Fate::Found, "pages {a} and {b}");
        }
    }
}
