//! Base images from Debian packages, in place of the public ones that a machine without a registry cannot pull.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{buildah, digest};
use crate::cluster::paths;
use crate::process::run;
use crate::progress::step;

const LIMIT: Duration = Duration::from_mins(10);

/// A base image.
#[derive(Debug, Clone, Copy)]
pub struct Base {
    /// What it is called.
    pub name: &'static str,
    /// The packages in it, separated by commas; what they depend on comes along.
    pub packages: &'static str,
    /// Lines after `FROM` that make of the unpacked packages an image: they were unpacked, not configured.
    pub dockerfile: &'static str,
}

impl Base {
    /// The image's name; it is made first if it is not in the storage yet.
    pub fn ensure(&self) -> Result<String> {
        let release = release()?;
        let version = digest::short([self.packages, self.dockerfile, &release]);
        let tag = format!("localhost/conuredb/{}:{version}", self.name);
        if !buildah::exists(&tag)? {
            step(format!("making the base image {} from Debian packages", self.name), |_| {
                self.make(&tag, &release)
            })?;
        }
        Ok(tag)
    }

    fn make(&self, tag: &str, release: &str) -> Result<()> {
        let work = paths::cache()?.join("images").join(format!("base-{}", self.name));
        let log = paths::cache()?.join("log/images.log");
        // What an interrupted run left would be packed too.
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--variant=extract", &format!("--include={}", self.packages), release]);
        run(mmdebstrap.arg(work.join("base.tar")), &log, LIMIT)?;
        let dockerfile = work.join("Dockerfile");
        fs::write(&dockerfile, format!("FROM scratch\nADD base.tar /\n{}", self.dockerfile))?;
        run(buildah::build(tag, &dockerfile)?.arg(&work), &log, LIMIT)?;
        fs::remove_dir_all(&work).with_context(|| work.display().to_string())
    }
}

/// The machine's Debian release: what was linked here runs there.
fn release() -> Result<String> {
    let path = Path::new("/etc/os-release");
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name
        .context("no VERSION_CODENAME in /etc/os-release: is this a Debian?")?
        .trim_matches('"')
        .to_owned())
}
