//! Files that somebody made to do harm.
//!
//! An input changes a sound file, or is a file itself. Then every checksum is made right, unless the input says that it
//! is not: what is wrong must be found by looking at what the file says.

use std::sync::OnceLock;

use conure_btree::{CompactOptions, Db, Durability, Error};
use conure_io::{Disk, OpenMode, SimDisk};

use super::Input;
use crate::NAME;
use crate::disks::{bytes_of, disk_with};
use crate::format::{reseal, set_file_id};
use crate::model::{open, options};

const PAGE: usize = 512;

/// Opens the file that `data` describes and uses it in every way.
///
/// # Panics
///
/// Where the engine does, or where it goes on for longer than the file can have reason for.
pub fn hostile_file(data: &[u8]) {
    let mut input = Input::new(data);
    let Some(bytes) = file(&mut input) else { return };
    let disk = disk_with(&bytes).unwrap();
    if let Ok(db) = open(&disk, options(512)) {
        read(&db, &disk);
        let _ = db.check();
        write(&db);
    }
    // What that made of it.
    if let Ok(db) = open(&disk, options(512)) {
        read(&db, &disk);
        let _ = db.compact(CompactOptions::default());
        let _ = db.check();
    }
}

/// The file that an input describes.
fn file(input: &mut Input<'_>) -> Option<Vec<u8>> {
    let kind = input.byte()?;
    let mut bytes = if kind & 0x80 != 0 {
        let mut bytes = input.rest.to_vec();
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        bytes
    } else {
        let mut bytes = sound_files()[usize::from(kind % 4)].clone();
        while change(input, &mut bytes).is_some() {}
        bytes
    };
    if kind & 0x40 == 0 {
        reseal(&mut bytes, PAGE);
    }
    Some(bytes)
}

/// One change of a file.
fn change(input: &mut Input<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let (kind, page, offset) = (input.byte()?, usize::from(input.byte()?), usize::from(input.word()?));
    let pages = bytes.len() / PAGE;
    if pages == 0 {
        return None;
    }
    let start = page % pages * PAGE;
    // The header is met as often as all the rest.
    let at = start + if kind & 0x80 == 0 { offset % 64 } else { offset % PAGE };
    let place = |len: usize| at..(at + len).min(bytes.len());
    match kind % 8 {
        0 => {
            let place = place(1);
            bytes[place].fill(input.byte()?);
        }
        1 => {
            let (place, value) = (place(2), input.word()?.to_le_bytes());
            let len = place.len();
            bytes[place].copy_from_slice(&value[..len]);
        }
        2 | 3 => {
            let (place, value) = (place(4), input.number()?.to_le_bytes());
            let len = place.len();
            bytes[place].copy_from_slice(&value[..len]);
        }
        4 => {
            // A page in another's place, as if it were at home there.
            let other = usize::from(input.byte()?) % pages;
            bytes.copy_within(other * PAGE..(other + 1) * PAGE, start);
            let number = u32::try_from(start / PAGE).ok()?;
            bytes[start + 16..start + 20].copy_from_slice(&number.to_le_bytes());
        }
        5 => {
            let other = usize::from(input.byte()?) % pages;
            let number = u32::try_from(other).ok()?.to_le_bytes();
            let place = place(4);
            let len = place.len();
            bytes[place].copy_from_slice(&number[..len]);
        }
        6 => {
            let place = place(usize::from(input.byte()?));
            bytes[place].fill(0);
        }
        _ => bytes.resize(bytes.len().min(start + offset % PAGE).max(1), 0),
    }
    Some(())
}

/// Sound files with every kind of page, small enough that changes meet each other. The same in every run.
fn sound_files() -> &'static [Vec<u8>; 4] {
    static FILES: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    FILES.get_or_init(|| {
        [(3, 20, false), (60, 3, true), (60, 20, false), (120, 1, true)]
            .map(|(keys, scale, sealed)| sound_file(keys, scale, sealed))
    })
}

fn sound_file(keys: u8, scale: usize, sealed: bool) -> Vec<u8> {
    let disk = SimDisk::new();
    let db = open(&disk, options(512)).unwrap();
    for round in 0..3_u8 {
        let mut txn = db.begin_write().unwrap();
        for name in ["a", "b"] {
            let mut tree = txn.tree(name).unwrap();
            for key in 0..keys {
                tree.put(&[key, round], &vec![key; usize::from(key % 60) * scale]).unwrap();
            }
            tree.put(&[250; 900], &[3; 5000]).unwrap();
            tree.delete_range(&[keys / 3][..]..&[keys / 2][..]).unwrap();
        }
        txn.commit(Durability::Durable).unwrap();
    }
    if !sealed {
        // What closing would do to the file is left undone.
        disk.kill_process();
    }
    drop(db);
    let mut bytes = bytes_of(&disk).unwrap();
    set_file_id(&mut bytes, PAGE, 0x636f_6e75_7265);
    bytes
}

/// Reads in every way; errors are what is expected.
fn read(db: &Db, disk: &SimDisk) {
    let Ok(snapshot) = db.begin_read() else { return };
    let file = disk.open(NAME, OpenMode::Read).unwrap();
    // An entry takes more than one byte of the file, and its value may be that of another, but its key may not.
    let most = usize::try_from(file.len().unwrap()).unwrap();
    let names = snapshot.tree_names().unwrap_or_default();
    for name in names.iter().map(String::as_str).chain(["a", "b"]) {
        let Ok(Some(tree)) = snapshot.tree(name) else { continue };
        for key in (0..60_u8).step_by(3) {
            let _ = tree.get(&[key, 1]);
        }
        let _ = (tree.first(), tree.last());
        assert!(tree.range(..).take(most + 1).count() <= most, "it reads for ever");
        assert!(tree.range(..).rev().take(most + 1).count() <= most, "it reads for ever");
        assert!(tree.prefix(&[5]).take(most + 1).count() <= most, "it reads for ever");
        let mut cursor = tree.cursor();
        let _ = cursor.seek(&[30]);
        let walk = std::iter::from_fn(|| cursor.next().ok().flatten());
        assert!(walk.take(most + 1).count() <= most, "it walks for ever");
        let _ = cursor.seek_back(&[30]);
        let walk = std::iter::from_fn(|| cursor.prev().ok().flatten());
        assert!(walk.take(most + 1).count() <= most, "it walks for ever");
    }
}

/// Changes in every way; errors are what is expected.
fn write(db: &Db) {
    for step in 0..6_u8 {
        let result = db.begin_write().and_then(|mut txn| {
            for name in ["a", "b", "new"] {
                change_tree(&mut txn, name, step)?;
            }
            txn.commit(if step % 2 == 0 { Durability::Durable } else { Durability::Eventual })
        });
        assert!(!matches!(result, Err(Error::Io { .. })), "the disk is sound: {result:?}");
    }
}

fn change_tree(txn: &mut conure_btree::WriteTxn, name: &str, step: u8) -> Result<(), Error> {
    if step == 5 && name == "b" {
        return txn.drop_tree(name).map(drop);
    }
    let mut tree = txn.tree(name)?;
    match step {
        2 => drop(tree.delete_range(&[10][..]..&[40][..])?),
        3 => drop(tree.load_sorted((0..20_u8).map(|key| ([254, 254, key], [key; 90])))),
        _ => {
            // Few of them, so that many inputs are tried in a second.
            for key in (step % 4..60).step_by(4) {
                if (key + step).is_multiple_of(3) {
                    tree.delete(&[key, 1])?;
                } else {
                    tree.put(&[key, step % 3], &vec![step; usize::from(key) * 9])?;
                }
            }
        }
    }
    Ok(())
}
