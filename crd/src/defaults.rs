//! The defaults of the schema, each in one place.

use k8s_openapi::api::core::v1::{PodSecurityContext, SeccompProfile};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The uid and gid that the server's image runs as.
pub const USER_ID: i64 = 1000;

/// `spec.image.repository`.
pub const IMAGE_REPOSITORY: &str = "conuredb/conuredb";

/// `spec.voters.replicas`.
pub const VOTERS: i32 = 3;

/// `spec.serverConfig.barrierTimeout`.
pub const BARRIER_TIMEOUT: &str = "3s";

pub(crate) fn image_repository() -> String {
    IMAGE_REPOSITORY.to_owned()
}

pub(crate) fn voters() -> i32 {
    VOTERS
}

pub(crate) fn data_volume_size() -> Quantity {
    Quantity("20Gi".to_owned())
}

pub(crate) fn arbiter_volume_size() -> Quantity {
    Quantity("1Gi".to_owned())
}

pub(crate) fn barrier_timeout() -> String {
    BARRIER_TIMEOUT.to_owned()
}

pub(crate) fn replace_after() -> String {
    "30m".to_owned()
}

pub(crate) fn enabled() -> bool {
    true
}

/// `spec.security`: what the restricted Pod Security Standard asks of a pod, as the image's user.
pub fn security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER_ID),
        run_as_group: Some(USER_ID),
        fs_group: Some(USER_ID),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}
