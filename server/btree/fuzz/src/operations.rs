//! Sequences of operations, against a model.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| conure_proof::fuzz::operations(data));
