//! buildah, with a storage of its own, so that nobody else's images are touched.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::cluster::paths;
use crate::process::output;

const LIMIT: Duration = Duration::from_mins(5);

/// A buildah command.
pub(super) fn buildah() -> Result<Command> {
    let home = paths::cache()?.join("buildah");
    fs::create_dir_all(&home)?;
    let mut command = Command::new("buildah");
    command.arg("--root").arg(home.join("storage")).arg("--runroot").arg(home.join("run"));
    // vfs needs nothing of the kernel; the images are small.
    command.args(["--storage-driver", "vfs"]);
    Ok(command)
}

/// Begins a build's arguments: no daemon and no nested containers, only a chroot.
pub(super) fn build(tag: &str, dockerfile: &Path) -> Result<Command> {
    let mut command = buildah()?;
    command.args(["bud", "--isolation=chroot", "--pull=never", "--tag", tag, "--file"]).arg(dockerfile);
    Ok(command)
}

/// Whether an image is in the storage.
pub(super) fn exists(tag: &str) -> Result<bool> {
    Ok(output(buildah()?.args(["inspect", "--type", "image", "--format", "{{.FromImageID}}", tag]), LIMIT)
        .is_ok())
}

/// Writes an image to an archive that containerd can import.
pub(super) fn export(tag: &str, archive: &Path) -> Result<()> {
    output(
        buildah()?.args(["push", "--quiet", tag, &format!("oci-archive:{}:{tag}", archive.display())]),
        LIMIT,
    )?;
    Ok(())
}

/// Forgets an image; one that is not there is no error.
pub(super) fn remove(tag: &str) -> Result<()> {
    // Whatever the reason, a leftover only costs space.
    let _ = output(buildah()?.args(["rmi", "--force", tag]), LIMIT);
    Ok(())
}
