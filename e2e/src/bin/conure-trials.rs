//! What takes longer than a test: benchmarks of the operator, and chaos. `cargo xtask bench operator` and `cargo xtask chaos`
//! start it and set its environment.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use conure_e2e::bare::{Stage, enter};
use conure_e2e::bench::many;
use conure_e2e::scenario::{Settings, World, chaos, procedures};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let words: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| -> Result<u64> {
        words.get(at).context("a number is missing")?.parse().context("not a number")
    };
    match words.first().map(String::as_str) {
        Some("many") => match enter()? {
            Some(ended) => Ok(ended),
            None => play_many(u32::try_from(number(1)?)?, i32::try_from(number(2)?)?),
        },
        Some("procedures") => {
            let runtime = Runtime::new()?;
            let rows = runtime.block_on(async {
                let mut world = World::new(Settings::from_env()?).await?;
                procedures(&mut world).await
            })?;
            answer(&rows)
        }
        Some("chaos") => {
            let (minutes, seed) = (number(1)?, number(2)?);
            let runtime = Runtime::new()?;
            let line = runtime.block_on(async {
                let mut world = World::new(Settings::from_env()?).await?;
                chaos(&mut world, Duration::from_secs(minutes * 60), seed).await
            })?;
            say(&line);
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("give many CLUSTERS MEMBERS, procedures, or chaos MINUTES SEED"),
    }
}

fn play_many(clusters: u32, members: i32) -> Result<ExitCode> {
    let path =
        |name: &str| env::var_os(name).map(PathBuf::from).with_context(|| format!("{name} is not set"));
    let (tools, program) = (path("CONURE_E2E_TOOLS")?, path("CONURE_E2E_OPERATOR")?);
    let folder = path("CONURE_E2E_OUTPUT")?.join("bare");
    let checkout = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let rows = Runtime::new()?.block_on(async {
        let stage = Stage::open(&folder, &tools, &checkout, &program).await?;
        many(&stage, clusters, members, &|text| eprintln!("  {text}")).await
    })?;
    answer(&rows)
}

/// The rows, as JSON in the file that `CONURE_BENCH_ROWS` names.
fn answer(rows: &[conure_e2e::bench::Row]) -> Result<ExitCode> {
    say(&conure_e2e::bench::markdown(rows));
    if let Some(file) = env::var_os("CONURE_BENCH_ROWS") {
        std::fs::write(&file, serde_json::to_vec_pretty(rows)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the answer of this program")]
fn say(text: &str) {
    println!("{text}");
}
