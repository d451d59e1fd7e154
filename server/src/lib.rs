//! A ConureDB member.
