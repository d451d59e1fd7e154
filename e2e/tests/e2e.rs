//! The end-to-end tests: one cluster on a real Kubernetes, step after step, while clients write and read.
//!
//! `cargo xtask e2e` starts or finds the Kubernetes, builds the images and sets the environment that
//! `conure_e2e::scenario::Settings` reads. The steps run in their order, one at a time; words choose some of them,
//! which then run on the operator and the cluster that an earlier run left.

#![expect(clippy::print_stdout, reason = "a test program's report")]

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use conure_e2e::scenario::{STEPS, Settings, Step, World};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

/// What all trials share; a failed set-up fails every one of them with its reason.
struct Shared {
    runtime: Runtime,
    world: Mutex<World>,
}

fn main() -> ExitCode {
    // The harness takes one filter; here each word chooses steps.
    let (flags, words): (Vec<String>, Vec<String>) = std::env::args().partition(|word| word.starts_with('-'));
    let words = words.get(1..).unwrap_or_default();
    let chosen =
        |step: &&Step| words.is_empty() || words.iter().any(|word| step.name.contains(word.as_str()));
    let steps: Vec<&'static Step> = STEPS.iter().filter(chosen).collect();
    let mut arguments = Arguments::from_iter(["e2e".to_owned()].into_iter().chain(flags));
    // The steps build on each other.
    arguments.test_threads = Some(1);
    if arguments.list {
        return run(&arguments, steps.iter().map(|step| Trial::test(step.name, || Ok(()))).collect());
    }
    match set_up() {
        Ok((shared, local)) => {
            let trial = |step: &'static Step| {
                let shared = Arc::clone(&shared);
                Trial::test(step.name, move || shared.step(step)).with_ignored_flag(step.local && !local)
            };
            run(&arguments, steps.into_iter().map(trial).collect())
        }
        Err(error) => {
            eprintln!("the end-to-end tests cannot run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, trials: Vec<Trial>) -> ExitCode {
    libtest_mimic::run(arguments, trials).exit_code()
}

fn set_up() -> anyhow::Result<(Arc<Shared>, bool)> {
    let settings = Settings::from_env()?;
    let local = settings.instance.is_some();
    let runtime = Runtime::new()?;
    let world = runtime.block_on(World::new(settings))?;
    Ok((Arc::new(Shared { runtime, world: Mutex::new(world) }), local))
}

impl Shared {
    fn step(&self, step: &Step) -> Result<(), Failed> {
        // A step that panicked has left nothing half changed in here: the world is the cluster.
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        let outcome = self.runtime.block_on(async {
            world.prepare(step).await?;
            (step.run)(&mut world).await
        });
        println!("    {} took {:.1} s", step.name, began.elapsed().as_secs_f64());
        outcome.map_err(|error| Failed::from(format!("{error:#}")))
    }
}
