//! Many crashes: every prefix of every workload, several images each, on all processors.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use conure_io::{Random, SimDisk};

use crate::judge::{Verdict, guarded, judge};
use crate::mixed;
use crate::model::{Model, one_of};
use crate::record::{Recorded, Shape, random_options, record};

/// Images of each prefix, each with choices of its own.
const CHOICES: u64 = 5;

/// Images of a prefix that ends right before a sync: most is at stake there.
const CHOICES_BEFORE_SYNC: u64 = 20;

/// Which images are made.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// How many images.
    pub images: u64,
    /// How many of them are examined at once.
    pub threads: usize,
}

/// One image: the workload that it is made from, and which of its images it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The workload's number.
    pub workload: u64,
    /// The image's number within it: those of the empty prefix come first.
    pub image: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.workload, self.image)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no image: it is written WORKLOAD.IMAGE, two numbers");
        let (workload, image) = text.split_once('.').ok_or_else(wrong)?;
        Ok(Self {
            workload: workload.parse().map_err(|_| wrong())?,
            image: image.parse().map_err(|_| wrong())?,
        })
    }
}

/// An image that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which image.
    pub case: Case,
    /// What is wrong with it.
    pub verdict: Verdict,
    /// How it was made.
    pub origin: String,
}

/// What a run found.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Images that were made and judged.
    pub images: u64,
    /// Workloads that they were made from.
    pub workloads: u64,
    /// Those that were not what they should be, in the order of their cases.
    pub failures: Vec<Failure>,
}

/// A run ends soon after this many failures: one is enough to know, a few help to understand.
pub const FAILURES_MAX: usize = 10;

impl Outcome {
    fn count(&self, wanted: impl Fn(&Verdict) -> bool) -> usize {
        self.failures.iter().filter(|failure| wanted(&failure.verdict)).count()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.count(|verdict| matches!(verdict, Verdict::Lost(_)));
        let corrupt = self.count(|verdict| matches!(verdict, Verdict::Corrupt(_)));
        write!(f, "{} crash images, {lost} lost, {corrupt} corrupt", self.images)
    }
}

/// Images in a batch.
const BATCH: u64 = 64;

/// A recorded workload whose images are being made.
#[derive(Debug)]
struct Work {
    number: u64,
    seed: u64,
    recorded: Recorded,
    /// For each prefix, the number of the first image of the next one.
    ends: Vec<u64>,
}

/// Some images of a workload, by their numbers.
type Batch = (Arc<Work>, std::ops::Range<u64>);

/// Hands out images in order, recording a workload when the one before is used up.
#[derive(Debug)]
struct Planner {
    plan: Plan,
    options: fn(&mut Random) -> conure_btree::Options,
    next_workload: u64,
    left: u64,
    work: Option<(Arc<Work>, u64)>,
}

impl Planner {
    fn next(&mut self) -> Result<Option<Batch>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        let (work, from) = match self.work.take() {
            Some(work) => work,
            None => {
                let number = self.next_workload;
                self.next_workload += 1;
                (Arc::new(Work::new(self.plan.seed, number, self.options)?), 0)
            }
        };
        let to = work.images().min(from + BATCH.min(self.left));
        self.left -= to - from;
        if to < work.images() {
            self.work = Some((Arc::clone(&work), to));
        }
        Ok(Some((work, from..to)))
    }
}

impl Work {
    fn new(
        seed: u64,
        number: u64,
        options: fn(&mut Random) -> conure_btree::Options,
    ) -> Result<Self, Failure> {
        let seed = mixed(seed, number);
        let random = &mut Random::new(seed);
        let options = options(random);
        let shape = Shape { ops: one_of(random, &[40, 80, 160]), steps: 60, faults: random.chance(50) };
        let recorded = guarded(|| Ok(record(SimDisk::new(), Model::new(), options, random, shape)?));
        let recorded = recorded.map_err(|verdict| Failure {
            case: Case { workload: number, image: 0 },
            verdict,
            origin: "the workload itself, without a crash".to_owned(),
        })?;
        let mut end = 0;
        let mut points = recorded.disk.sync_points().into_iter().peekable();
        // Every prefix, the empty and the whole one included.
        let ends = (0..=recorded.disk.ops()).map(|prefix| {
            let before_sync = points.next_if_eq(&prefix).is_some();
            end += if before_sync { CHOICES_BEFORE_SYNC } else { CHOICES };
            end
        });
        let ends = ends.collect();
        Ok(Self { number, seed, recorded, ends })
    }

