//! The storage engine: a memory-mapped copy-on-write B+tree.
