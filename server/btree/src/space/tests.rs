//! The free list of a file with more than one directory, which no other test is large enough for.

use std::collections::BTreeSet;
use std::sync::Arc;

use conure_io::{Disk, File, OpenMode, Random, SimDisk};

use super::*;
use crate::meta::directory_len;
use crate::page::{self, FIRST_PAGE, HEADER};

const PAGE: usize = 512;
const SEED: u32 = 7;

/// A file without content, as long as asked for: it takes no memory where nothing is written.
fn sparse(pages: u32) -> (Arc<dyn File>, View) {
    let file = SimDisk::new().open("f", OpenMode::CreateNew).unwrap();
    let len = u64::from(pages) * PAGE as u64;
    file.set_len(len).unwrap();
    let view = View::new(file.as_ref(), len, PAGE, SEED).unwrap();
    (file, view)
}

fn write(file: &dyn File, view: &View, pages: Vec<(PageId, Vec<u8>)>) {
    for (id, mut run) in pages {
        page::finish(&mut run, SEED, id, 1, 1);
        file.write_all_at(&run, u64::from(id) * PAGE as u64).unwrap();
        view.distrust(id, 1);
    }
}

#[test]
fn what_is_free_comes_back_from_many_zones_and_directories() {
    let zone = u32::try_from((PAGE - HEADER) * 8).unwrap();
    let end = 300 * zone + 77;
    let (file, view) = sparse(end + 4000);
    let mut space = Space::new(PAGE, vec![0; directory_len(PAGE)], FIRST_PAGE, 0);
    space.load_directory(&view).unwrap();
    assert_eq!(space.alloc(end - FIRST_PAGE, &view).unwrap(), FIRST_PAGE);

    let mut random = Random::new(1);
    let mut free = BTreeSet::new();
    for round in 0..4 {
        // Runs all over the file, some across the border of two zones, some taken again.
        for _ in 0..60 {
            let start = if random.chance(20) {
                zone * u32::try_from(1 + random.below(299)).unwrap() - 3
            } else {
                FIRST_PAGE + u32::try_from(random.below(u64::from(end - 20))).unwrap()
            };
            let len = 1 + u32::try_from(random.below(9)).unwrap();
            if (start..start + len)
                .all(|page| page < end && !free.contains(&page) && space.check_in_use(page, 1).is_ok())
                && space.own_pages().all(|own| !(start..start + len).contains(&own))
            {
                space.free(start, len);
                space.ready(start, len);
                free.extend(start..start + len);
            }
        }
        for _ in 0..10 {
            let len = 1 + u32::try_from(random.below(7)).unwrap();
            let id = space.alloc(len, &view).unwrap();
            for page in id..id + len {
                assert!(free.remove(&page) || page >= end, "page {page} was not free");
            }
        }
        let before: BTreeSet<PageId> = space.own_pages().collect();
        let out = space.relocate(&view).unwrap();
        let after: BTreeSet<PageId> = space.own_pages().collect();
        assert_eq!(out.freed.iter().copied().collect::<BTreeSet<_>>(), &before - &after);
        for page in &after - &before {
            assert!(free.remove(&page) || page >= end);
        }
        // They wait: the last durable commit may reach them.
        free.extend(&out.freed);
        write(file.as_ref(), &view, out.pages);
        for id in &out.freed {
            space.ready(*id, 1);
        }

        let mut read = Space::new(PAGE, space.directory().to_vec(), space.end(), space.free_pages());
        read.load_all(&view).unwrap();
        assert_eq!(read.free_pages(), free.len() as u64, "round {round}");
        assert_eq!(read.ready_pages(), free.len() as u64);
        for page in FIRST_PAGE..space.end() {
            assert_eq!(read.is_free(page), free.contains(&page), "page {page}");
        }
        if round == 2 {
            space = read;
        }
    }
    assert!(space.directory().iter().filter(|page| **page != 0).count() > 2);
}

#[test]
fn a_run_is_found_wherever_enough_pages_lie_side_by_side() {
    let (_, view) = sparse(2000);
    let mut space = Space::new(PAGE, vec![0; directory_len(PAGE)], FIRST_PAGE, 0);
    space.load_directory(&view).unwrap();
    space.alloc(1500, &view).unwrap();
    for (start, len) in [(10, 3), (60, 10), (190, 200), (640, 64)] {
        space.free(start, len);
        space.ready(start, len);
    }
    assert_eq!(space.alloc(70, &view).unwrap(), 190);
    assert_eq!(space.alloc(64, &view).unwrap(), 260);
    assert_eq!(space.alloc(66, &view).unwrap(), 324);
    assert_eq!(space.alloc(65, &view).unwrap(), FIRST_PAGE + 1500, "nothing so long is left");
    assert_eq!(space.alloc(64, &view).unwrap(), 640);
    assert_eq!(space.alloc(10, &view).unwrap(), 60);
    assert_eq!(space.alloc(1, &view).unwrap(), 10);
    assert_eq!(space.alloc(2, &view).unwrap(), 11);
    assert_eq!(space.ready_pages(), 0);
    assert_eq!(space.free_pages(), 0);
}
