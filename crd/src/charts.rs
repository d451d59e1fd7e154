//! The charts, rendered: the one place of this crate that runs a program (`helm`) and reads files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{generated, olm, readme};

/// Where the operator's plain manifest is, from the top of the repository.
pub const OPERATOR_MANIFEST: &str = "manifests/operator.yaml";

/// The namespace that the plain manifest installs the operator into.
pub const OPERATOR_NAMESPACE: &str = "conuredb-system";

const HEADER: &str = "\
# Made from charts/conuredb-operator by `cargo run -p conure-crd --features charts --bin crdgen`; changes belong there.
# The definition of ConureCluster is in crd.yaml: kubectl apply -f manifests/crd.yaml -f manifests/operator.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: conuredb-system
  labels:
    app.kubernetes.io/part-of: conuredb
    pod-security.kubernetes.io/enforce: restricted
";

/// The charts, from the top of the repository.
pub const CHARTS: [&str; 3] = ["charts/conuredb-operator", "charts/conuredb-ha", "charts/conuredb-single"];

/// Why a chart could not be rendered or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChartError {
    /// Helm could not be started.
    #[error("cannot run {program}: {source}; set CONURE_HELM to the path of helm 3")]
    Start {
        /// What was run.
        program: PathBuf,
        /// Why it did not start.
        source: std::io::Error,
    },
    /// A file of a chart could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of a chart is no YAML.
    #[error("{chart}: {source}")]
    Yaml {
        /// The chart.
        chart: &'static str,
        /// What is wrong.
        source: serde_yaml::Error,
    },
    /// The definition cannot be made.
    #[error(transparent)]
    Definition(#[from] generated::GenerateError),
    /// The bundle cannot be made.
    #[error(transparent)]
    Bundle(#[from] olm::BundleError),
    /// Helm refused.
    #[error("helm {arguments}: {message}")]
    Refused {
        /// What helm was asked.
        arguments: String,
        /// What it said.
        message: String,
    },
}

/// Runs helm with these arguments at the top of the repository; its output.
pub fn helm<S: AsRef<OsStr>>(arguments: &[S]) -> Result<String, ChartError> {
    let program = PathBuf::from(std::env::var_os("CONURE_HELM").unwrap_or_else(|| "helm".into()));
    let output = Command::new(&program)
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .map_err(|source| ChartError::Start { program, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    Err(ChartError::Refused {
        arguments: words.join(" "),
        message: format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr).trim_end()
        ),
    })
}

/// The operator's plain manifest: the chart with its default values, without what only helm looks at.
pub fn operator_manifest() -> Result<String, ChartError> {
    let rendered = helm(&[
        "template",
        "conuredb-operator",
        "charts/conuredb-operator",
        "--namespace",
        OPERATOR_NAMESPACE,
        "--set",
        "crd.install=false",
    ])?;
    let of_helm = ["# Source: ", "app.kubernetes.io/managed-by: Helm", "helm.sh/chart: "];
    let mut manifest = HEADER.to_owned();
    for line in
        rendered.lines().filter(|line| !of_helm.iter().any(|mark| line.trim_start().starts_with(mark)))
    {
        manifest.push_str(line);
        manifest.push('\n');
    }
    Ok(manifest)
}

/// Examples that the bundle shows.
const EXAMPLES: [&str; 3] =
    ["manifests/example-cluster.yaml", "manifests/example-arbiter.yaml", "manifests/example-single.yaml"];

/// The files of the bundle for the Operator Lifecycle Manager, by their paths from the top of the repository.
pub fn bundle() -> Result<Vec<(String, String)>, ChartError> {
    let operator = operator_manifest()?;
    let [(_, definition), _] = generated::files()?;
    let examples = EXAMPLES.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let version = env!("CARGO_PKG_VERSION");
    let parts = olm::Parts { version, operator: &operator, definition: &definition, examples: &examples };
    Ok(olm::bundle(&parts)?)
}

fn read(path: &str) -> Result<String, ChartError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).map_err(|source| ChartError::Read { path, source })
}

/// The README page of every chart, by its path from the top of the repository.
pub fn readmes() -> Result<Vec<(String, String)>, ChartError> {
    let page = |chart: &'static str| {
        let (about, values) = (read(&format!("{chart}/Chart.yaml"))?, read(&format!("{chart}/values.yaml"))?);
        let page = readme::page(&about, &values).map_err(|source| ChartError::Yaml { chart, source })?;
        Ok((format!("{chart}/README.md"), page))
    };
    CHARTS.into_iter().map(page).collect()
}
