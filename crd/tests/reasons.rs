//! The page of conditions and events has exactly the reasons that there are.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::collections::BTreeSet;
use std::path::Path;

use conure_crd::{Reason, condition};

/// The words in the first column of the tables under `heading`.
fn words(page: &str, heading: &str) -> BTreeSet<String> {
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let section = rest.split("\n#").next().unwrap();
    let first_cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

fn kept(fits: impl Fn(Reason) -> bool) -> BTreeSet<String> {
    Reason::ALL.iter().filter(|reason| fits(**reason)).map(ToString::to_string).collect()
}

#[test]
fn every_reason_is_on_the_page_and_every_word_of_the_page_is_a_reason() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conditions.md")).unwrap();
    for kind in condition::ALL.into_iter().chain([condition::RECOVERED]) {
        // Ready has two of its own, and else those of Degraded and Progressing.
        let expected = kept(|reason| match kind {
            condition::READY => reason == Reason::Ready || reason == Reason::Reconciling,
            _ => reason.explains(kind),
        });
        assert_eq!(words(&page, &format!("### `{kind}`")), expected, "{kind}");
    }
    assert_eq!(words(&page, "## Events"), kept(Reason::is_told), "events");
}

#[test]
fn every_reason_is_one_that_the_api_server_takes_and_is_used_somewhere() {
    let kinds = || condition::ALL.into_iter().chain([condition::RECOVERED]);
    for reason in Reason::ALL {
        let word = reason.as_str();
        assert!(word.starts_with(|c: char| c.is_ascii_uppercase()), "{word}");
        assert!(word.chars().all(|c| c.is_ascii_alphanumeric()), "{word}");
        assert!(reason.is_told() || kinds().any(|kind| reason.explains(kind)), "{word} is for nothing");
        assert_eq!(Reason::named(word), Some(*reason));
    }
}
