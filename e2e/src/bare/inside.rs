//! Network and process namespaces for one program and all that it starts: every port is free there, and nothing outlives it.

use std::env;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

/// Set for the program inside.
const MARK: &str = "CONURE_BARE_INSIDE";

/// The shell stays, so that signals meet a program that is not the first process, which would ignore them.
const SCRIPT: &str = r#"ip link set lo up || exit 1; "$0" "$@"; exit $?"#;

/// Runs this very program again inside, and answers how it ended; `None` where this is the inside. Needs root.
pub fn enter() -> Result<Option<ExitCode>> {
    if env::var_os(MARK).is_some() {
        return Ok(None);
    }
    let program = env::current_exe().context("this program's own file")?;
    let status = Command::new("unshare")
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", SCRIPT])
        .arg(program)
        .args(env::args_os().skip(1))
        .env(MARK, "1")
        .status()
        .context("unshare, of the package util-linux, cannot be started")?;
    Ok(Some(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)))
}
