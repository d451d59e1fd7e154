//! Power losses: whatever moment it comes and whatever the disk did with unsynced sectors, the log opens and
//! holds all that was acknowledged.
//!
//! `CONURE_CRASH_SEED` repeats a run, `CONURE_CRASH_IMAGES` makes it longer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::model::{Model, Step, submit};
use conure_io::{Disk, Random, SimDisk};
use conure_wal::{Floor, Options, Wal};

const IMAGES: u64 = 1_200;
const IMAGES_PER_RUN: u64 = 40;
/// What a disk never tears, in bytes.
const SECTOR: u64 = 512;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// A run of the log and all that was promised during it.
#[derive(Default)]
struct Run {
    steps: Vec<Step>,
    /// After how many operations of the disk how many steps were acknowledged.
    acknowledged: Vec<(usize, usize)>,
    floors: Vec<(usize, Floor)>,
}

impl Run {
    fn model(&self, steps: usize) -> Model {
        let mut model = Model::default();
        self.steps[..steps].iter().for_each(|step| model.apply(step));
        model
    }

    fn acknowledged_by(&self, ops: usize) -> usize {
        let before = self.acknowledged.iter().filter(|(at, _)| *at <= ops);
        before.map(|(_, steps)| *steps).max().unwrap_or(0)
    }

    fn floor_by(&self, ops: usize) -> Option<&Floor> {
        self.floors.iter().rev().find(|(at, _)| *at <= ops).map(|(_, floor)| floor)
    }

    /// How many steps the log holds: at least `least`, and exactly a prefix of them.
    fn holds(&self, found: &Model, least: usize) -> Option<usize> {
        let mut model = self.model(least);
        if model == *found {
            return Some(least);
        }
        for (at, step) in self.steps.iter().enumerate().skip(least) {
            model.apply(step);
            if model == *found {
                return Some(at + 1);
            }
        }
        None
    }
}

fn tiny() -> Options {
    Options { segment_bytes: 8 << 10, cache_bytes: 512, queue_len: 8, ..Options::default() }
}

fn open_tiny(disk: &SimDisk, floor: Option<&Floor>) -> Wal {
    Wal::open(Arc::new(disk.clone()) as Arc<dyn Disk>, tiny(), floor)
        .expect("the log opens after a power loss")
        .0
}

fn random_steps(random: &mut Random, model: &Model, number: u64) -> Vec<Step> {
    let next = model.next_index();
    let first = model.entries.first_key_value().map_or(next, |(index, _)| *index);
    match random.below(10) {
        0 => vec![Step::Vote(Bytes::from(format!("vote {number}")))],
        1 if next > first => vec![Step::Truncate(next - 1 - random.below((next - first).min(6)))],
        2 if next > first => {
            let upto = first + random.below(next - first);
            vec![Step::Purge(upto, Bytes::from(format!("marker {number}")))]
        }
        3 if random.chance(10) => vec![Step::Purge(next + random.below(5), Bytes::from_static(b"snapshot"))],
        _ => (0..1 + random.below(4))
            .map(|more| {
                // Only what takes several sectors can be torn.
                let len = if random.chance(50) { 3000 } else { random.below(400) };
                let mut payload = format!("{number}/{}", next + more).into_bytes();
                payload.resize(payload.len() + usize::try_from(len).unwrap(), b'.');
                Step::Append(conure_wal::Entry { index: next + more, payload: Bytes::from(payload) })
            })
            .collect(),
    }
}

/// Works on `disk` until `submissions` were made, or the disk failed.
fn work(disk: &SimDisk, wal: Wal, run: Run, random: &mut Random, submissions: u64) -> Run {
    let mut model = run.model(run.steps.len());
    let run = Arc::new(Mutex::new(run));
    for number in 0..submissions {
        let steps = random_steps(random, &model, number);
        steps.iter().for_each(|step| model.apply(step));
        let upto = {
            let mut run = run.lock().unwrap();
            run.steps.extend(steps.iter().cloned());
            run.steps.len()
        };
        let (sender, receiver) = std::sync::mpsc::channel();
        let (noted, disk_now) = (Arc::clone(&run), disk.clone());
        submit(&wal, &steps, move |ok| {
            if ok {
                noted.lock().unwrap().acknowledged.push((disk_now.ops(), upto));
            }
            // The test may have gone on without waiting.
            let _ = sender.send(());
        });
        if !random.chance(60) {
            continue;
        }
        receiver.recv().unwrap();
        // Of what is still to be synced, or could not be, nothing is committed: a checkpoint names none of it.
        let durable = run.lock().unwrap().acknowledged.last().is_some_and(|(_, steps)| *steps == upto);
        if durable && random.chance(17) {
            let floor = wal.floor(model.purged.as_ref().map(|(index, _)| *index));
            run.lock().unwrap().floors.push((disk.ops(), floor));
        }
    }
    drop(wal);
    Arc::into_inner(run).expect("every callback was called").into_inner().unwrap()
}

