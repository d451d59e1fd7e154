//! Files that somebody made to do harm.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| conure_proof::fuzz::hostile_file(data));
