//! Whether an object is as it should be already. Pure.

use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::apply::ApplyError;
use super::quantity;

/// On every object: what it was last made from.
pub(super) const APPLIED: &str = "conuredb.dev/applied";
/// The fields that hold amounts by name.
const AMOUNTS: [&str; 2] = ["limits", "requests"];

/// The object as it has to be written, `None` where it is so already.
pub(super) fn differs<K>(object: &K, live: Option<&K>) -> Result<Option<Value>, ApplyError>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let json = |object: &K| {
        serde_json::to_value(object).map_err(|source| ApplyError::Serialize {
            kind: K::kind(&()).into_owned(),
            name: object.name_any(),
            source,
        })
    };
    let desired = stamped(json(object)?);
    if let Some(live) = live
        && covers(&json(live)?, &desired)
    {
        return Ok(None);
    }
    Ok(Some(desired))
}

/// The object with a hash of itself, so that a field which is no longer wanted is noticed too.
pub(super) fn stamped(mut desired: Value) -> Value {
    let hash = Sha256::digest(desired.to_string().as_bytes());
    let hash: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    if let Some(metadata) = desired.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Default::default()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(APPLIED.to_owned(), Value::String(hash));
        }
    }
    desired
}

/// Whether everything in `desired` is in `live` as well; what the API server filled in beside it does not matter, nor
/// in which of several ways it writes the same amount, nor that it leaves out what is empty.
fn covers(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, value)| match live.get(key) {
                Some(found) if AMOUNTS.contains(&key.as_str()) => same_amounts(found, value),
                Some(found) => covers(found, value),
                None => is_empty(value),
            })
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(live, desired)| covers(live, desired))
        }
        _ => live == desired,
    }
}

/// Whether every amount of `desired` is in `live`.
fn same_amounts(live: &Value, desired: &Value) -> bool {
    let (Some(live), Some(desired)) = (live.as_object(), desired.as_object()) else {
        return live == desired;
    };
    desired.iter().all(|(name, amount)| match (live.get(name).and_then(Value::as_str), amount.as_str()) {
        (Some(live), Some(amount)) => quantity::same(live, amount),
        _ => live.get(name) == Some(amount),
    })
}

/// What the API server leaves out where it is written.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_filled_in_by_the_api_server_are_no_difference() {
        let desired = json!({"spec": {"ports": [{"port": 1}], "type": "ClusterIP"}});
        let live = json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}], "type": "ClusterIP", "x": 1}});
        assert!(covers(&live, &desired));
    }

    #[test]
    fn drift_is_a_difference() {
        let desired = json!({"spec": {"ports": [{"port": 1}]}});
        for live in [
            json!({"spec": {"ports": [{"port": 2}]}}),
            json!({"spec": {"ports": [{"port": 1}, {"port": 2}]}}),
            json!({"spec": {}}),
        ] {
            assert!(!covers(&live, &desired), "{live}");
        }
    }

    #[test]
    fn amounts_are_compared_as_numbers_and_nothing_else_is() {
        let resources = |cpu: &str, memory: &str| json!({"limits": {"cpu": cpu, "memory": memory}});
        assert!(covers(&resources("1", "2Gi"), &resources("1000m", "2048Mi")));
        assert!(!covers(&resources("1", "2Gi"), &resources("1001m", "2048Mi")));
        assert!(!covers(&json!({"limits": {"cpu": "1"}}), &resources("1", "1Gi")));
        assert!(!covers(&json!({"env": {"value": "1"}}), &json!({"env": {"value": "1000m"}})));
    }

    #[test]
    fn what_is_empty_may_be_left_out() {
        let desired = json!({"tolerations": [{"key": "a", "value": ""}], "affinity": {"required": []}});
        assert!(covers(&json!({"tolerations": [{"key": "a"}]}), &desired));
        assert!(!covers(&json!({"tolerations": [{"key": "b"}]}), &desired));
        assert!(!covers(&json!({}), &json!({"hostNetwork": true})));
    }

    #[test]
    fn a_field_that_is_no_longer_wanted_is_a_difference() {
        let before = stamped(json!({"metadata": {"name": "a"}, "spec": {"nodeSelector": {"disk": "ssd"}}}));
        let after = stamped(json!({"metadata": {"name": "a"}, "spec": {}}));
        assert!(!covers(&before, &after));
        assert!(covers(&before, &before));
    }
}
