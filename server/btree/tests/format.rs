//! `docs/on-disk-format.md` alone is enough to read a file: a reader that was written from it, and knows nothing else of
//! the engine, finds exactly what was stored.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

use conure_btree::{Durability, Options};
use conure_io::{Random, SimDisk};
use conure_proof::change::change_trees;
use conure_proof::disks::{bytes_of, disk_with};
use conure_proof::format::{read, reseal, set_file_id};
use conure_proof::model::{Model, contents, open, options};
use conure_proof::seed;

/// After each durable commit, sealed or not, the file holds what the database does.
fn compare(options: &Options, random: &mut Random, space: u64) {
    let disk = SimDisk::new();
    let mut db = open(&disk, options.clone()).unwrap();
    let mut model = Model::new();
    let mut durable = model.clone();
    for round in 0..40 {
        let mut txn = db.begin_write().unwrap();
        change_trees(random, &mut txn, &mut model, space).unwrap();
        if random.chance(60) {
            txn.commit(Durability::Durable).unwrap();
            durable = model.clone();
        } else {
            txn.commit(Durability::Eventual).unwrap();
        }
        let found = read(&bytes_of(&disk).unwrap()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(found.trees == durable, "round {round}: not what was stored");
        assert_eq!(found.page_size, options.page_size_bytes as usize);
        if db.stats().commit == db.stats().durable_commit {
            assert_eq!(found.free.len() as u64, db.stats().free_pages);
            assert_eq!(found.used.len() + found.free.len() + 2, usize::try_from(db.stats().pages).unwrap());
        }
        if random.chance(20) {
            drop(db);
            assert_eq!(
                read(&bytes_of(&disk).unwrap()).unwrap().trees,
                durable,
                "closing changed what is stored"
            );
            db = open(&disk, options.clone()).unwrap();
            model = durable.clone();
            assert_eq!(contents(&db.begin_read().unwrap()).unwrap(), durable);
        }
    }
}

#[test]
fn a_reader_written_from_the_page_finds_exactly_what_was_stored() {
    let seed = seed("CONURE_FORMAT_SEED").unwrap();
    println!("CONURE_FORMAT_SEED={seed}");
    let mut random = Random::new(seed);
    for page_size in [512, 1024, 4096, 32_768] {
        for space in [30, 2000] {
            compare(&options(page_size), &mut random, space);
        }
    }
}

#[test]
fn the_reader_sees_every_changed_byte_that_is_in_use() {
    let disk = SimDisk::new();
    let db = open(&disk, options(512)).unwrap();
    let mut txn = db.begin_write().unwrap();
    for key in 0..60_u8 {
        txn.tree("t").unwrap().put(&[key], &[key; 40]).unwrap();
    }
    txn.commit(Durability::Durable).unwrap();
    let pages = usize::try_from(db.stats().pages).unwrap();
    drop(db);
    let bytes = bytes_of(&disk).unwrap();
    let whole = read(&bytes).unwrap();
    for page in 2..pages {
        let mut changed = bytes.clone();
        changed[page * 512 + 100] ^= 1;
        let used = whole.used.contains(&u32::try_from(page).unwrap());
        assert_eq!(read(&changed) != Ok(whole.clone()), used, "page {page}");
    }
}

#[test]
fn the_reader_looks_at_every_field_of_a_header() {
    let disk = SimDisk::new();
    let db = open(&disk, options(512)).unwrap();
    for round in 0..3_u8 {
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        for key in (0..60_u8).filter(|key| key % 3 >= round) {
            tree.put(&[key ^ 0x55, 1, 2, 3, 4, 5], &[round; 40]).unwrap();
        }
        // Pages in the middle of it must not look like runs of their own.
        tree.put(b"outside", &[0xee ^ round; 2000]).unwrap();
        tree.delete(&[20 ^ 0x55, 1, 2, 3, 4, 5]).unwrap();
        txn.tree("u").unwrap().put(&[round], b"").unwrap();
        txn.commit(Durability::Durable).unwrap();
    }
    drop(db);
    let bytes = bytes_of(&disk).unwrap();
    let whole = read(&bytes).unwrap();
    let mut resealed = bytes.clone();
    reseal(&mut resealed, 512);
    assert!(read(&resealed).as_ref() == Ok(&whole), "to make the checksums right changes what is stored");
    let (mut met, mut missed) = (std::collections::BTreeSet::new(), Vec::new());
    for page in &whole.used {
        let start = *page as usize * 512;
        let kind = bytes[start + 4];
        // The inside of a longer run has no header.
        if !(2..=6).contains(&kind) || bytes[start + 16..start + 20] != page.to_le_bytes() {
            continue;
        }
        // Not the checksum, nor the commit, which may be any before.
        for at in (4..8).chain(16..32) {
            for mask in [1, 0x80] {
                let mut changed = bytes.clone();
                changed[start + at] ^= mask;
                reseal(&mut changed, 512);
                met.insert(kind);
                if read(&changed).as_ref() == Ok(&whole) {
                    missed.push((kind, at, mask));
                }
            }
        }
    }
    assert_eq!(met.into_iter().collect::<Vec<_>>(), [2, 3, 4, 5, 6], "a kind of page is missing");
    assert!(missed.is_empty(), "kind, offset and bits that it did not look at: {missed:?}");
}

/// The example of the page: bytes by the line, those that it leaves out are zeros.
fn example() -> Vec<u8> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/on-disk-format.md");
    let text = std::fs::read_to_string(page).unwrap();
    let (_, example) = text.split_once("### An example").unwrap();
    let block = example.split("```").nth(1).unwrap();
    let mut bytes = Vec::new();
    for line in block.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let (offset, line) = line.split_once("  ").unwrap();
        let at = usize::from_str_radix(offset, 16).unwrap();
        let line = line.split("  ").next().unwrap().split(' ');
        let line: Vec<u8> = line.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        bytes.resize(at, 0);
        bytes.extend(line);
    }
    bytes
}

/// The bytes as the page shows them.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in bytes.chunks(16).enumerate().filter(|(_, line)| line.iter().any(|byte| *byte != 0))
    {
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        let plain: String = line.iter().map(shown).collect();
        text.push_str(&format!("{:04x}  {}  {plain}\n", number * 16, hex.join(" ")));
    }
    text
}

#[test]
fn the_example_of_the_page_is_a_file_byte_for_byte() {
    let disk = SimDisk::new();
    let mut chosen = options(512);
    chosen.growth_bytes_min = 512;
    let db = open(&disk, chosen.clone()).unwrap();
    let mut txn = db.begin_write().unwrap();
    txn.tree("birds").unwrap().put(b"conure", b"green").unwrap();
    txn.tree("birds").unwrap().put(b"condor", b"black").unwrap();
    txn.commit(Durability::Durable).unwrap();
    drop(db);
    let mut made = bytes_of(&disk).unwrap();
    set_file_id(&mut made, 512, 0x0102_0304_0506_0708);
    let mut shown = example();
    shown.resize(made.len().max(shown.len()), 0);
    assert!(shown == made, "the page should show:\n{}", dump(&made));

    let found = read(&shown).unwrap();
    assert_eq!(found.trees["birds"][&b"conure"[..]], b"green");
    let db = open(&disk_with(&shown).unwrap(), chosen).unwrap();
    assert_eq!(contents(&db.begin_read().unwrap()).unwrap(), found.trees);
}
