//! A member's pod.

use conure_crd::RecoveryStatus;
use conure_crd::names::{self, Component, HTTP_PORT, RAFT_PORT};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    HTTPGetAction, ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity, PodSpec, Probe,
    ResourceRequirements, SecretVolumeSource, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Blueprint, TOKEN_KEY};

/// The server's container, the first one, so that `kubectl exec` finds it.
pub const SERVER: &str = "conure-db";
const DATA_DIR: &str = "/data";
const TOKEN_DIR: &str = "/etc/conuredb/admin";
/// SIGTERM to SIGKILL: the time to hand over, to finish what is in flight and to sync.
const GRACE_SECONDS: i64 = 30;

/// The pod of a component's members.
pub(super) fn spec(blueprint: &Blueprint<'_>, component: Component) -> PodSpec {
    let spec = &blueprint.cluster.spec;
    PodSpec {
        init_containers: init_containers(blueprint, component),
        containers: vec![server(blueprint, component)],
        volumes: Some(volumes(blueprint)),
        security_context: Some(spec.security.clone()),
        priority_class_name: spec.priority_class_name.clone(),
        service_account_name: spec.service_account_name.clone(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        node_selector: (!spec.node_selector.is_empty()).then(|| spec.node_selector.clone()),
        tolerations: (!spec.tolerations.is_empty()).then(|| spec.tolerations.clone()),
        image_pull_secrets: (!spec.image_pull_secrets.is_empty()).then(|| spec.image_pull_secrets.clone()),
        affinity: Some(spec.affinity.clone().unwrap_or_else(|| one_member_a_node(blueprint))),
        topology_spread_constraints: Some(if spec.topology_spread_constraints.is_empty() {
            vec![over_zones(blueprint)]
        } else {
            spec.topology_spread_constraints.clone()
        }),
        ..PodSpec::default()
    }
}

fn init_containers(blueprint: &Blueprint<'_>, component: Component) -> Option<Vec<Container>> {
    let wait = (component != Component::Bootstrap).then(|| wait_for_bootstrap(blueprint, component));
    let recovering = blueprint.recovering.as_ref().filter(|record| {
        names::parse_pod(blueprint.name, &record.member_name).is_some_and(|(of, _)| of == component)
    });
    let recover = recovering.map(|record| recover(blueprint, component, record));
    let all: Vec<Container> = recover.into_iter().chain(wait).collect();
    (!all.is_empty()).then_some(all)
}

/// Makes the one member go on alone. Inert in every other pod, and once the incarnation is past: a pod may be restarted at
/// any time.
fn recover(blueprint: &Blueprint<'_>, component: Component, record: &RecoveryStatus) -> Container {
    let confirm = format!("{}:{}", blueprint.identity.cluster_id, record.incarnation);
    let args = ["recover", DATA_DIR, "--once", "--confirm", &confirm, "--member", &record.member_name];
    Container {
        name: "recover".to_owned(),
        args: Some(args.map(str::to_owned).to_vec()),
        volume_mounts: Some(vec![mount(names::VOLUME, DATA_DIR), mount("tmp", "/tmp")]),
        ..container(blueprint, component)
    }
}

fn server(blueprint: &Blueprint<'_>, component: Component) -> Container {
    let mut ready = format!("/readyz?cluster_id={}", blueprint.identity.cluster_id);
    // Nobody is left behind by the first one, and so a birth changes no pod.
    if let Some(incarnation) = blueprint.incarnation.filter(|incarnation| *incarnation > 1) {
        ready += &format!("&incarnation={incarnation}");
    }
    Container {
        name: SERVER.to_owned(),
        args: Some(vec!["--bootstrap=false".to_owned()]),
        env: Some(environment(blueprint, component)),
        ports: Some(vec![port("http", HTTP_PORT), port("raft", RAFT_PORT)]),
        // Recovery of a large log takes its time; until then nobody kills the member for not answering.
        startup_probe: Some(Probe {
            failure_threshold: Some(600),
            period_seconds: Some(1),
            ..probe("/livez")
        }),
        liveness_probe: Some(Probe {
            failure_threshold: Some(6),
            period_seconds: Some(10),
            ..probe("/livez")
        }),
        // Often, as every step waits for it; four times, as an election is no reason to leave a member out.
        readiness_probe: Some(Probe { failure_threshold: Some(4), period_seconds: Some(1), ..probe(&ready) }),
        volume_mounts: Some(vec![
            mount(names::VOLUME, DATA_DIR),
            mount("tmp", "/tmp"),
            VolumeMount { read_only: Some(true), ..mount("admin", TOKEN_DIR) },
        ]),
        ..container(blueprint, component)
    }
}

/// Holds a member with an empty data directory back until it has a cluster to join.
fn wait_for_bootstrap(blueprint: &Blueprint<'_>, component: Component) -> Container {
    let peers =
        format!("http://{}.{}.svc:{HTTP_PORT}", names::peers_service(blueprint.name), blueprint.namespace);
    let args =
        ["wait", "--data-dir", DATA_DIR, "--peers", &peers, "--cluster-id", &blueprint.identity.cluster_id];
    Container {
        name: "wait-for-bootstrap".to_owned(),
        args: Some(args.map(str::to_owned).to_vec()),
        volume_mounts: Some(vec![mount(names::VOLUME, DATA_DIR), mount("tmp", "/tmp")]),
        ..container(blueprint, component)
    }
}

/// What both containers have: the image, the resources, without any of which a ResourceQuota would refuse the whole pod,
/// and the restricted Pod Security Standard's limits.
fn container(blueprint: &Blueprint<'_>, component: Component) -> Container {
    let spec = &blueprint.cluster.spec;
    let resources =
        if component == Component::Arbiter { &spec.arbiter.resources } else { &spec.voters.resources };
    Container {
        resources: (*resources != ResourceRequirements::default()).then(|| resources.clone()),
        image: Some(blueprint.image.clone()),
        // What a container says at its end is the reason that people get to read.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        image_pull_policy: Some(format!("{:?}", blueprint.cluster.spec.image.pull_policy)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn environment(blueprint: &Blueprint<'_>, component: Component) -> Vec<EnvVar> {
    let config = &blueprint.cluster.spec.server_config;
    let host =
        format!("$(CONURE_NODE_ID).{}.{}.svc", names::peers_service(blueprint.name), blueprint.namespace);
    let arbiter = component == Component::Arbiter;
    let mut environment = vec![
        // First, because those below refer to it.
        EnvVar {
            name: "CONURE_NODE_ID".to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: "metadata.name".to_owned(),
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        },
    ];
    let mut set = |name: &str, value: String| {
        environment.push(EnvVar { name: name.to_owned(), value: Some(value), ..EnvVar::default() });
    };
    set("CONURE_CLUSTER_ID", blueprint.identity.cluster_id.clone());
    set("CONURE_DATA_DIR", DATA_DIR.to_owned());
    // No host: both families where the pod has both, whichever of them it has.
    set("CONURE_RAFT_ADDR", format!(":{RAFT_PORT}"));
    set("CONURE_RAFT_ADVERTISE_ADDR", format!("{host}:{RAFT_PORT}"));
    set("CONURE_HTTP_ADDR", format!(":{HTTP_PORT}"));
    set("CONURE_HTTP_ADVERTISE_ADDR", format!("{host}:{HTTP_PORT}"));
    set("CONURE_ROLE", if arbiter { "arbiter" } else { "data" }.to_owned());
    set("CONURE_LEADER_ROUTING", "forward".to_owned());
    set("CONURE_ADMIN_TOKEN_FILE", format!("{TOKEN_DIR}/{TOKEN_KEY}"));
    set("CONURE_LOG_LEVEL", config.log_level.as_str().to_owned());
    set("CONURE_LOG_FORMAT", config.log_format.as_str().to_owned());
    if !config.http_allowed_hosts.is_empty() {
        set("CONURE_HTTP_ALLOWED_HOSTS", config.http_allowed_hosts.join(","));
    }
    // An arbiter serves no reads, so it has no time for them to wait either.
    if !arbiter {
        set("CONURE_BARRIER_TIMEOUT", config.barrier_timeout.clone());
    }
    environment.extend(blueprint.cluster.spec.extra_env.iter().cloned());
    environment
}

fn volumes(blueprint: &Blueprint<'_>) -> Vec<Volume> {
    vec![
        Volume {
            name: "tmp".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity("64Mi".to_owned())),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "admin".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(names::admin_secret(blueprint.name)),
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
    ]
}

/// Preferred, so that a small cluster of nodes can run a large cluster of members.
fn one_member_a_node(blueprint: &Blueprint<'_>) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: PodAffinityTerm {
                    label_selector: Some(all_members(blueprint)),
                    topology_key: "kubernetes.io/hostname".to_owned(),
                    ..PodAffinityTerm::default()
                },
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn over_zones(blueprint: &Blueprint<'_>) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(all_members(blueprint)),
        ..TopologySpreadConstraint::default()
    }
}

fn all_members(blueprint: &Blueprint<'_>) -> LabelSelector {
    LabelSelector { match_labels: Some(names::selector_labels(blueprint.name)), ..LabelSelector::default() }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".to_owned()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(3),
        ..Probe::default()
    }
}

fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}
