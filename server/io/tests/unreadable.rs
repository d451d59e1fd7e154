//! A process ends in good order where a page of a map cannot be read. Each case is a process of its own: this test's program,
//! started again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

use conure_io::{Disk, OpenMode, RealDisk, end_on_unreadable_map};

const CASE: &str = "CONURE_IO_SIGBUS_CASE";
const DIR: &str = "CONURE_IO_SIGBUS_DIR";
const PAGE: usize = 4096;

/// A file of two pages, and its map.
fn mapped(dir: &Path) -> (std::sync::Arc<dyn conure_io::File>, conure_io::Map) {
    let file = RealDisk::new(dir).unwrap().open("file", OpenMode::CreateNew).unwrap();
    file.write_all_at(&[7; 2 * PAGE], 0).unwrap();
    let map = file.map(2 * PAGE).unwrap();
    (file, map)
}

/// What the started process does; it does not come back.
#[expect(unsafe_code, reason = "a map that the engine does not know of is made by hand")]
fn child(case: &str, dir: &Path) {
    end_on_unreadable_map("the last line", 3).unwrap();
    let (file, map) = mapped(dir);
    assert_eq!(map[PAGE], 7);
    match case {
        "the map" => {
            file.set_len(PAGE as u64).unwrap();
            std::hint::black_box(map[PAGE]);
        }
        "many threads" => {
            file.set_len(PAGE as u64).unwrap();
            std::thread::scope(|scope| {
                for at in 0..8 {
                    let map = &map;
                    scope.spawn(move || std::hint::black_box(map[PAGE + at]));
                }
            });
        }
        "a former map" => {
            drop(map);
            let _other = file.map(PAGE).unwrap();
            elsewhere(dir);
        }
        "elsewhere" => elsewhere(dir),
        "sent" => {
            let killed = Command::new("kill").args(["-BUS", &std::process::id().to_string()]).status();
            assert!(killed.unwrap().success());
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
        other => panic!("{other}"),
    }

    /// Reads behind the end of a file in a map that is not the engine's.
    fn elsewhere(dir: &Path) {
        let file = std::fs::File::create_new(dir.join("other")).unwrap();
        file.set_len(PAGE as u64).unwrap();
        let file = std::fs::File::open(dir.join("other")).unwrap();
        // SAFETY: nobody else has the file; that reading the map faults is what is asked for.
        let map = unsafe { memmap2::Mmap::map(&file).unwrap() };
        std::fs::File::options().write(true).open(dir.join("other")).unwrap().set_len(0).unwrap();
        std::hint::black_box(map[0]);
    }
}

fn run(case: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_process_of_a_case", "--nocapture"]);
    // AddressSanitizer takes the signal for itself otherwise, and this handler gives it back what is not the map's.
    command.env("ASAN_OPTIONS", "handle_sigbus=0");
    command.env(CASE, case).env(DIR, dir.path()).output().unwrap()
}

/// No test by itself: what the others start.
#[test]
fn the_process_of_a_case() {
    if let (Ok(case), Ok(dir)) = (std::env::var(CASE), std::env::var(DIR)) {
        child(&case, Path::new(&dir));
        panic!("{case} went on");
    }
}

#[test]
fn a_page_of_the_engines_map_that_cannot_be_read_ends_with_the_code_and_the_line() {
    for case in ["the map", "many threads"] {
        let output = run(case);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{case}: {told}");
        assert_eq!(told.lines().filter(|line| *line == "the last line").count(), 1, "{case}: {told}");
    }
}

#[test]
fn a_fault_elsewhere_and_a_signal_that_was_sent_end_as_without_a_handler() {
    for case in ["elsewhere", "a former map", "sent"] {
        let output = run(case);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(7), "{case}: {told}");
        assert!(!told.contains("the last line"), "{case}: {told}");
    }
}
