//! Whatever arrives on the Raft port, or stands in the files beside the tree and the log: refused or understood.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| conure_member::fuzzing::decode(input));
