//! The project's two images, from its Dockerfiles and the binaries that cargo built.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use conure_e2e::cluster::images::base::Base;
use conure_e2e::cluster::images::build::{Built, Image};
use conure_e2e::cluster::images::source::Source;
use conure_e2e::cluster::packages;
use conure_e2e::progress::step;

use crate::cargo::{self, root};

/// In place of a Debian image with curl. Without maintainer scripts there is no shell link and no certificate bundle yet.
const SERVER_BASE: Base = Base {
    name: "base-server",
    packages: "base-files,coreutils,dash,libc6,libgcc-s1,ca-certificates,curl",
    dockerfile: "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
};

/// In place of the distroless image for C and Rust programs.
const OPERATOR_BASE: Base =
    Base { name: "base-operator", packages: "base-files,libc6,libgcc-s1,ca-certificates", dockerfile: "" };

/// The Dockerfiles, by their paths in the checkout.
const DOCKERFILES: [&str; 2] = ["Dockerfile.server", "Dockerfile.operator"];

/// Builds both images as someone with nothing but the checkout would, all stages in containers.
fn build_from_source() -> Result<()> {
    for (dockerfile, base) in DOCKERFILES.into_iter().zip([SERVER_BASE, OPERATOR_BASE]) {
        let source = Source { checkout: root(), dockerfile, base };
        step(format!("compiling inside a container, as {dockerfile} says"), |step| {
            source.build(|line| step.at(line))
        })?;
    }
    Ok(())
}

/// Both images.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) server: Built,
    pub(crate) operator: Built,
}

impl Images {
    /// Builds what changed since the last time, from the binaries in `folder`.
    pub(crate) fn ensure(folder: &Path) -> Result<Self> {
        let server = Image {
            name: "server",
            dockerfile: &root().join(DOCKERFILES[0]),
            binaries: &[folder.join("conure-db"), folder.join("repl")],
            base: SERVER_BASE,
        };
        let operator = Image {
            name: "operator",
            dockerfile: &root().join(DOCKERFILES[1]),
            binaries: &[folder.join("conure-operator")],
            base: OPERATOR_BASE,
        };
        Ok(Self { server: server.ensure()?, operator: operator.ensure()? })
    }

    /// The archives, for import.
    pub(crate) fn archives(&self) -> [PathBuf; 2] {
        [self.server.archive.clone(), self.operator.archive.clone()]
    }
}

/// `cargo xtask images`: builds them and says what they are called and where their archives are.
#[expect(clippy::print_stdout, reason = "the names are this program's answer")]
pub(crate) fn run(folder: Option<PathBuf>) -> Result<ExitCode> {
    packages::ensure(&packages::NEEDED)?;
    packages::ensure(&packages::NEEDED_FOR_IMAGES)?;
    let images = Images::ensure(&folder.unwrap_or_else(cargo::binaries))?;
    for image in [&images.server, &images.operator] {
        println!("{} {}", image.reference(), image.archive.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask images --from-source`.
pub(crate) fn try_from_source() -> Result<ExitCode> {
    packages::ensure(&packages::NEEDED)?;
    packages::ensure(&packages::NEEDED_FOR_IMAGES)?;
    build_from_source()?;
    Ok(ExitCode::SUCCESS)
}
