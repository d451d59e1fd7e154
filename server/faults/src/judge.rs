//! The verdict: porcupine on every key, and what holds for the store as a whole.

mod lost;
mod revisions;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use conure_e2e::history;
use conure_e2e::process::output;
use serde::Deserialize;

/// How long porcupine may think.
const LIMIT: Duration = Duration::from_mins(10);

/// What porcupine says.
#[derive(Debug, Deserialize)]
struct Porcupine {
    keys: usize,
    illegal: Vec<String>,
    unjudged: Vec<String>,
}

/// What is wrong with a history; nothing where it is linearizable.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Sentences, each about one thing.
    pub(crate) violations: Vec<String>,
    /// Acknowledged writes that are not there at the end.
    pub(crate) lost: u64,
    /// How many keys there were.
    pub(crate) keys: usize,
}

/// Judges the history in `path`; a drawing of what is wrong goes beside it.
pub(crate) fn judge(program: &Path, path: &Path) -> Result<Verdict> {
    let mut command = Command::new(program);
    command.arg("--page").arg(path.with_extension("html"));
    command.arg("--limit").arg(format!("{}s", LIMIT.as_secs())).arg(path);
    let said = output(&mut command, LIMIT + Duration::from_mins(1))?;
    let said: Porcupine = serde_json::from_str(&said).context("the judge said something unexpected")?;
    let records = history::read(path)?;
    let mut verdict = Verdict { keys: said.keys, ..Verdict::default() };
    verdict.violations.extend(said.illegal.iter().map(|key| format!("{key} is not linearizable")));
    verdict.violations.extend(
        said.unjudged.iter().map(|key| format!("{key} could not be judged in {} s", LIMIT.as_secs())),
    );
    verdict.violations.extend(revisions::check(&records));
    let lost = lost::check(&records);
    verdict.lost = lost.len() as u64;
    verdict.violations.extend(lost);
    Ok(verdict)
}
