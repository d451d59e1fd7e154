//! Files made by hand, each with one thing wrong that its checksums do not tell.

use std::fmt::Debug;
use std::sync::Arc;

use conure_io::{Disk, OpenMode, SimDisk};

use super::{NAME, PAGE};
use crate::bytes::{index, put_u16, put_u32, put_u64, small, word};
use crate::cells::{Cells, branch_cell};
use crate::meta::{self, Meta, TreeState};
use crate::node::{LEAF_CELL, Node, SLOT, head};
use crate::node_mut::NodeMut;
use crate::page::{self, GARBAGE, HEADER, Kind, PageId};
use crate::{CompactOptions, Db, Durability, Error, Options};

/// The page of the tree's root; page 2 is the catalogue's.
const ROOT: PageId = 3;

fn leaf_cell(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut cell = vec![0; LEAF_CELL];
    put_u16(&mut cell, 0, small(key.len()));
    put_u16(&mut cell, 2, small(value.len()));
    cell.extend_from_slice(key);
    cell.extend_from_slice(value);
    cell
}

/// A sound node with these cells.
fn sound_node(level: u8, cells: &[Vec<u8>]) -> Vec<u8> {
    let mut list = Cells::default();
    cells.iter().for_each(|cell| list.push(cell));
    let mut run = vec![0; (HEADER + list.needed(0..list.len())).next_multiple_of(PAGE)];
    NodeMut::build(&mut run, level, &list, 0..list.len());
    run
}

/// A leaf of `len` bytes whose cells stand where they are said to, whether they may or not.
fn leaf(len: usize, cells: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut run = vec![0; len];
    let start = cells.iter().map(|(at, _)| *at).min().unwrap();
    page::init(&mut run, Kind::Leaf, 0, small(cells.len()), word(start));
    let mut taken = 0;
    for (slot, (at, cell)) in cells.iter().enumerate() {
        run[*at..at + cell.len()].copy_from_slice(cell);
        let key_len = usize::from(cell[0]);
        put_u16(&mut run, HEADER + SLOT * slot, small(*at));
        run[HEADER + SLOT * slot + 2..][..4].copy_from_slice(&head(&cell[LEAF_CELL..][..key_len], 0));
        taken += cell.len();
    }
    put_u16(&mut run, GARBAGE, small(len - start - taken));
    run
}

/// A file with one tree of that name, whose root is on [`ROOT`] or where `runs` has it.
fn file(
    name: &[u8],
    root: TreeState,
    runs: Vec<(PageId, Vec<u8>)>,
    change: impl FnOnce(&mut Meta),
) -> SimDisk {
    let mut state = [0; 16];
    put_u32(&mut state, 0, root.root);
    state[4] = root.level;
    put_u64(&mut state, 8, root.keys);
    let runs = [vec![(2, sound_node(0, &[leaf_cell(name, &state)]))], runs].concat();
    let end = runs.iter().map(|(id, run)| id + word(run.len() / PAGE)).max().unwrap();
    let mut meta = Meta {
        page_size: PAGE,
        file_id: 5,
        txn: 1,
        catalogue: TreeState { root: 2, level: 0, keys: 1 },
        end,
        free_pages: 0,
        directory: vec![0; meta::directory_len(PAGE)],
        list: Vec::new(),
    };
    change(&mut meta);
    let disk = SimDisk::new();
    let file = disk.open(NAME, OpenMode::CreateNew).unwrap();
    // Sparse, where the end is far away.
    file.set_len(u64::from(meta.end.max(end)) * PAGE as u64).unwrap();
    for (id, mut run) in runs {
        let pages = word(run.len() / PAGE);
        page::finish(&mut run, page::seed(meta.file_id), id, pages, 1);
        file.write_all_at(&run, u64::from(id) * PAGE as u64).unwrap();
    }
    for slot in 0..2 {
        meta.txn = u64::from(slot) + 1;
        file.write_all_at(&meta.encode(slot), u64::from(slot) * PAGE as u64).unwrap();
    }
    disk
}

fn one_leaf(run: Vec<u8>) -> SimDisk {
    let keys = Node::new(&run).count() as u64;
    file(b"t", TreeState { root: ROOT, level: 0, keys }, vec![(ROOT, run)], |_| {})
}

fn try_open(disk: &SimDisk) -> Result<Db, Error> {
    Db::open(Arc::new(disk.clone()), NAME, Options { growth_bytes_min: 8192, ..Options::default() })
}

fn open(disk: &SimDisk) -> Db {
    try_open(disk).unwrap()
}

#[track_caller]
fn assert_corrupt<T: Debug>(result: Result<T, Error>, wanted: &str) {
    match result {
        Err(Error::Corrupt { reason, .. }) => assert!(reason.contains(wanted), "{reason}"),
        result => panic!("{result:?}"),
    }
}

