//! Images as a Dockerfile builds them by itself, its stage `build` included, in a container with this machine's
//! toolchain and downloaded packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::base::Base;
use super::buildah;
use crate::cluster::paths;
use crate::process::{output, run_lines};

/// A build of everything from nothing.
const LIMIT: Duration = Duration::from_mins(45);

/// In place of the official image of Rust: what rustc needs to link, and the allocator's C code to be configured. The toolchain
/// itself is mounted.
const RUST_BASE: Base = Base {
    name: "base-rust",
    packages: "base-files,ca-certificates,coreutils,dash,diffutils,findutils,gcc,grep,libc6-dev,make,mawk,sed",
    dockerfile: "RUN [\"/bin/ln\", \"-s\", \"gcc\", \"/usr/bin/cc\"]
RUN [\"/bin/ln\", \"-s\", \"mawk\", \"/usr/bin/awk\"]
ENV CARGO_HOME=/usr/local/cargo
ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
",
};

/// A build from source.
#[derive(Debug)]
pub struct Source<'a> {
    /// The checkout; only files that git knows enter the build.
    pub checkout: &'a Path,
    /// A Dockerfile in it.
    pub dockerfile: &'a str,
    /// In place of the public base of the last stage.
    pub base: Base,
}

impl Source<'_> {
    /// Builds the image, all its stages, and forgets it again; `at` hears how far it is.
    pub fn build(&self, at: impl Fn(&str)) -> Result<()> {
        let (rust, base) = (RUST_BASE.ensure()?, self.base.ensure()?);
        let work = paths::cache()?.join("build-stage");
        let context = work.join("checkout");
        self.copy(&context)?;
        // Both images compile much of the same: the second one finds it there, as does the next run.
        let target = work.join("target");
        fs::create_dir_all(&target)?;
        let tag = "localhost/conuredb/build-stage:test";
        let mut command = buildah::build(tag, &context.join(self.dockerfile))?;
        command.args([
            "--build-arg",
            &format!("RUST_IMAGE={rust}"),
            "--build-arg",
            &format!("RUNTIME_IMAGE={base}"),
        ]);
        command.args(["--build-arg", "PROFILE=dev"]);
        for (folder, place, mode) in [
            (sysroot(self.checkout)?, "/usr/local/rust", "ro"),
            (registry()?, "/usr/local/cargo/registry", "rw"),
            (target, "/target", "rw"),
        ] {
            command.arg("--volume").arg(format!("{}:{place}:{mode}", folder.display()));
        }
        let log = paths::cache()?.join("log/build-stage.log");
        run_lines(command.arg(&context), &log, LIMIT, |line| at(line.trim()))?;
        buildah::remove(tag)?;
        fs::remove_dir_all(&context)?;
        Ok(())
    }

    /// What a clean checkout of the present state would hold.
    fn copy(&self, to: &Path) -> Result<()> {
        let _ = fs::remove_dir_all(to);
        fs::create_dir_all(to).with_context(|| to.display().to_string())?;
        let copy = r#"cd "$0" && git ls-files -z | tar --null --files-from=- --ignore-failed-read -cf - | tar -C "$1" -xf -"#;
        output(Command::new("sh").args(["-c", copy]).arg(self.checkout).arg(to), LIMIT)?;
        Ok(())
    }
}

fn sysroot(checkout: &Path) -> Result<PathBuf> {
    let path = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(checkout), LIMIT)?;
    Ok(path.trim_end().into())
}

fn registry() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registry = home.context("neither CARGO_HOME nor HOME is set")?.join("registry");
    fs::create_dir_all(&registry)?;
    Ok(registry)
}
