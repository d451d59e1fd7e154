//! Image archives for nodes that have no registry: a small one for Kubernetes itself ([`busybox`]), and those built from
//! a project's Dockerfiles ([`build`]) on base images that are made here too ([`base`]).
//!
//! **Invariant:** archives are named by what is in them and written whole or not at all.

pub mod base;
pub mod build;
pub mod busybox;
pub mod digest;
pub mod source;

mod buildah;
