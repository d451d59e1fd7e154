//! Which key a write goes to.

/// Keys that each writer overwrites on its own.
const OWN: u64 = 3;
/// Keys that all writers overwrite.
const SHARED: u64 = 4;

/// The key of a writer's n-th write. Each history has a run of its own, so that a cluster may have seen others before.
pub(super) fn key(run: u32, writer: u32, sequence: u64) -> String {
    match sequence % 4 {
        1 => format!("{run:x}/w{writer}/own{}", sequence / 4 % OWN),
        3 => format!("{run:x}/shared/{}", sequence / 4 % SHARED),
        _ => format!("{run:x}/w{writer}/{sequence}"),
    }
}

/// The value of a writer's n-th write: no other write carries it.
pub(super) fn value(writer: u32, sequence: u64) -> String {
    format!("{writer}.{sequence}")
}
