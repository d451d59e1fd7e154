//! A real API server with its controllers and without nodes, on which a test plays the nodes and the members: for what an
//! operator may meet hundreds of times in a minute, and for faults that no real member or kubelet can be made to have.
//!
//! [`ApiServer`] is etcd, kube-apiserver and kube-controller-manager; [`Kubelets`] gives every pod an address of 127.0.0.0/8 and
//! says of it what a kubelet would; [`Members`] answers there as members would, and notes whatever must never be asked of
//! them. [`Operator`] is the real program, [`Proxy`] what stands between it and the API server. All of it runs in namespaces of
//! its own, entered by [`enter`].
//!
//! **Invariant:** nothing here decides what the operator should do; a played member only ever does what it is told, and
//! says when that was wrong ([`Members::breaches`]).

mod api_server;
mod group;
mod inside;
mod kubelet;
mod members;
mod operator;
mod proxy;
mod stage;

pub use api_server::ApiServer;
pub use inside::enter;
pub use kubelet::Kubelets;
pub use members::{Members, Mood};
pub use operator::{Operator, Start};
pub use proxy::{Proxy, Weather};
pub use stage::{PATIENCE, Scene, Stage};
