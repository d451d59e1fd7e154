//! The files that are made from this crate and committed.

use crate::schema;

const HEADER: &str = "# Made from crd/ by `cargo run -p conure-crd --bin crdgen`; changes belong there.\n";

/// Where the definition for `kubectl apply` is, from the top of the repository.
pub const MANIFEST: &str = "manifests/crd.yaml";

/// Where the operator chart's copy is.
pub const CHART_COPY: &str = "charts/conuredb-operator/files/crd.yaml";

/// Why a file could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The derived definition is not what Kubernetes' types can hold.
    #[error("the definition is no CustomResourceDefinition: {0}")]
    Definition(#[from] serde_json::Error),
    /// The definition cannot be written as YAML.
    #[error("the definition cannot be written as YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
}

/// Every committed file: its path from the top of the repository, and its content.
pub fn files() -> Result<[(&'static str, String); 2], GenerateError> {
    let mut definition = schema::definition()?;
    let manifest = page(&serde_yaml::to_string(&definition)?);
    // Uninstalling the operator must not delete the definition, and with it every cluster.
    definition
        .metadata
        .annotations
        .get_or_insert_default()
        .insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    let chart_copy = page(&serde_yaml::to_string(&definition)?);
    Ok([(MANIFEST, manifest), (CHART_COPY, chart_copy)])
}

fn page(yaml: &str) -> String {
    format!("{HEADER}{yaml}")
}
