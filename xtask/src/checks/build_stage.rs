//! The Dockerfiles as others build them: their stage `build` compiles a clean checkout inside a container. Only the base
//! images are local ones, because a machine without a registry cannot pull the public ones.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use conure_e2e::cluster::images::digest;
use conure_e2e::cluster::paths;

use crate::cargo::root;
use crate::images::{self, DOCKERFILES};
use crate::report::Report;

pub(super) const NAME: &str = "Dockerfiles' build stage";

pub(super) fn check(report: &mut Report) {
    report.stage(NAME, || {
        let stamp = stamp()?;
        if stamp.exists() {
            return Ok((
                (),
                format!("passed before with these Dockerfiles and Cargo.lock ({})", stamp.display()),
            ));
        }
        images::build_from_source()?;
        fs::write(&stamp, "passed\n").with_context(|| stamp.display().to_string())?;
        Ok(((), String::new()))
    });
}

/// A file that is there once this has passed with the present Dockerfiles and locked packages.
fn stamp() -> Result<PathBuf> {
    let mut texts = Vec::new();
    for file in DOCKERFILES.into_iter().chain(["Cargo.lock", ".dockerignore"]) {
        let path = root().join(file);
        texts.push(fs::read_to_string(&path).with_context(|| path.display().to_string())?);
    }
    let folder = paths::cache()?.join("build-stage");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder.join(digest::short(texts.iter().map(String::as_str))))
}
