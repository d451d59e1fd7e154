//! Files that somebody made to do harm: every checksum is right, what it covers is not.
//!
//! Whatever they hold, nothing may panic or go on for ever.

use std::sync::Arc;

use conure_io::{Disk, OpenMode, Random, SimDisk};

use crate::meta::{self, Slot};
use crate::page::{self, FIRST_PAGE};
use crate::{CompactOptions, Db, Durability, Error, Options};

mod made_by_hand;

const NAME: &str = "tree.db";
const PAGE: usize = 512;

fn open(disk: &SimDisk) -> Result<Db, Error> {
    let options = Options { page_size_bytes: 512, growth_bytes_min: 8192, ..Options::default() };
    Db::open(Arc::new(disk.clone()), NAME, options)
}

/// A file with every kind of page, small enough that changes meet each other.
fn sound_file() -> Vec<u8> {
    let disk = SimDisk::new();
    let db = open(&disk).unwrap();
    for round in 0..3_u8 {
        let mut txn = db.begin_write().unwrap();
        for name in ["a", "b"] {
            let mut tree = txn.tree(name).unwrap();
            for key in 0..60_u8 {
                tree.put(&[key, round], &vec![key; usize::from(key) * 3]).unwrap();
            }
            tree.put(&[200; 900], &[3; 5000]).unwrap();
            for key in 20..40_u8 {
                tree.delete(&[key, round]).unwrap();
            }
        }
        txn.commit(Durability::Durable).unwrap();
    }
    drop(db);
    let file = disk.open(NAME, OpenMode::Read).unwrap();
    let mut bytes = vec![0; crate::bytes::index(file.len().unwrap())];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn below(random: &mut Random, bound: usize) -> usize {
    crate::bytes::index(random.below(bound as u64))
}

/// A number that is likely to be taken for something.
fn telling_number(random: &mut Random, pages: usize) -> u32 {
    let page = u32::try_from(below(random, pages)).unwrap();
    [0, 1, page, page, u32::try_from(pages).unwrap(), 0x7fff, 0xffff, u32::MAX][below(random, 8)]
}

fn corrupt_page(random: &mut Random, bytes: &mut [u8], seed: u32) {
    let pages = bytes.len() / PAGE;
    let id = usize::try_from(FIRST_PAGE).unwrap() + below(random, pages - 2);
    let start = id * PAGE;
    for _ in 0..=random.below(3) {
        let at = start + if random.chance(60) { 4 + below(random, 60) } else { below(random, PAGE - 4) };
        if random.chance(40) {
            bytes[at] = u8::try_from(random.below(256)).unwrap();
        } else {
            let number = telling_number(random, pages).to_le_bytes();
            let len = [1, 2, 4][below(random, 3)];
            bytes[at..at + len].copy_from_slice(&number[..len]);
        }
    }
    let run = page::run_of(&bytes[start..]) as usize;
    let run = if run == 0 || run > pages - id { 1 } else { run };
    let sum = page::checksum(seed, &bytes[start..start + run * PAGE]);
    crate::bytes::put_u32(bytes, start, sum);
}

fn corrupt_meta(random: &mut Random, bytes: &mut [u8]) {
    let pages = bytes.len() / PAGE;
    for slot in 0..2_u8 {
        let start = usize::from(slot) * PAGE;
        let Slot::Whole(mut meta) = meta::decode(slot, &bytes[start..start + PAGE]) else { continue };
        match random.below(9) {
            0 => meta.catalogue.root = telling_number(random, pages),
            1 => meta.catalogue.level = u8::try_from(random.below(256)).unwrap(),
            2 => meta.catalogue.keys = random.next_u64(),
            3 => meta.end = telling_number(random, pages),
            4 => meta.free_pages = random.below(u64::from(meta.end)),
            5 => meta.directory[0] = telling_number(random, pages),
            6 => meta.directory[1] = telling_number(random, pages),
            7 => meta.txn = [0, 1, u64::MAX, u64::MAX / 2, 1 << 62][below(random, 5)],
            _ => meta.list = vec![(telling_number(random, pages), telling_number(random, pages)); 3],
        }
        let page = meta.encode(slot);
        bytes[start..start + PAGE].copy_from_slice(&page);
    }
}

/// Uses a database in every way; how many of those met an error.
fn use_it(disk: &SimDisk) -> u32 {
    let Ok(db) = open(disk) else { return 1 };
    let mut errors = 0;
    let mut note = |result: Result<(), Error>| errors += u32::from(result.is_err());
    let read = db.begin_read().unwrap();
    for name in ["a", "b"] {
        note(read.tree(name).and_then(|tree| {
            let Some(tree) = tree else { return Ok(()) };
            for key in 0..60_u8 {
                tree.get(&[key, 1])?;
            }
            tree.range(..).try_for_each(|entry| entry.map(drop))?;
            tree.range(..).rev().try_for_each(|entry| entry.map(drop))
        }));
    }
    note(db.check().map(drop));
    for round in 0..4_u8 {
        note(db.begin_write().and_then(|mut txn| {
            for name in ["a", "b"] {
                let mut tree = txn.tree(name)?;
                for key in 0..60_u8 {
                    if (key + round) % 3 == 0 {
                        tree.delete(&[key, 1])?;
                    } else {
                        tree.put(&[key, round], &vec![round; usize::from(key) * 9])?;
                    }
                }
            }
            txn.commit(if round % 2 == 0 { Durability::Durable } else { Durability::Eventual })
        }));
    }
    note(db.check().map(drop));
    note(db.compact(CompactOptions { step_pages: 20, ..CompactOptions::default() }).map(drop));
    note(db.check().map(drop));
    errors
}

#[test]
fn no_hostile_file_makes_the_engine_panic_or_hang() {
    let sound = sound_file();
    let Slot::Whole(meta) = meta::decode(0, &sound[..PAGE]) else { panic!("the file is not sound") };
    let seed = page::seed(meta.file_id);
    let mut random = Random::new(0xbad);
    let mut met = 0;
    for _ in 0..400 {
        let mut bytes = sound.clone();
        if random.chance(20) {
            corrupt_meta(&mut random, &mut bytes);
        }
        for _ in 0..=random.below(4) {
            corrupt_page(&mut random, &mut bytes, seed);
        }
        let disk = SimDisk::new();
        disk.open(NAME, OpenMode::CreateNew).unwrap().write_all_at(&bytes, 0).unwrap();
        met += u32::from(use_it(&disk) > 0);
        // And what it made of it.
        use_it(&disk);
    }
    assert!(met > 100, "only {met} files were harmful");
}
