//! The one list of them: the tests that kill the operator include this file.

/// The calls that change something. Each has a point `before_CALL` and one `after_CALL`.
pub const CALLS: [&str; 16] = [
    "annotate_claim",
    "apply",
    "bootstrap",
    "clear_replace_member",
    "create_secret",
    "delete_budget",
    "delete_claim",
    "delete_pod",
    "evict",
    "join",
    "publish_event",
    "record_bootstrap",
    "remove",
    "scale_statefulset",
    "transfer_leadership",
    "write_status",
];
