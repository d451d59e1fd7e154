//! Running cargo: always with the same packages and features, so that nothing is compiled twice, and with the tests'
//! closing lines passed on and counted.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use conure_e2e::process::run_lines;
use conure_e2e::progress::Step;

/// With these every crate is compiled once for lints and once for tests, images and end-to-end tests together.
const EVERYTHING: [&str; 4] = [
    "--locked",
    "--workspace",
    "--features",
    "conure-e2e/e2e,conure-operator/failpoints,conure-crd/api-server,conure-server/root-tests,conure-btree/root-tests,conure-proof/planted-bugs",
];

/// A cold build of everything takes minutes on a small machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(60);

/// The checkout.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root().join(folder)
}

/// Where cargo puts the programs that it builds.
pub(crate) fn binaries() -> PathBuf {
    target().join("debug")
}

/// Where what the checks leave behind is kept.
pub(crate) fn logs() -> PathBuf {
    target().join("xtask")
}

/// The log of one check.
fn log(name: &str) -> PathBuf {
    logs().join(format!("{name}.log"))
}

/// Cargo, or a program that calls it, in the checkout. The cargo that runs this program told it of its package; to a build script
/// below that asks for the same variables, and does not get them in a build by hand, everything would look changed.
pub(crate) fn compiler(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env("CARGO_TERM_COLOR", "never");
    let of_package =
        |name: &str| ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|begin| name.starts_with(begin));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package)) {
        command.env_remove(name);
    }
    command
}

/// A cargo command in the checkout.
pub(crate) fn plain(subcommand: &str) -> Command {
    let mut command = compiler("cargo");
    command.arg(subcommand);
    command
}

/// A cargo command for the whole workspace.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = plain(subcommand);
    command.args(EVERYTHING);
    command
}

/// Runs a cargo command; its lines say how far it is.
pub(crate) fn run(command: &mut Command, name: &str, step: &Step) -> Result<()> {
    run_lines(command, &fresh_log(name)?, LIMIT, |line| step.at(line.trim()))
}

/// Runs tests; what their programs' closing lines add up to is the value.
pub(crate) fn test(command: &mut Command, name: &str, step: &Step) -> Result<Tally> {
    let mut tally = Tally::default();
    let ran = run_lines(command, &fresh_log(name)?, LIMIT, |line| {
        if line.starts_with("test result:") {
            pass_on(line);
            tally.add(line);
        } else {
            step.at(line.trim());
        }
    });
    // Which ones failed is in the middle of the log, and its end does not say.
    ran.with_context(|| failures(name))?;
    Ok(tally)
}

fn failures(name: &str) -> String {
    let text = std::fs::read_to_string(log(name)).unwrap_or_default();
    let failed: Vec<&str> =
        text.lines().filter(|line| line.starts_with("test ") && line.ends_with("FAILED")).collect();
    if failed.is_empty() { format!("{name} failed") } else { failed.join("; ") }
}

#[expect(clippy::print_stdout, reason = "readers of the log look for these lines as the harness wrote them")]
fn pass_on(line: &str) {
    println!("{line}");
}

/// The log of a check, empty.
fn fresh_log(name: &str) -> Result<PathBuf> {
    let path = log(name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(path),
    }
}

/// What the closing lines of test programs add up to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    programs: u64,
    pub(crate) passed: u64,
    failed: u64,
    ignored: u64,
    filtered: u64,
}

impl Tally {
    /// Adds a line like `test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
    fn add(&mut self, line: &str) {
        self.programs += 1;
        for part in line.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                "filtered" => self.filtered += count,
                _ => {}
            }
        }
    }

    /// None may fail, be ignored or filtered out.
    pub(crate) fn judge(self) -> Result<()> {
        ensure!(self.failed == 0, "{} tests failed", self.failed);
        ensure!(self.ignored == 0, "{} tests were ignored: every test has to run", self.ignored);
        ensure!(self.filtered == 0, "{} tests were filtered out: every test has to run", self.filtered);
        ensure!(self.passed > 0, "no test ran");
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tests", self.passed)?;
        for (count, what) in [(self.ignored, "left out"), (self.filtered, "filtered out")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.add(line));
        tally
    }

    #[test]
    fn closing_lines_add_up() {
        let both = tally(&[
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: ok. 39 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s",
        ]);
        assert_eq!(both, Tally { programs: 2, passed: 42, ..Tally::default() });
        both.judge().unwrap();
    }

    #[test]
    fn a_run_that_left_a_test_out_does_not_pass() {
        for part in [
            "1 failed; 0 ignored; 0 measured; 0",
            "0 failed; 2 ignored; 0 measured; 0",
            "0 failed; 0 ignored; 0 measured; 3",
        ] {
            let line = format!("test result: ok. 3 passed; {part} filtered out; finished in 0.00s");
            assert!(tally(&[&line]).judge().is_err(), "{line}");
        }
        assert_eq!(tally(&[]).judge().unwrap_err().to_string(), "no test ran");
    }
}