/// Every way to change a tree that has the keys `a` and `b`, each in a transaction of its own.
fn changes(db: &Db) -> Vec<Result<(), Error>> {
    type Change = fn(&mut crate::TreeMut<'_>) -> Result<(), Error>;
    let all: [Change; 6] = [
        |tree| tree.put(b"c", &[1; 90]),
        |tree| tree.put(b"a", &[1; 90]),
        |tree| tree.delete(b"a").map(drop),
        |tree| tree.delete(b"b").map(drop),
        |tree| tree.delete_range(&b"a"[..]..&b"b"[..]).map(drop),
        |tree| tree.load_sorted([(b"x", [1; 90])]).map(drop),
    ];
    all.into_iter()
        .map(|change| {
            let mut txn = db.begin_write()?;
            change(&mut txn.tree("t")?)
        })
        .collect()
}

#[test]
fn a_file_made_by_hand_is_as_sound_as_one_of_the_engine() {
    let db =
        open(&one_leaf(leaf(PAGE, &[(400, leaf_cell(b"a", &[1; 50])), (455, leaf_cell(b"b", &[2; 52]))])));
    assert!(db.check().unwrap().is_clean());
    changes(&db).into_iter().for_each(|result| result.unwrap());
    let mut txn = db.begin_write().unwrap();
    txn.tree("t").unwrap().put(b"c", &[1; 90]).unwrap();
    txn.commit(Durability::Durable).unwrap();
    db.compact(CompactOptions::default()).unwrap();
    assert!(db.check().unwrap().is_clean());
}

#[test]
fn a_node_longer_than_its_offsets_can_say_is_refused() {
    let cells = [(60_000, leaf_cell(b"a", &[1; 1066])), (61_071, leaf_cell(b"b", &[2; 65_534]))];
    let db = open(&one_leaf(leaf(1 << 17, &cells)));
    for result in changes(&db) {
        assert_corrupt(result, "longer than any node");
    }
    let read = db.begin_read().unwrap();
    assert_corrupt(read.tree("t").unwrap().unwrap().get(b"a"), "longer than any node");
    assert!(!db.check().unwrap().is_clean());
}

#[test]
fn a_branch_with_a_key_longer_than_keys_can_be_is_refused() {
    for (len, sound) in [(crate::MAX_KEY_BYTES, true), (crate::MAX_KEY_BYTES + 1, false)] {
        let key = vec![b'k'; len];
        let branch = sound_node(1, &[branch_cell(&[], 30), branch_cell(&key, 31)]);
        let runs = vec![
            (ROOT, branch),
            (30, sound_node(0, &[leaf_cell(b"a", b"")])),
            (31, sound_node(0, &[leaf_cell(b"z", b"")])),
        ];
        let db = open(&file(b"t", TreeState { root: ROOT, level: 1, keys: 2 }, runs, |_| {}));
        let read = db.begin_read().unwrap();
        let found = read.tree("t").unwrap().unwrap().get(b"z");
        if sound {
            assert_eq!(found.unwrap(), Some(&b""[..]));
        } else {
            assert_corrupt(found, "impossible length");
        }
    }
}

#[test]
fn a_node_whose_cells_overlap_is_refused() {
    let cells = [(400, leaf_cell(b"a", &[1; 50])), (410, leaf_cell(b"b", &[2; 20]))];
    let run = leaf(PAGE, &cells);
    assert_eq!(Node::validate(&run), Err("its cells overlap"));
    let db = open(&one_leaf(run.clone()));
    let read = db.begin_read().unwrap();
    assert_corrupt(read.tree("t").unwrap().unwrap().get(b"b"), "cells overlap");
    for result in changes(&db) {
        assert_corrupt(result, "cells overlap");
    }
    // One that seems to lie far out, so that a compaction would move it.
    let root = TreeState { root: 200, level: 0, keys: 2 };
    let db = open(&file(b"t", root, vec![(200, run)], |meta| meta.free_pages = 190));
    assert_corrupt(db.compact(CompactOptions::default()), "cells overlap");
}

#[test]
fn more_pages_than_the_format_can_count_are_refused() {
    let sound = || leaf(PAGE, &[(500, leaf_cell(b"a", b"1234567"))]);
    let root = TreeState { root: ROOT, level: 0, keys: 1 };
    let most = word(index(meta::pages_max(PAGE)));
    for (end, free_pages) in [(most + 1, 0), (ROOT + 1, u64::MAX), (ROOT + 1, 3)] {
        let disk = file(b"t", root, vec![(ROOT, sound())], |meta| {
            (meta.end, meta.free_pages) = (end, free_pages);
        });
        assert_corrupt(try_open(&disk).map(drop), "meta page is damaged");
    }
}

#[test]
fn a_compaction_of_trees_that_lead_in_circles_ends() {
    let full = || sound_node(0, &[leaf_cell(b"a", &[1; 400])]);
    // A name that is no text, and reads as another one.
    let root = TreeState { root: ROOT, level: 0, keys: 1 };
    let db = open(&file(b"\xff", root, vec![(ROOT, full())], |_| {}));
    assert_corrupt(compact(&db), "no text");

    // More children than a compaction looks at at once, and the key at which it would go on leads back to the first.
    let mut cells = vec![branch_cell(&[], 50)];
    for number in 1..300_u16 {
        let key = if number == 256 { b"!!!".to_vec() } else { [&b"k"[..], &number.to_be_bytes()].concat() };
        cells.push(branch_cell(&key, 50));
    }
    let mut branch = sound_node(1, &cells);
    // Built for keys in order, of which the first and last begin alike.
    put_u16(&mut branch, page::SKIP, 0);
    for slot in 1..300 {
        let head = head(Node::new(&branch).key(slot), 0);
        branch[HEADER + SLOT * slot + 2..][..4].copy_from_slice(&head);
    }
    assert_eq!(Node::validate(&branch), Ok(()));
    let root = TreeState { root: ROOT, level: 1, keys: 300 };
    let db = open(&file(b"t", root, vec![(ROOT, branch), (50, full())], |_| {}));
    assert_corrupt(compact(&db), "out of order");
}

/// A compaction that must come to an end.
fn compact(db: &Db) -> Result<(), Error> {
    let mut compaction = db.compaction(CompactOptions { step_pages: 1, ..CompactOptions::default() });
    for _ in 0..2000 {
        if !compaction.step()? {
            return Ok(());
        }
    }
    panic!("it goes on for ever");
}
