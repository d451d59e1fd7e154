//! What the charts allow the operator is enough for it.

use anyhow::{Context, Result, ensure};
use conure_e2e::bare::{Proxy, Stage};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::json;

use crate::Case;
use crate::weathers::days;

/// The name of the operator's account.
const ACCOUNT: &str = "conure-operator";

pub(crate) fn cases() -> Vec<Case> {
    vec![case!(operator_with_the_rights_of_one_namespace_does_all_of_its_work_there)]
}

async fn operator_with_the_rights_of_one_namespace_does_all_of_its_work_there(stage: &Stage) -> Result<()> {
    let mut scene = stage.scene().await?;
    let namespace = scene.namespace.clone();
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/conuredb-operator");
    let set = format!("watchNamespace={namespace},serviceAccount.name={ACCOUNT}");
    let rights = ["--show-only", "templates/rbac.yaml", "--show-only", "templates/serviceaccount.yaml"];
    let render = ["template", "operator", chart, "--namespace", &namespace, "--set", &set];
    let rendered = stage.server.access().helm(&[&render[..], &rights].concat()).await?;
    ensure!(!rendered.contains("kind: ClusterRole"), "it has rights everywhere:\n{rendered}");
    stage.server.access().apply(&namespace, &rendered).await?;
    let account = stage.server.client_of(&namespace, ACCOUNT).await?;
    let elsewhere: Api<Pod> = Api::namespaced(account.clone(), "default");
    let refused = elsewhere.list(&ListParams::default()).await.err().context("it reads another namespace")?;
    ensure!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");

    scene.proxy = Proxy::start(account).await?;
    let operator = scene.operator("")?;
    scene.create(3, json!({})).await?;
    days(&scene).await.with_context(|| operator.last_lines())?;
    let log = std::fs::read_to_string(operator.log())?;
    let forbidden = log.lines().find(|line| line.contains("forbidden"));
    ensure!(forbidden.is_none(), "it was refused something: {}", forbidden.unwrap_or_default());
    Ok(())
}
