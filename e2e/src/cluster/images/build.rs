//! Images from a Dockerfile whose first stage, `build`, is replaced by binaries that cargo built on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::base::Base;
use super::{buildah, digest};
use crate::cluster::lock::Lock;
use crate::cluster::paths;
use crate::process::{output, run};
use crate::progress::step;

const LIMIT: Duration = Duration::from_mins(10);
const PATIENCE: Duration = Duration::from_mins(20);

/// How many archives of one image are kept: the newest.
const KEPT: usize = 3;

/// What an image is made of.
#[derive(Debug)]
pub struct Image<'a> {
    /// Its name after `localhost/conuredb/`.
    pub name: &'a str,
    /// Its Dockerfile.
    pub dockerfile: &'a Path,
    /// What the stage `build` leaves in `/out`.
    pub binaries: &'a [PathBuf],
    /// In place of its public base image.
    pub base: Base,
}

/// An image that nodes can import.
#[derive(Debug, Clone)]
pub struct Built {
    /// All before the tag.
    pub repository: String,
    /// Changes with the content, so `IfNotPresent` is right.
    pub tag: String,
    /// Where it is.
    pub archive: PathBuf,
}

impl Built {
    /// `REPOSITORY:TAG`.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

impl Image<'_> {
    /// The image; it is built first if nothing with this content was built before.
    pub fn ensure(&self) -> Result<Built> {
        let all = paths::cache()?.join("images");
        let _lock = Lock::take(&all.join("lock"), "the build of images", PATIENCE)?;
        let stage = all.join(format!("stage-{}", self.name));
        let _ = fs::remove_dir_all(&stage);
        let digests = self.strip(&stage.join("out"))?;
        let text =
            fs::read_to_string(self.dockerfile).with_context(|| self.dockerfile.display().to_string())?;
        let mut parts = vec![text.as_str(), self.base.packages, self.base.dockerfile];
        parts.extend(digests.iter().map(String::as_str));
        let tag = digest::short(parts);
        let archive = all.join(format!("{}-{tag}.tar", self.name));
        let built = Built { repository: format!("localhost/conuredb/{}", self.name), tag, archive };
        if !built.archive.exists() {
            let base = self.base.ensure()?;
            step(format!("building the image {}", built.reference()), |_| self.build(&built, &base, &stage))?;
        }
        fs::remove_dir_all(&stage)?;
        // Its time says when it was last of use.
        fs::File::options().append(true).open(&built.archive)?.set_modified(SystemTime::now())?;
        prune(&all, self.name)?;
        Ok(built)
    }

    /// Copies the binaries without what only a debugger reads, which is most of them; answers their digests.
    fn strip(&self, out: &Path) -> Result<Vec<String>> {
        fs::create_dir_all(out).with_context(|| out.display().to_string())?;
        let mut digests = Vec::new();
        for binary in self.binaries {
            let name = binary.file_name().with_context(|| format!("{} is no file", binary.display()))?;
            let stripped = out.join(name);
            output(Command::new("strip").arg("--strip-debug").arg("-o").arg(&stripped).arg(binary), LIMIT)?;
            digests.push(digest::sha256(&stripped)?);
        }
        Ok(digests)
    }

    fn build(&self, built: &Built, base: &str, stage: &Path) -> Result<()> {
        let reference = built.reference();
        let context = stage.join("context");
        fs::create_dir_all(&context)?;
        let mut command = buildah::build(&reference, self.dockerfile)?;
        command.arg("--build-context").arg(format!("build={}", stage.display()));
        command.arg("--build-arg").arg(format!("RUNTIME_IMAGE={base}")).arg(&context);
        run(&mut command, &paths::cache()?.join("log/images.log"), LIMIT)?;
        let fresh = built.archive.with_extension("new");
        let _ = fs::remove_file(&fresh);
        buildah::export(&reference, &fresh)?;
        buildah::remove(&reference)?;
        fs::rename(&fresh, &built.archive).with_context(|| built.archive.display().to_string())
    }
}

/// Removes all but the newest archives of an image.
fn prune(folder: &Path, name: &str) -> Result<()> {
    let mut archives: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let tag = file
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(".tar"));
        if tag.is_some_and(|tag| !tag.contains('-')) {
            archives.push((path.metadata()?.modified()?, path));
        }
    }
    archives.sort();
    let surplus = archives.len().saturating_sub(KEPT);
    for (_, path) in archives.drain(..surplus) {
        fs::remove_file(&path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_archives_of_the_same_image_stay() {
        let folder = tempfile::tempdir().unwrap();
        let mut time = SystemTime::UNIX_EPOCH;
        for name in ["a-1.tar", "a-2.tar", "a-3.tar", "a-4.tar", "a-b-1.tar", "b-1.tar", "a-5.new"] {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            time += Duration::from_secs(1);
            file.set_modified(time).unwrap();
        }
        prune(folder.path(), "a").unwrap();
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a-2.tar", "a-3.tar", "a-4.tar", "a-5.new", "a-b-1.tar", "b-1.tar"]);
    }
}
