//! Which key a write goes to.

/// Keys that each writer overwrites on its own.
const OWN: u64 = 3;
/// Keys that all writers overwrite.
const SHARED: u64 = 4;

/// The key of a writer's n-th write.
pub(super) fn key(writer: u32, sequence: u64) -> String {
    match sequence % 4 {
        1 => format!("w{writer}/own{}", sequence / 4 % OWN),
        3 => format!("shared/{}", sequence / 4 % SHARED),
        _ => format!("w{writer}/{sequence}"),
    }
}

/// The value of a writer's n-th write: no other write carries it.
pub(super) fn value(writer: u32, sequence: u64) -> String {
    format!("{writer}.{sequence}")
}
