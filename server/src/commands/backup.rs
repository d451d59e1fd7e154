//! `conure-db backup`: a running member's snapshot, verified, in a file.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::Path;
use std::time::Duration;

use conure_client::{Client, ClientError};
use conure_member::offline::{BackupReader, BackupSummary};
use futures::StreamExt as _;
use indicatif::ProgressBar;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::args::BackupArgs;
use super::target::{self, Target};
use super::{CommandError, output, output_failed, progress};
use crate::signals::Signals;

/// How long the member may take to answer, or between two pieces of the backup.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a token may be.
const TOKEN_LEN_MAX: u64 = 4096;

pub(super) fn run(args: &BackupArgs) -> Result<(), CommandError> {
    let client = client(args)?;
    let file = match args.file.to_str() {
        Some("-") => {
            target::check_standard_output(false)?;
            None
        }
        _ => Some(Target::new(&args.file, args.force)?),
    };
    let mut unfinished = file.as_ref().map(Target::create).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::Failed(error.to_string()))?;
    let bar = progress::bytes("backed up", None);
    let fetched = match &mut unfinished {
        Some(unfinished) => runtime.block_on(fetch(&client, &mut unfinished.file, &bar)),
        None => to_standard_output(&runtime, &client, &bar),
    };
    bar.finish_and_clear();
    let summary = fetched?;
    if let Some(unfinished) = unfinished {
        unfinished.finish()?;
    }
    conure_program::say!(
        "backed up {} keys of cluster {} (incarnation {}), revision {}",
        output::count(summary.keys),
        summary.cluster_id,
        summary.incarnation,
        summary.revision
    );
    Ok(())
}

fn client(args: &BackupArgs) -> Result<Client, CommandError> {
    let mut builder = Client::builder().server(&args.url);
    if let Some(path) = args.admin_token_file.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        builder = builder.admin_token(token(path)?);
    }
    builder.build().map_err(|error| CommandError::Unusable(error.to_string()))
}

fn token(path: &Path) -> Result<String, CommandError> {
    let unusable = |reason: String| {
        let path = path.display().to_string();
        Err(CommandError::Unusable(format!(
            "--admin-token-file {path:?}: {reason}; name a file that holds the token"
        )))
    };
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(TOKEN_LEN_MAX).read_to_string(&mut text)) {
        Err(error) => unusable(error.to_string()),
        Ok(_) if text.trim().is_empty() => unusable("it is empty".to_owned()),
        Ok(_) => Ok(text.trim().to_owned()),
    }
}

fn to_standard_output(
    runtime: &tokio::runtime::Runtime,
    client: &Client,
    bar: &ProgressBar,
) -> Result<BackupSummary, CommandError> {
    let mut out = super::standard_output()?.lock();
    let summary = runtime.block_on(fetch(client, &mut out, bar))?;
    out.flush().map_err(output_failed)?;
    Ok(summary)
}

/// Streams the member's snapshot to `out` and verifies it on the way.
async fn fetch(
    client: &Client,
    out: &mut dyn Write,
    bar: &ProgressBar,
) -> Result<BackupSummary, CommandError> {
    let stopped = |by: &str| CommandError::Failed(format!("stopped by {by}; no backup was made"));
    let mut signals = Signals::new().map_err(|error| CommandError::Failed(error.to_string()))?;
    // With a handler, a file that grows beyond `ulimit -f` fails the write instead of ending the process without a word.
    let _too_large = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))
        .map_err(|error| CommandError::Failed(error.to_string()))?;
    tokio::select! {
        fetched = stream(client, out, bar) => fetched,
        signal = signals.next() => Err(stopped(signal)),
    }
}

async fn stream(
    client: &Client,
    out: &mut dyn Write,
    bar: &ProgressBar,
) -> Result<BackupSummary, CommandError> {
    let silent =
        |_| CommandError::Failed(format!("the member was silent for {PATIENCE:?}; no backup was made"));
    let refused = |error: ClientError| {
        let mend =
            if error.status() == Some(401) { "; name a file with it by --admin-token-file" } else { "" };
        CommandError::Failed(format!("no backup was made: {error}{mend}"))
    };
    let mut pieces =
        Box::pin(tokio::time::timeout(PATIENCE, client.snapshot()).await.map_err(silent)?.map_err(refused)?);
    let mut reader = BackupReader::default();
    // What arrives wrong is the member's or the network's fault, not the user's.
    let wrong = |error: conure_member::offline::OfflineError| {
        CommandError::Failed(format!("what the member sent cannot be used: {error}"))
    };
    while let Some(piece) = tokio::time::timeout(PATIENCE, pieces.next()).await.map_err(silent)? {
        let piece = piece.map_err(refused)?;
        reader.push(&piece).map_err(wrong)?;
        out.write_all(&piece)
            .map_err(|error| CommandError::Failed(format!("cannot write the backup: {error}")))?;
        bar.inc(piece.len() as u64);
    }
    reader.finish().map_err(wrong)
}
