//! What the tests are told by their environment.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// Where the tests run and with what.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `KUBECONFIG`: the Kubernetes, one file.
    pub kubeconfig: PathBuf,
    /// `CONURE_E2E_INSTANCE`: the local Kubernetes of that name, if it is one; only there can nodes be cut off and
    /// processes be stopped.
    pub instance: Option<String>,
    /// `CONURE_E2E_TOOLS`: the folder of `kubectl` and `helm`; unset takes those of the PATH.
    pub tools: Option<PathBuf>,
    /// `CONURE_E2E_SERVER_IMAGE`: `REPOSITORY:TAG`.
    pub server_image: ImageName,
    /// `CONURE_E2E_OPERATOR_IMAGE`: `REPOSITORY:TAG`, built with the operator's feature `failpoints`.
    pub operator_image: ImageName,
    /// `CONURE_E2E_PLUGIN`: the program `kubectl-conure`.
    pub plugin: Option<PathBuf>,
    /// `CONURE_E2E_OUTPUT`: the folder for the history; unset takes the temporary one.
    pub output: PathBuf,
    /// The checkout, for charts and manifests.
    pub checkout: PathBuf,
}

/// An image's name in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// All before the tag.
    pub repository: String,
    /// The tag.
    pub tag: String,
}

impl std::str::FromStr for ImageName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (repository, tag) =
            text.rsplit_once(':').with_context(|| format!("{text:?} is no REPOSITORY:TAG"))?;
        ensure!(
            !repository.is_empty() && !tag.is_empty() && !tag.contains('/'),
            "{text:?} is no REPOSITORY:TAG"
        );
        Ok(Self { repository: repository.to_owned(), tag: tag.to_owned() })
    }
}

impl Settings {
    /// Reads the environment; an error names the variable.
    pub fn from_env() -> Result<Self> {
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let image = |name: &str| -> Result<ImageName> {
            let text = env::var(name).with_context(|| format!("{name} is not set: give REPOSITORY:TAG"))?;
            text.parse().with_context(|| name.to_owned())
        };
        Ok(Self {
            kubeconfig: path("KUBECONFIG").context("KUBECONFIG is not set: give the path of a kubeconfig")?,
            instance: env::var("CONURE_E2E_INSTANCE").ok().filter(|name| !name.is_empty()),
            tools: path("CONURE_E2E_TOOLS"),
            server_image: image("CONURE_E2E_SERVER_IMAGE")?,
            operator_image: image("CONURE_E2E_OPERATOR_IMAGE")?,
            plugin: path("CONURE_E2E_PLUGIN"),
            output: path("CONURE_E2E_OUTPUT").unwrap_or_else(env::temp_dir),
            checkout: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_split_at_its_tag() {
        let image: ImageName = "localhost:5000/conuredb/server:v1".parse().unwrap();
        assert_eq!((image.repository.as_str(), image.tag.as_str()), ("localhost:5000/conuredb/server", "v1"));
        for bad in ["server", "localhost:5000/server", ":v1", "server:"] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }
}
