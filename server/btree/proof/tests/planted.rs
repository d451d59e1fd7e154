//! The judge of crashes finds bugs: each one that is planted into the engine is caught, as what it is.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helpers may fail, and say with which seed"
)]

use conure_btree::{Options, Planted};
use conure_io::Random;
use conure_proof::crash::{Case, Outcome, Plan, run_with};
use conure_proof::judge::Verdict;
use conure_proof::record::random_options;
use conure_proof::seed;

/// A hunt ends at the first failures, mostly after some hundred images; this many never went without one.
const IMAGES: u64 = 100_000;

fn with(bug: Planted, random: &mut Random) -> Options {
    let mut options = random_options(random);
    options.planted = Some(bug);
    options
}

fn hunt(name: &str, options: fn(&mut Random) -> Options) -> Outcome {
    let seed = seed("CONURE_CRASH_SEED").unwrap();
    println!("CONURE_CRASH_SEED={seed}");
    let outcome = run_with(Plan { seed, images: IMAGES, threads: 2 }, options, |_| {});
    println!("{name}: {outcome} after {} images", outcome.images);
    outcome
}

fn lost(outcome: &Outcome) -> bool {
    outcome.failures.iter().any(|failure| matches!(failure.verdict, Verdict::Lost(_)))
}

#[test]
fn a_commit_without_its_sync_is_caught() {
    let outcome = hunt("no commit sync", |random| with(Planted::NoCommitSync, random));
    assert!(lost(&outcome), "{outcome}");
}

#[test]
fn a_large_commit_that_does_not_sync_its_pages_first_is_caught() {
    let outcome = hunt("no data sync", |random| {
        let mut options = with(Planted::NoDataSync, random);
        // Small meta pages list few pages, so that more commits are large ones.
        options.page_size_bytes = 512;
        options
    });
    assert!(!outcome.failures.is_empty(), "{outcome}");
}

#[test]
fn pages_used_again_too_early_are_caught() {
    let outcome = hunt("pages reused", |random| with(Planted::ReusesPagesEarly, random));
    assert!(!outcome.failures.is_empty(), "{outcome}");
}

#[test]
fn a_meta_page_believed_without_its_pages_is_caught() {
    let outcome = hunt("list trusted", |random| with(Planted::TrustsList, random));
    assert!(!outcome.failures.is_empty(), "{outcome}");
}

#[test]
fn a_file_cut_before_its_end_was_given_up_is_caught() {
    let outcome = hunt("cut early", |random| with(Planted::CutsEarly, random));
    assert!(!outcome.failures.is_empty(), "{outcome}");
}

#[test]
fn a_failed_sync_that_the_next_open_takes_for_done_is_caught() {
    let outcome = hunt("opened by sync alone", |random| with(Planted::OpensBySyncAlone, random));
    assert!(!outcome.failures.is_empty(), "{outcome}");
}

#[test]
fn a_failure_is_the_same_when_it_is_made_again() {
    let options = |random: &mut Random| with(Planted::NoCommitSync, random);
    let run = |threads| {
        let outcome = run_with(Plan { seed: 7, images: 600, threads }, options, |_| {});
        let first = outcome.failures.first().expect("it is caught");
        (first.case, first.verdict.clone(), first.origin.clone())
    };
    let (case, verdict, origin) = run(1);
    assert_eq!((case, verdict, origin), run(1));
    assert_eq!(case.to_string().parse::<Case>().unwrap(), case);
}
