//! After a power failure at any moment the engine opens, holds exactly what a durable commit left, loses none that
//! had returned, and its file is sound.
//!
//! `CONURE_CRASH_IMAGES` sets how many images are made and `CONURE_CRASH_SEED` which; `cargo xtask crash` makes many
//! more, and makes a single one again.

use conure_proof::crash::{Plan, run};
use conure_proof::seed;

#[test]
fn no_crash_loses_a_durable_commit() {
    let images = std::env::var("CONURE_CRASH_IMAGES").map_or(4000, |text| text.parse().unwrap());
    let seed = seed("CONURE_CRASH_SEED").unwrap();
    println!("CONURE_CRASH_SEED={seed}");
    let outcome = run(Plan { seed, images, threads: 2 }, |_| {});
    println!("{outcome}");
    for failure in &outcome.failures {
        println!("image {} of seed {seed}, {}: {}", failure.case, failure.origin, failure.verdict);
    }
    assert!(outcome.failures.is_empty() && outcome.images == images, "{outcome}");
}
