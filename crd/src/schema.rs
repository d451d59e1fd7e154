//! The parts of the schema that a derive cannot say, and the finished CustomResourceDefinition.

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, PodSecurityContext, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::validate;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::{ConureCluster, defaults, rules};

/// The definition as it is installed.
///
/// An optional field is never nullable: the API server then drops a `null`, as in Kubernetes' own types, and no rule ever
/// meets one.
pub fn definition() -> serde_json::Result<CustomResourceDefinition> {
    let mut definition = serde_json::to_value(ConureCluster::crd())?;
    drop_nullable(&mut definition);
    serde_json::from_value(definition)
}

fn drop_nullable(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // A property that a user's type calls `nullable` would be an object, never a boolean.
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
            }
            fields.values_mut().for_each(drop_nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nullable),
        _ => {}
    }
}

pub(crate) fn affinity(generator: &mut SchemaGenerator) -> Schema {
    embedded::<Affinity>(generator)
}

pub(crate) fn tolerations(generator: &mut SchemaGenerator) -> Schema {
    list(embedded::<Toleration>(generator))
}

pub(crate) fn environment(generator: &mut SchemaGenerator) -> Schema {
    let mut entry = embedded::<EnvVar>(generator);
    // A rule over names needs to know how long they can be.
    if let Some(name) =
        entry.get_mut("properties").and_then(|all| all.get_mut("name")).and_then(Value::as_object_mut)
    {
        name.insert("maxLength".to_owned(), json!(253));
    }
    let mut schema = list(entry);
    schema.insert("maxItems".to_owned(), json!(64));
    add_rule(&mut schema, rules::environment_is_free());
    schema
}

pub(crate) fn pod_labels(_: &mut SchemaGenerator) -> Schema {
    let mut schema = json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 63}
    });
    add_rule(&mut schema, rules::labels_are_free());
    schema
}

pub(crate) fn topology_spread_constraints(generator: &mut SchemaGenerator) -> Schema {
    list(embedded::<TopologySpreadConstraint>(generator))
}

/// Kubernetes' type without the claims of dynamic resources, for which a cluster has no other half.
pub(crate) fn resources(_: &mut SchemaGenerator) -> Schema {
    let amounts = |what: &str| {
        let mut map = json_schema!({
            "description": what,
            "type": "object",
            "maxProperties": 16,
            "additionalProperties": {"x-kubernetes-int-or-string": true, "maxLength": 64}
        });
        add_rule(&mut map, rules::amounts_are_quantities());
        map
    };
    let mut schema = json_schema!({
        "type": "object",
        "properties": {
            "limits": amounts("The most that a container may use."),
            "requests": amounts("What a node sets aside for a container.")
        }
    });
    add_rule(&mut schema, rules::requests_within_limits());
    schema
}

/// A volume's size.
pub(crate) fn volume_size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true, "maxLength": 64})
}

/// Each of the defaults holds by itself: who sets only the user keeps the others.
pub(crate) fn security(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = embedded::<PodSecurityContext>(generator);
    let defaults = serde_json::to_value(defaults::security()).unwrap_or_default();
    if let (Some(properties), Value::Object(defaults)) =
        (schema.get_mut("properties").and_then(Value::as_object_mut), defaults)
    {
        for (name, default) in defaults {
            if let Some(property) = properties.get_mut(&name).and_then(Value::as_object_mut) {
                property.insert("default".to_owned(), default);
            }
        }
    }
    schema
}

/// The schema of one of Kubernetes' types. Its descriptions are left out: they are in Kubernetes' own reference, and
/// would make the definition too large for `kubectl apply`.
fn embedded<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator).to_value();
    drop_descriptions(&mut schema, false);
    Schema::try_from(schema).unwrap_or_default()
}

fn drop_descriptions(value: &mut Value, names_properties: bool) {
    match value {
        Value::Object(fields) => {
            if !names_properties {
                fields.remove("description");
            }
            for (key, field) in fields.iter_mut() {
                drop_descriptions(field, key == "properties" && !names_properties);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| drop_descriptions(item, false)),
        _ => {}
    }
}

fn list(items: Schema) -> Schema {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("array"));
    schema.insert("items".to_owned(), items.to_value());
    Schema::from(schema)
}

fn add_rule(schema: &mut Schema, rule: kube::core::Rule) {
    // A rule is strings and booleans, which always become JSON.
    if let Err(error) = validate(schema, rule) {
        unreachable!("a rule became no JSON: {error}");
    }
}
