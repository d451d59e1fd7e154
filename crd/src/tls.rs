//! Room for encrypted traffic.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, its visibility included"
)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Nothing yet: a definition that lets it be set is newer than this crate.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {}
