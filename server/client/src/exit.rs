//! How a member's process tells programs why it ended.

/// The exit code of a member whose data is damaged: what it had on disk is not what it wrote there.
pub const DATA_DAMAGED: u8 = 3;
/// How the last line of such a process begins. A program that is no member may end with the same code.
pub const DATA_DAMAGED_LINE: &str = "conure-db: data damaged: ";
