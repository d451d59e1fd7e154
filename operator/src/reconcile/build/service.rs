//! How members are found: by clients, and by each other.

use conure_crd::names::{self, HTTP_PORT, RAFT_PORT};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Blueprint, ROLE};

/// For clients: data members that are ready.
pub(super) fn clients(blueprint: &Blueprint<'_>) -> Service {
    let mut selector = names::selector_labels(blueprint.name);
    selector.insert(ROLE.to_owned(), "data".to_owned());
    Service {
        metadata: blueprint.metadata(names::service(blueprint.name)),
        spec: Some(ServiceSpec {
            selector: Some(selector),
            ports: Some(vec![port("http", HTTP_PORT)]),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// For members: a DNS name each, ready or not, as they must meet before they are ready.
pub(super) fn peers(blueprint: &Blueprint<'_>) -> Service {
    Service {
        metadata: blueprint.metadata(names::peers_service(blueprint.name)),
        spec: Some(ServiceSpec {
            selector: Some(names::selector_labels(blueprint.name)),
            ports: Some(vec![port("http", HTTP_PORT), port("raft", RAFT_PORT)]),
            type_: Some("ClusterIP".to_owned()),
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
