//! Inputs on which a fuzzer once found something, and some that reach far, run without the fuzzer.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test's helpers may fail, and say at what")]

use std::path::Path;

fn run(target: &str, harness: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/inputs").join(target);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        // Named before it runs: a panic or an endless loop has no other name.
        println!("{}", file.display());
        harness(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn operations_do_what_the_model_does() {
    run("operations", conure_proof::fuzz::operations);
}

#[test]
fn hostile_files_do_no_harm() {
    run("hostile_file", conure_proof::fuzz::hostile_file);
}
