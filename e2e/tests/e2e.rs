//! The end-to-end tests: one cluster on a real Kubernetes, step after step.

fn main() {}
