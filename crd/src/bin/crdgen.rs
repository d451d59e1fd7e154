//! Writes the files that are made from this crate: run it after a change to the resource, and commit what it wrote.
//!
//! With the feature `charts`, and helm on the path or in `CONURE_HELM`, it writes the charts' README pages, the operator's plain
//! manifest and the bundle too.

#![warn(clippy::print_stderr)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use conure_crd::generated;

fn main() -> ExitCode {
    match write_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("crdgen: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A line that nobody reads is no reason not to write the files.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn write_all() -> Result<(), Box<dyn std::error::Error>> {
    // The files belong to the checkout that this program was built from, wherever it is started.
    let top: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (path, content) in generated::files()? {
        write(&top, path, &content)?;
    }
    // After the definition: the chart is rendered with the copy just written.
    #[cfg(feature = "charts")]
    {
        for (path, content) in conure_crd::charts::readmes()? {
            write(&top, &path, &content)?;
        }
        write(&top, conure_crd::charts::OPERATOR_MANIFEST, &conure_crd::charts::operator_manifest()?)?;
        for (path, content) in conure_crd::charts::bundle()? {
            write(&top, &path, &content)?;
        }
    }
    Ok(())
}

fn write(top: &Path, path: &str, content: &str) -> Result<(), String> {
    let file = top.join(path);
    let folder = file.parent().unwrap_or(top);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, content))
        .map_err(|error| format!("cannot write {path}: {error}"))?;
    say(&format!("wrote {path}"));
    Ok(())
}