#[test]
fn acknowledged_work_survives_every_power_loss() {
    let seed = setting("CONURE_CRASH_SEED", 0x5eed);
    let images = setting("CONURE_CRASH_IMAGES", IMAGES);
    println!("CONURE_CRASH_SEED={seed} CONURE_CRASH_IMAGES={images}");
    let mut random = Random::new(seed);
    let (mut taken, mut torn, mut nested) = (0, 0, 0);
    while taken < images {
        let disk = SimDisk::new();
        let before = disk.ops();
        let failing = random.chance(20);
        let wal = open_tiny(&disk, None);
        if failing {
            disk.fail_sync_after(random.below(60));
        }
        let run = work(&disk, wal, Run::default(), &mut random, 80);
        disk.clear_faults();
        for _ in 0..IMAGES_PER_RUN.min(images - taken) {
            taken += 1;
            let mut moment =
                || before + usize::try_from(random.below((disk.ops() - before) as u64 + 1)).unwrap();
            let mut prefix = moment();
            // Every other one at a moment, if chance finds one, when more is under way than one sector.
            if taken % 2 == 0 {
                let tearable = (0..16).map(|_| moment()).find(|at| disk.unsynced_bytes(*at) > 2 * SECTOR);
                prefix = tearable.unwrap_or(prefix);
            }
            let image_seed = random.next_u64();
            let image = disk.crash_image(prefix, image_seed).unwrap();
            let (wal, recovered) = Wal::open(Arc::new(image.clone()), tiny(), run.floor_by(prefix))
                .unwrap_or_else(|error| {
                    panic!(
                        "image {taken} (after {prefix} operations, seed {image_seed}) does not open: {error}"
                    )
                });
            torn += u64::from(recovered.torn_tail_bytes_cut > 0);
            let found = Model::of(&wal);
            let least = run.acknowledged_by(prefix);
            let held = run.holds(&found, least).unwrap_or_else(|| {
                panic!(
                    "image {taken}: of {least} acknowledged steps or a prefix beyond them, found {found:?}"
                )
            });
            // What was read counts from now on: go on working, and lose power again, opening included.
            let opened = image.ops();
            let more = Run {
                steps: run.steps[..held].to_vec(),
                acknowledged: vec![(0, least), (opened, held)],
                floors: Vec::new(),
            };
            let more = work(&image, wal, more, &mut random, 5);
            for _ in 0..2 {
                nested += 1;
                let prefix = usize::try_from(random.below(image.ops() as u64 + 1)).unwrap();
                let again = image.crash_image(prefix, random.next_u64()).unwrap();
                let wal = open_tiny(&again, None);
                let found = Model::of(&wal);
                let least = more.acknowledged_by(prefix);
                // Before the first opening was through, the tail that it read may still be lost.
                assert!(
                    more.holds(&found, least).is_some(),
                    "image {taken}, again after {prefix}: {found:?}"
                );
            }
        }
    }
    println!(
        "{taken} images, {torn} with a torn tail, {nested} of a second power loss: all opened, all held"
    );
    assert!(torn > images / 200, "power losses that tear nothing prove nothing");
}

/// Not at moments that chance chose: after every single operation, opening and closing included.
#[test]
fn acknowledged_work_survives_a_power_loss_after_every_operation() {
    let mut random = Random::new(setting("CONURE_CRASH_SEED", 0x5eed) ^ 2);
    for submissions in [3, 40] {
        let disk = SimDisk::new();
        let wal = open_tiny(&disk, None);
        let run = work(&disk, wal, Run::default(), &mut random, submissions);
        for prefix in 0..=disk.ops() {
            for _ in 0..4 {
                let seed = random.next_u64();
                let image = disk.crash_image(prefix, seed).unwrap();
                let (wal, _) =
                    Wal::open(Arc::new(image), tiny(), run.floor_by(prefix)).unwrap_or_else(|error| {
                        panic!("after {prefix} operations, seed {seed}: it does not open: {error}")
                    });
                let (found, least) = (Model::of(&wal), run.acknowledged_by(prefix));
                assert!(
                    run.holds(&found, least).is_some(),
                    "after {prefix} operations, seed {seed}: of {least} acknowledged steps found {found:?}"
                );
            }
        }
    }
}

#[test]
fn what_a_restart_read_after_a_failed_sync_survives_a_power_loss() {
    let mut random = Random::new(setting("CONURE_CRASH_SEED", 0x5eed) ^ 1);
    for round in 0..60 {
        let disk = SimDisk::new();
        let wal = open_tiny(&disk, None);
        disk.fail_sync_after(random.below(30));
        let run = work(&disk, wal, Run::default(), &mut random, 40);
        disk.clear_faults();
        // The process restarts, the machine goes on: it sees what the disk does not have.
        let wal = open_tiny(&disk, None);
        let seen = Model::of(&wal);
        let held = run.holds(&seen, run.acknowledged_by(disk.ops())).expect("a prefix");
        drop(wal);
        let image = disk.crash_image(disk.ops(), random.next_u64()).unwrap();
        let wal = open_tiny(&image, None);
        assert_eq!(Model::of(&wal), run.model(held), "round {round}");
    }
}
