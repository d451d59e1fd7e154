//! The administration token: made once, at random, and never written again.

use std::collections::BTreeMap;

use conure_crd::names;
use k8s_openapi::api::core::v1::Secret;

use super::Blueprint;

/// The token's key in the Secret, and its file's name in the pods.
pub const TOKEN_KEY: &str = "token";

/// The Secret with this token.
pub fn admin_secret(blueprint: &Blueprint<'_>, token: String) -> Secret {
    Secret {
        metadata: blueprint.metadata(names::admin_secret(blueprint.name)),
        string_data: Some(BTreeMap::from([(TOKEN_KEY.to_owned(), token)])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}
