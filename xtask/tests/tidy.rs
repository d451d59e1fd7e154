//! Keeps the house tidy: what the project promises of its own source files.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file that git tracks (or would, once added) and that ends in one of `endings`, with its text.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "git ls-files failed");
    let files: Vec<_> = String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .filter(|name| endings.iter().any(|ending| name.ends_with(ending)))
        .filter_map(|name| Some((name.to_owned(), fs::read_to_string(root().join(name)).ok()?)))
        .collect();
    assert!(!files.is_empty(), "found no file to look at");
    files
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn no_source_file_holds_two_ideas() {
    let long: Vec<_> = files(&[".rs"])
        .iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > 500)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert_none(&long, "a file over 500 lines holds two ideas; split it");
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let silent: Vec<_> = files(&[".rs"])
        .into_iter()
        .filter(|(name, _)| !name.starts_with("server/fuzz"))
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    assert_none(&silent, "begin the file with a `//!` line that says what it is for");
}

#[test]
fn no_unfinished_work_is_committed() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("todo", "!("),
        concat!("#[ign", "ore"),
    ];
    let unfinished: Vec<_> =
        files(&[".rs", ".toml", ".md", ".yaml", "Dockerfile.server", "Dockerfile.operator"])
            .into_iter()
            .flat_map(|(name, text)| {
                text.lines()
                    .enumerate()
                    .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
                    .map(|(at, line)| format!("{name}:{}: {}", at + 1, line.trim()))
                    .collect::<Vec<_>>()
            })
            .collect();
    assert_none(&unfinished, "finish it, or open an issue and leave no note in the code");
}

#[test]
fn unsafe_code_stays_in_its_files() {
    // Each of these argues for its blocks one by one.
    let allowed = [
        "bench/src/engines/lmdb.rs",
        "program/src/answer.rs",
        "server/io/src/map.rs",
        "server/io/src/sigbus.rs",
        "server/io/tests/unreadable.rs",
        "server/sim/src/entropy.rs",
    ];
    let word = concat!("uns", "afe {");
    for name in allowed {
        let text = fs::read_to_string(root().join(name)).unwrap_or_default();
        assert!(text.contains(word), "{name} has no unsafe code: take it off the list");
    }
    let found: Vec<_> = files(&[".rs"])
        .into_iter()
        .filter(|(name, text)| text.contains(word) && !allowed.contains(&name.as_str()))
        .map(|(name, _)| name)
        .collect();
    assert_none(&found, "unsafe code belongs into the files that are listed in xtask/tests/tidy.rs");
}

#[test]
fn no_image_holds_a_planted_bug() {
    // Images are built from the Dockerfiles or, for tests, from what every other check is built from.
    for (name, text) in files(&["Dockerfile.server", "Dockerfile.operator"]) {
        assert!(!text.contains("--features") && !text.contains("planted"), "{name} asks for features");
    }
    let everything = fs::read_to_string(root().join("xtask/src/cargo.rs")).unwrap();
    for package in ["conure-server", "conure-member"] {
        assert!(
            !everything.contains(&format!("{package}/{}", "planted-bugs")),
            "{package} has its planted bugs"
        );
    }
}

/// A fenced shell block of a page, with the line before it.
fn shell_blocks(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<_> = text.lines().collect();
    let mut inside = false;
    let mut blocks = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        if !inside && matches!(language.trim(), "sh" | "bash" | "console" | "shell") {
            let before = lines[..at].iter().rev().find(|line| !line.trim().is_empty());
            blocks.push((at + 1, before.map_or(String::new(), |line| line.trim().to_owned())));
        }
        inside = !inside;
    }
    blocks
}

#[test]
fn every_documented_command_is_run_or_says_why_not() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (name, text) in files(&["README.md", ".md"]) {
        if name != "README.md" && !name.starts_with("docs/") {
            continue;
        }
        for (line, marker) in shell_blocks(&text) {
            seen += 1;
            let run_by = marker.strip_prefix("<!-- run by: ").and_then(|rest| rest.strip_suffix(" -->"));
            let not_run = marker.strip_prefix("<!-- not run: ").and_then(|rest| rest.strip_suffix(" -->"));
            match (run_by, not_run) {
                (Some(test), _) => match fs::read_to_string(root().join(test)) {
                    Ok(source) if source.contains(&name) => {}
                    Ok(_) => wrong.push(format!("{name}:{line}: {test} does not read {name}")),
                    Err(_) => wrong.push(format!("{name}:{line}: {test} is not there")),
                },
                (None, Some(reason)) if !reason.trim().is_empty() => {}
                _ => wrong.push(format!(
                    "{name}:{line}: neither `<!-- run by: TEST -->` nor `<!-- not run: REASON -->` before it"
                )),
            }
        }
    }
    assert!(seen > 0, "found no shell block at all");
    assert_none(&wrong, "a shell block in the docs is run by a test that reads the page, or says why not");
}

/// The names of tests on the page of capabilities: words in backticks with two underscores or more.
fn named_tests(page: &str) -> Vec<&str> {
    page.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 1).collect()
}

#[test]
fn every_test_that_the_capabilities_name_is_there() {
    let page = fs::read_to_string(root().join("docs/capabilities.md")).unwrap();
    let sources = files(&[".rs"]);
    let named = named_tests(&page);
    assert!(named.len() > 50, "only {} names were found", named.len());
    let missing: Vec<String> = named
        .into_iter()
        // Pages of others that were looked at.
        .filter(|name| !matches!(*name, "operator_capability_levels"))
        .filter(|name| {
            let (function, word) = (format!("fn {name}("), format!("\"{name}\""));
            !sources.iter().any(|(_, text)| text.contains(&function) || text.contains(&word))
        })
        .map(str::to_owned)
        .collect();
    assert_none(&missing, "docs/capabilities.md names tests that are not there");
}
