//! Points at which a test stops or kills the operator: before and after every call that changes something, named after it.
//!
//! `FAILPOINTS="before_remove=return"` ends the process there as a crash would; `sleep(MS)`, `pause` and the other
//! actions of the crate `fail` work too. Without the feature `failpoints` nothing of this is compiled in.

/// Passes the point `name`.
pub fn pass(name: &str) {
    #[cfg(feature = "failpoints")]
    tracing::trace!(point = name, "passes a point");
    #[cfg(feature = "failpoints")]
    fail::eval(name, |_| -> () {
        tracing::warn!(point = name, "ends here, as the failpoint says");
        std::process::abort();
    });
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

mod calls;

pub use calls::CALLS;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Every point in the sources below `folder`.
    fn points(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                points(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let begin = concat!("failpoint::pa", "ss(\"");
            found.extend(
                text.split(begin).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())),
            );
        }
    }

    #[test]
    fn every_changing_call_has_a_point_before_it_and_one_after_it() {
        let mut found = BTreeSet::new();
        points(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let expected: BTreeSet<String> =
            CALLS.iter().flat_map(|call| [format!("before_{call}"), format!("after_{call}")]).collect();
        assert_eq!(found, expected);
    }
}
