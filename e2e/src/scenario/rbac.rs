//! What the operator is allowed, against what it did: the API server's audit log knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::api::{Api, ListParams};
use serde::Deserialize;

use super::world::{OPERATOR_NAMESPACE, World};

/// One line of the audit log, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Audited {
    user: User,
    verb: String,
    #[serde(default)]
    object_ref: Option<Object>,
    #[serde(default)]
    response_status: Response,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
struct Response {
    #[serde(default)]
    code: i32,
}

/// What the API server answers when something was made.
const CREATED: i32 = 201;

/// The annotation of a line that says what the authorizer decided. The status alone would not do: a namespace that is
/// being deleted answers 403 too.
const DECISION: &str = "authorization.k8s.io/decision";

/// One thing that one may do: group, resource with its subresource, verb.
type Right = (String, String, String);

pub(super) async fn every_granted_verb_is_used_and_none_refused(world: &mut World) -> Result<()> {
    let log = world.faults()?.audit_log();
    let mut file = File::open(&log).with_context(|| log.display().to_string())?;
    file.seek(SeekFrom::Start(world.audited_before))?;
    let prefix = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:");
    let (mut used, mut refused) = (BTreeSet::<Right>::new(), BTreeSet::new());
    for line in BufReader::new(file).lines() {
        // The last line may still be on its way.
        let Ok(event) = serde_json::from_str::<Audited>(&line?) else { continue };
        if !event.user.username.starts_with(&prefix) {
            continue;
        }
        let Some(object) = event.object_ref else { continue };
        let resource = match object.subresource.as_str() {
            "" => object.resource,
            sub => format!("{}/{sub}", object.resource),
        };
        let right = (object.api_group, resource, event.verb);
        if event.annotations.get(DECISION).is_some_and(|decision| decision == "forbid") {
            refused.insert((right.clone(), object.name));
        }
        // A server-side apply that makes an object is a patch that the right to create has to go with.
        if right.2 == "patch" && event.response_status.code == CREATED {
            used.insert((right.0.clone(), right.1.clone(), "create".to_owned()));
        }
        used.insert(right);
    }
    ensure!(!used.is_empty(), "the audit log {} knows nothing of the operator", log.display());
    ensure!(refused.is_empty(), "the operator was refused: {refused:?}");
    let granted = granted(world).await?;
    ensure!(!granted.is_empty(), "no role is bound to the operator's account");
    ensure!(
        granted
            .iter()
            .all(|(group, resource, verb)| ![group, resource, verb].iter().any(|part| part.contains('*'))),
        "a wildcard is granted: {granted:?}"
    );
    let unused: Vec<&Right> = granted.difference(&used).collect();
    ensure!(unused.is_empty(), "granted and never used: {unused:?}");
    world.say(format!("{} rights granted, every one used, none refused", granted.len()));
    Ok(())
}

/// Everything that roles grant to the accounts of the operator's namespace.
async fn granted(world: &World) -> Result<BTreeSet<Right>> {
    let all = ListParams::default();
    let client = || world.access.client();
    let mut rules: Vec<PolicyRule> = Vec::new();
    for binding in Api::<ClusterRoleBinding>::all(client()).list(&all).await?.items {
        if is_ours(binding.subjects.as_deref()) {
            rules.extend(rules_of(world, &binding.role_ref, "").await?);
        }
    }
    for binding in Api::<RoleBinding>::all(client()).list(&all).await?.items {
        if is_ours(binding.subjects.as_deref()) {
            let namespace = binding.metadata.namespace.unwrap_or_default();
            rules.extend(rules_of(world, &binding.role_ref, &namespace).await?);
        }
    }
    let mut rights = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.unwrap_or_default() {
            for resource in rule.resources.iter().flatten() {
                let verbs = rule.verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone()));
                rights.extend(verbs);
            }
        }
    }
    Ok(rights)
}

fn is_ours(subjects: Option<&[Subject]>) -> bool {
    let ours = |subject: &Subject| {
        subject.kind == "ServiceAccount" && subject.namespace.as_deref() == Some(OPERATOR_NAMESPACE)
    };
    subjects.unwrap_or_default().iter().any(ours)
}

async fn rules_of(world: &World, role: &RoleRef, namespace: &str) -> Result<Vec<PolicyRule>> {
    let rules = if role.kind == "ClusterRole" {
        Api::<ClusterRole>::all(world.access.client()).get(&role.name).await?.rules
    } else {
        world.access.api::<Role>(namespace).get(&role.name).await?.rules
    };
    Ok(rules.unwrap_or_default())
}