    fn images(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn image(&self, number: u64) -> Result<(), Failure> {
        let prefix = self.ends.partition_point(|end| *end <= number);
        let mut origin = String::new();
        let random = &mut Random::new(mixed(self.seed, number));
        guarded(|| match number % CHOICES {
            0 => self.crash_twice(prefix, random, &mut origin),
            1 => self.kill_then_crash(prefix, random, &mut origin),
            _ => {
                origin = format!("power failure after operation {prefix}");
                judge(&self.recorded, prefix, &self.recorded.disk.crash_image(prefix, random.next_u64())?)?;
                Ok(())
            }
        })
        .map_err(|verdict| Failure {
            case: Case { workload: self.number, image: number },
            verdict,
            origin,
        })
    }

    /// What opening did to the image may be torn too, and what came after it.
    fn crash_twice(&self, prefix: usize, random: &mut Random, origin: &mut String) -> Result<(), Verdict> {
        *origin = format!("power failure after operation {prefix}");
        let image = self.recorded.disk.crash_image(prefix, random.next_u64())?;
        let base = image.image()?;
        let found = judge(&self.recorded, prefix, &image)?;
        let shape = Shape { ops: 60, steps: random.below(4), faults: false };
        let again = record(base, found, self.recorded.options.clone(), random, shape)?;
        let later = at_most(random, again.disk.ops());
        origin.push_str(&format!(", opened again, power failure after operation {later}"));
        let image = again.disk.crash_image(later, random.next_u64())?;
        // Before opening had returned, what was there stays there: it is the first state of the second recording.
        judge(&again, later, &image)?;
        Ok(())
    }

    /// A process killed in the middle: the next one finds what is not durable yet, and must make it so before it builds
    /// on it.
    fn kill_then_crash(
        &self,
        prefix: usize,
        random: &mut Random,
        origin: &mut String,
    ) -> Result<(), Verdict> {
        *origin = format!("killed after operation {prefix}");
        let found = judge(&self.recorded, prefix, &self.recorded.disk.kill_image(prefix)?)?;
        let shape = Shape { ops: 60, steps: random.below(4), faults: false };
        let killed = self.recorded.disk.kill_image(prefix)?;
        let again = record(killed, found, self.recorded.options.clone(), random, shape)?;
        let later = prefix + at_most(random, again.disk.ops() - prefix);
        origin.push_str(&format!(", opened again, power failure after operation {later}"));
        let image = again.disk.crash_image(later, random.next_u64())?;
        let opened = again.commits.first().and_then(|commit| commit.returned).is_some_and(|at| at <= later);
        // Before opening had returned, what was there when the process was killed may still come and go.
        if opened {
            judge(&again, later, &image)?
        } else {
            judge(&self.recorded, prefix, &image)?
        };
        Ok(())
    }
}

/// Zero to `most`; both ends are met more often than those between.
fn at_most(random: &mut Random, most: usize) -> usize {
    if random.chance(20) { most } else { crate::model::below(random, most + 1) }
}

/// Makes and judges the images of a plan. `progress` hears how many there are so far, from any thread.
pub fn run(plan: Plan, progress: impl Fn(u64) + Sync) -> Outcome {
    run_with(plan, random_options, progress)
}

/// The same for databases that are opened in a certain way.
pub fn run_with(
    plan: Plan,
    options: fn(&mut Random) -> conure_btree::Options,
    progress: impl Fn(u64) + Sync,
) -> Outcome {
    let planner = Planner { plan, options, next_workload: 0, left: plan.images, work: None };
    let planner = Mutex::new(planner);
    let (made, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let failures = Mutex::new(Vec::new());
    let fail = |failure| {
        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push(failure);
        stop.fetch_or(failures.len() >= FAILURES_MAX, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let next = planner.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let (work, images) = match next {
                        Ok(Some(next)) => next,
                        Ok(None) => break,
                        Err(failure) => {
                            fail(failure);
                            continue;
                        }
                    };
                    for image in images {
                        if let Err(failure) = work.image(image) {
                            fail(failure);
                        }
                        progress(made.fetch_add(1, Ordering::Relaxed) + 1);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure: &Failure| (failure.case.workload, failure.case.image));
    let workloads = planner.into_inner().unwrap_or_else(PoisonError::into_inner).next_workload;
    Outcome { images: made.into_inner(), workloads, failures }
}

/// Makes and judges one image of the plan with this seed.
///
/// # Errors
///
/// What is wrong with it.
pub fn replay(seed: u64, case: Case) -> Result<(), Failure> {
    let work = Work::new(seed, case.workload, random_options)?;
    if case.image >= work.images() {
        let verdict = Verdict::Lost(format!("the workload has {} images", work.images()));
        return Err(Failure { case, verdict, origin: String::new() });
    }
    work.image(case.image)
}
