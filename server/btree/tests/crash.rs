//! After a power failure at any moment the engine opens, holds exactly what a durable commit left, loses none that
//! had returned, and its file is sound.
//!
//! `CONURE_CRASH_IMAGES` sets how many images are made and `CONURE_CRASH_SEED` which.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a test's helpers may fail the test, and say what they did"
)]

mod common;

use std::sync::Arc;

use common::{Model, contents, open, options, random_changes};
use conure_btree::{Durability, Options};
use conure_io::{Random, SimDisk};

/// A durable commit: what it left, and how many operations the disk had seen when it began and when it returned.
struct Commit {
    began: usize,
    returned: usize,
    model: Arc<Model>,
}

/// A disk and the durable commits made on it.
struct Recorded {
    disk: SimDisk,
    commits: Vec<Commit>,
    options: Options,
}

impl Recorded {
    /// What may be found after a crash at `prefix`: the last durable commit that had returned, or one that was
    /// being made.
    fn allowed(&self, prefix: usize) -> Vec<&Arc<Model>> {
        let last = self.commits.iter().rposition(|commit| commit.returned <= prefix);
        let from = last.unwrap_or(0);
        let begun = |commit: &&Commit| commit.began < prefix;
        let mut allowed: Vec<_> =
            self.commits[from..].iter().filter(begun).map(|commit| &commit.model).collect();
        if allowed.is_empty() {
            allowed.push(&self.commits[from].model);
        }
        allowed
    }
}

/// Does random things to a database and records its durable commits.
fn record(disk: SimDisk, start: Model, options: Options, random: &mut Random, transactions: u64) -> Recorded {
    let mut now = start.clone();
    let mut durable = Arc::new(start);
    let mut db = open(&disk, options.clone()).unwrap();
    assert!(contents(&db.begin_read().unwrap()).unwrap() == now, "not what the model holds");
    let mut commits = vec![Commit { began: 0, returned: disk.ops(), model: Arc::clone(&durable) }];
    let mut readers = Vec::new();
    let space = [15, 120, 1500][usize::try_from(random.below(3)).unwrap()];
    let durables = [20, 60, 100][usize::try_from(random.below(3)).unwrap()];
    for _ in 0..transactions {
        match random.below(20) {
            0 => {
                // Closed and opened, or killed and opened: only durable commits are still there.
                readers.clear();
                if random.chance(50) {
                    drop(db);
                } else {
                    std::mem::forget(db);
                    disk.kill_process();
                }
                db = open(&disk, options.clone()).unwrap();
                now = Model::clone(&durable);
                assert!(contents(&db.begin_read().unwrap()).unwrap() == now, "not what the model holds");
                continue;
            }
            1 => readers.push(db.begin_read().unwrap()),
            2 => drop(readers.pop()),
            3 => {
                let mut txn = db.begin_write().unwrap();
                random_changes(random, &mut txn, &mut now.clone(), space).unwrap();
                continue;
            }
            _ => {}
        }
        let began = disk.ops();
        let mut txn = db.begin_write().unwrap();
        random_changes(random, &mut txn, &mut now, space).unwrap();
        if random.chance(durables) {
            txn.commit(Durability::Durable).unwrap();
            durable = Arc::new(now.clone());
            commits.push(Commit { began, returned: disk.ops(), model: Arc::clone(&durable) });
        } else {
            txn.commit(Durability::Eventual).unwrap();
        }
    }
    Recorded { disk, commits, options }
}

/// Makes an image, opens it and compares; the image and what it holds.
fn examine(recorded: &Recorded, prefix: usize, seed: u64, origin: &str) -> (SimDisk, Model) {
    let image = recorded.disk.crash_image(prefix, seed).unwrap();
    let found = compare(recorded, prefix, &image, origin);
    (image, found)
}

/// Opens what a crash or a kill at `prefix` left; what it holds, which is one of the states that may be there.
fn compare(recorded: &Recorded, prefix: usize, image: &SimDisk, origin: &str) -> Model {
    let allowed = recorded.allowed(prefix);
    let db =
        open(image, recorded.options.clone()).unwrap_or_else(|error| panic!("{origin}: corrupt: {error}"));
    let found =
        contents(&db.begin_read().unwrap()).unwrap_or_else(|error| panic!("{origin}: corrupt: {error}"));
    assert!(
        allowed.iter().any(|model| ***model == found),
        "{origin}: lost: {} trees, none of the {} states that may be there",
        found.len(),
        allowed.len()
    );
    let report = db.check().unwrap();
    assert!(report.is_clean(), "{origin}: corrupt: {:?}", report.problems);
    found
}

