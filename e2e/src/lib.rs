//! The local Kubernetes and the end-to-end tests.
