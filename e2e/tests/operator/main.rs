//! The operator against a real API server whose nodes and members are played: killed at every point, beside a second one, and
//! in all weathers. Needs root; `cargo xtask operator` sets the environment.

#![expect(clippy::print_stdout, reason = "a test program's report")]

/// A case of this name.
macro_rules! case {
    ($name:ident) => {
        (stringify!($name).to_owned(), Box::new(|stage| Box::pin($name(stage))))
    };
}

mod deaths;
mod definitions;
mod guards;
mod plugin;
mod rights;
mod versions;
mod weathers;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use conure_e2e::bare::{Stage, enter};
use futures::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

/// A named case.
type Case = (String, Box<dyn for<'a> Fn(&'a Stage) -> LocalBoxFuture<'a, Result<()>> + Send + Sync>);

fn main() -> ExitCode {
    let (flags, words): (Vec<String>, Vec<String>) = env::args().partition(|word| word.starts_with('-'));
    let words = words.get(1..).unwrap_or_default();
    let chosen = |(name, _): &Case| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let all = [
        deaths::cases(),
        weathers::cases(),
        guards::cases(),
        definitions::cases(),
        plugin::cases(),
        rights::cases(),
        versions::cases(),
    ];
    let cases: Vec<Case> = all.into_iter().flatten().filter(chosen).collect();
    let mut arguments = Arguments::from_iter(["operator".to_owned()].into_iter().chain(flags));
    arguments.test_threads = Some(1);
    if arguments.list {
        let names = cases.into_iter().map(|(name, _)| Trial::test(name, || Ok(())));
        return libtest_mimic::run(&arguments, names.collect()).exit_code();
    }
    match enter() {
        Ok(Some(ended)) => return ended,
        Ok(None) => {}
        Err(error) => {
            eprintln!("the operator's tests cannot run: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    let (runtime, stage) = match set_up() {
        Ok(both) => both,
        Err(error) => {
            eprintln!("the operator's tests cannot run: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let shared = Arc::new((runtime, Mutex::new(stage)));
    let trials = cases.into_iter().map(|(name, case)| {
        let shared = Arc::clone(&shared);
        Trial::test(name.clone(), move || {
            let began = Instant::now();
            let stage = shared.1.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = shared.0.block_on(async {
                stage.server.check()?;
                case(&stage).await
            });
            println!("    {name} took {:.1} s", began.elapsed().as_secs_f64());
            outcome.map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn set_up() -> Result<(Runtime, Stage)> {
    let path = |name: &str| env::var_os(name).map(PathBuf::from);
    let tools =
        path("CONURE_E2E_TOOLS").context("CONURE_E2E_TOOLS is not set: give the folder of kube-apiserver")?;
    let output = path("CONURE_E2E_OUTPUT").unwrap_or_else(env::temp_dir);
    let checkout = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let program =
        path("CONURE_E2E_OPERATOR").context("CONURE_E2E_OPERATOR is not set: give the operator's program")?;
    let runtime = Runtime::new()?;
    let stage = runtime.block_on(Stage::open(&output.join("bare"), &tools, &checkout, &program))?;
    Ok((runtime, stage))
}
