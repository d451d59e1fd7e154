//! The simulation itself: a seed replays, and bugs are found.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conure-sim")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Two processes, one of them telling all.
#[test]
fn a_seed_replays_exactly() {
    for seed in ["1", "2", "3"] {
        let once = simulate(&["--here", "--seed", seed]);
        let again = simulate(&["--here", "--seed", seed, "--tell"]);
        assert!(text(&once).contains("trace "), "{once:?}");
        assert_eq!(text(&once), text(&again), "seed {seed}");
    }
    assert_ne!(text(&simulate(&["--here", "--seed", "1"])), text(&simulate(&["--here", "--seed", "2"])));
}

/// Each bug is planted in turn; the simulation must find it in some of the first seeds.
#[test]
fn planted_bugs_are_found() {
    for (bug, seeds) in [
        ("vote-not-durable", 40),
        ("acks-before-fsync", 40),
        ("checkpoint-not-durable", 40),
        ("reads-without-barrier", 40),
        ("applies-out-of-order", 40),
        ("snapshot-without-membership", 40),
        ("reuses-node-id", 40),
    ] {
        let found = (1..=seeds)
            .find(|seed| !simulate(&["--seed", &seed.to_string(), "--plant", bug]).status.success());
        assert!(found.is_some(), "{bug} was not found in {seeds} seeds");
    }
}