fn images_wanted() -> u64 {
    std::env::var("CONURE_CRASH_IMAGES").map_or(1600, |text| text.parse().unwrap())
}

fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap()
}

/// Crashes recorded workloads, and half of the images once more after they were opened.
fn crash(page_size: u32, images: u64, seed: u64) -> u64 {
    const IMAGES_A_WORKLOAD: u64 = 50;
    let mut made = 0;
    let mut workload = 0;
    while made < images {
        let workload_seed = seed.wrapping_add(workload * 1_000_003);
        let random = &mut Random::new(workload_seed);
        let mut chosen = options(page_size);
        if random.chance(30) {
            chosen.dirty_bytes_max = 4 * 1024;
        }
        let recorded = record(SimDisk::new(), Model::new(), chosen, random, 25);
        let points = recorded.disk.sync_points();
        for i in 0..IMAGES_A_WORKLOAD.min(images - made) {
            // Right before a sync most is at stake; the other prefixes are spread over the whole recording.
            let prefix = if random.chance(50) {
                points[below(random, points.len())]
            } else {
                below(random, recorded.disk.ops() + 1)
            };
            let image_seed = random.next_u64();
            let origin = format!("workload {workload_seed}, prefix {prefix}, image {image_seed}");
            let (image, found) = examine(&recorded, prefix, image_seed, &origin);
            made += 1;
            if made == images {
                break;
            }
            if i % 4 == 0 {
                // What opening did to the image may be torn too, and what came after it.
                let again = record(image, found, recorded.options.clone(), random, 4);
                let prefix = below(random, again.disk.ops() + 1);
                examine(&again, prefix, random.next_u64(), &format!("{origin}, then prefix {prefix}"));
                made += 1;
            } else if i % 4 == 2 {
                // A process killed in the middle: the next one finds what is not durable yet, and must make it so
                // before it builds on it.
                let kill = || recorded.disk.kill_image(prefix).unwrap();
                let found = compare(&recorded, prefix, &kill(), &origin);
                let again = record(kill(), found, recorded.options.clone(), random, 3);
                let reopened = again.commits[0].returned;
                let points: Vec<_> =
                    again.disk.sync_points().into_iter().filter(|point| *point >= prefix).collect();
                let later = if random.chance(50) && !points.is_empty() {
                    points[below(random, points.len())]
                } else {
                    prefix + below(random, again.disk.ops() + 1 - prefix)
                };
                let origin = format!("{origin}, killed, then prefix {later}");
                if later >= reopened {
                    examine(&again, later, random.next_u64(), &origin);
                } else {
                    // Opening had not returned: what was there when the process was killed may still come and go.
                    let image = again.disk.crash_image(later, random.next_u64()).unwrap();
                    compare(&recorded, prefix, &image, &origin);
                }
                made += 1;
            }
        }
        workload += 1;
    }
    made
}

#[test]
fn no_crash_loses_a_durable_commit() {
    let (seed, images) = (common::seed(), images_wanted());
    let made = std::thread::scope(|scope| {
        let small = scope.spawn(|| crash(512, images / 2, seed));
        let usual = scope.spawn(|| crash(4096, images - images / 2, !seed));
        small.join().unwrap() + usual.join().unwrap()
    });
    println!("{made} crash images, 0 lost, 0 corrupt");
}

/// Every prefix of one recording, a few images each: creation, the first commits, a close, a reopening.
#[test]
fn every_moment_of_a_short_life_survives_a_crash() {
    let seed = common::seed();
    let random = &mut Random::new(seed);
    let recorded = record(SimDisk::new(), Model::new(), options(1024), random, 10);
    let mut made = 0;
    for prefix in 0..=recorded.disk.ops() {
        for _ in 0..3 {
            let image_seed = random.next_u64();
            examine(
                &recorded,
                prefix,
                image_seed,
                &format!("seed {seed}, prefix {prefix}, image {image_seed}"),
            );
            made += 1;
        }
    }
    println!("{made} crash images, 0 lost, 0 corrupt");
}
