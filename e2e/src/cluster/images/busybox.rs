//! The small image that every node needs (it is both the pods' pause container and the shell of volume helpers), made
//! of Debian's static busybox.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::digest::sha256;
use crate::process::output;

/// The image's name.
pub const NAME: &str = "localhost/conuredb/busybox:local";

const PROGRAM: &str = "/bin/busybox";
const LIMIT: Duration = Duration::from_mins(1);

/// Writes the archive of the small image below `folder` and answers its path.
pub fn archive(folder: &Path) -> Result<PathBuf> {
    let work = folder.join("busybox-image");
    let bin = work.join("root/bin");
    fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
    fs::create_dir_all(work.join("root/tmp"))?;
    fs::copy(PROGRAM, bin.join("busybox")).context("copying /bin/busybox of the package busybox-static")?;
    for applet in
        output(Command::new(PROGRAM).arg("--list"), LIMIT)?.lines().filter(|name| *name != "busybox")
    {
        symlink("busybox", bin.join(applet))?;
    }
    let layer = work.join("layer.tar");
    tar(&work.join("root"), &layer, &["."])?;

    let diff = sha256(&layer)?;
    let config = serde_json::json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/busybox", "sleep", "infinity"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
    });
    fs::write(work.join("config.json"), config.to_string())?;
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]);
    fs::write(work.join("manifest.json"), manifest.to_string())?;
    let archive = folder.join("busybox.tar");
    tar(&work, &archive, &["manifest.json", "config.json", "layer.tar"])?;
    fs::remove_dir_all(&work)?;
    Ok(archive)
}

fn tar(folder: &Path, archive: &Path, names: &[&str]) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"]);
    output(command.arg("-C").arg(folder).arg("-cf").arg(archive).args(names), LIMIT)?;
    Ok(())
}

/// The machine's architecture as image configurations name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
