//! What the API server refuses beyond types, as CEL rules; each message says the mend.
//!
//! Bounds and patterns are rules and not schema keywords: a keyword's message says what was expected and not what to do,
//! and the API server skips every rule where a keyword already failed.

use kube::core::Rule;

use crate::names;

/// Fewer is no cluster, more slows every write down and adds no safety that matters.
pub const VOTERS_MAX: i32 = 7;

/// No volume that holds a Raft log is smaller; it also catches a size without its unit.
pub const VOLUME_SIZE_MIN: &str = "16Mi";

/// The longest name that still leaves room for what Kubernetes appends to it.
pub(crate) fn name_length() -> Rule {
    Rule::new(format!("size(self.metadata.name) <= {}", names::MAX_NAME)).message(&*format!(
        "the name has more than {} characters, and pod and label names made from it would be too long: choose a shorter \
         metadata.name",
        names::MAX_NAME
    ))
}

/// A Service is named after the cluster, so the name has to be one that a Service may have.
pub(crate) fn name_is_dns_label() -> Rule {
    Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "the name cannot be a Service's: choose a metadata.name of lower-case letters, digits and '-' that starts with a \
         letter and ends with a letter or a digit",
    )
}

/// Endings that another cluster's objects may have.
pub(crate) fn name_suffix_is_free() -> Rule {
    let endings: Vec<String> = names::RESERVED_SUFFIXES
        .iter()
        .map(|suffix| format!("self.metadata.name.endsWith('{suffix}')"))
        .collect();
    Rule::new(format!("!({})", endings.join(" || "))).message(
        "a name that ends in -bootstrap, -arbiter or -peers may meet the objects of another cluster: choose a \
         metadata.name with another ending",
    )
}

pub(crate) fn replicas_in_range() -> Rule {
    Rule::new(format!("self >= 1 && self <= {VOTERS_MAX}")).message(&*format!(
        "a cluster has 1 to {VOTERS_MAX} data members: set voters.replicas to a number between them"
    ))
}

pub(crate) fn repository_is_bare() -> Rule {
    Rule::new("self.matches('^([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*$')").message(
        "repository is an image's name without tag and digest, like registry.example.com/conuredb/conuredb: put the tag \
         into image.tag and the digest into image.digest",
    )
}

pub(crate) fn tag_is_one() -> Rule {
    Rule::new("self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$')").message(
        "tag is no image tag: write letters, digits, '_', '.' and '-' only, like v1.0.0, or leave it out",
    )
}

pub(crate) fn digest_is_one() -> Rule {
    Rule::new("self.matches('^sha256:[a-f0-9]{64}$')")
        .message("digest is no image digest: write sha256: and 64 hexadecimal digits, or leave it out")
}

/// A volume that is too small, or no quantity at all.
pub(crate) fn volume_size_is_enough() -> Rule {
    Rule::new(format!(
        "isQuantity(string(self.size)) && quantity(string(self.size)).compareTo(quantity('{VOLUME_SIZE_MIN}')) >= 0"
    ))
    .message(&*format!("pvc.size is no size of at least {VOLUME_SIZE_MIN}: write a number with its unit, like 20Gi"))
    .field_path(".size")
}

/// No storage can take room away from a file system in use; a size that no volume reached yet may be taken back.
fn volume_does_not_shrink(part: &str, reached: &str) -> Rule {
    let (new, old) = (format!("self.spec.{part}.pvc.size"), format!("oldSelf.spec.{part}.pvc.size"));
    let is = |text: &str| format!("isQuantity(string({text}))");
    let at_least = |other: &str| format!("quantity(string({new})).compareTo(quantity(string({other}))) >= 0");
    let reached = format!("self.status.{reached}");
    Rule::new(format!(
        "!{} || !{} || {} || (has(self.status) && has({reached}) && {} && {})",
        is(&new),
        is(&old),
        at_least(&old),
        is(&reached),
        at_least(&reached),
    ))
    .message(
        "a volume cannot shrink: set pvc.size back to what it was or larger, or restore a backup into a new ConureCluster \
         with smaller volumes",
    )
    .field_path(format!(".spec.{part}.pvc.size"))
}

pub(crate) fn data_volume_does_not_shrink() -> Rule {
    volume_does_not_shrink("voters", "dataVolumeSize")
}

pub(crate) fn arbiter_volume_does_not_shrink() -> Rule {
    volume_does_not_shrink("arbiter", "arbiterVolumeSize")
}

/// The claims exist already, and a claim keeps its class.
pub(crate) fn storage_class_stays() -> Rule {
    Rule::new(
        "has(self.storageClassName) == has(oldSelf.storageClassName) && \
         (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
    )
    .message(
        "a volume's storage class cannot change: set pvc.storageClassName back to what it was (unset, if it was unset), \
         or restore a backup into a new ConureCluster with the other class",
    )
}

/// The kubelet would refuse to start such a container.
pub(crate) fn user_is_not_root_if_asked() -> Rule {
    Rule::new("!(has(self.runAsNonRoot) && self.runAsNonRoot && has(self.runAsUser) && self.runAsUser == 0)")
        .message("runAsUser 0 is root, which runAsNonRoot forbids: choose another security.runAsUser")
}

/// A pod with such resources is refused only when its StatefulSet tries to make it.
pub(crate) fn requests_within_limits() -> Rule {
    Rule::new(
        "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || \
         !isQuantity(string(self.requests[name])) || !isQuantity(string(self.limits[name])) || \
         quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
    )
    .message(
        "a request is larger than its limit: lower it in resources.requests or raise it in resources.limits",
    )
}

/// Amounts of one map of resources.
pub(crate) fn amounts_are_quantities() -> Rule {
    Rule::new("self.all(name, isQuantity(string(self[name])) && quantity(string(self[name])).compareTo(quantity('0')) >= 0)")
        .message("an amount is no quantity of zero or more: write it like 500m for CPU or 1Gi for memory")
}

/// 1 ms to 10 min, as the server has it. One expression, so that the charts' schemas can have the very same.
pub const BARRIER_TIMEOUT_PATTERN: &str =
    "^([1-9][0-9]{0,4}ms|[1-5][0-9]{5}ms|600000ms|[1-9][0-9]?s|[1-5][0-9]{2}s|600s|[1-9]m|10m)$";

pub(crate) fn barrier_timeout_is_in_range() -> Rule {
    Rule::new(format!("self.matches('{BARRIER_TIMEOUT_PATTERN}')")).message(
        "no duration above zero and up to 10m: write a number with ms, s or m, like 3s (at most 600000ms, 600s or 10m)",
    )
}

pub(crate) fn replace_after_is_in_range() -> Rule {
    Rule::new("self.matches('^[1-9][0-9]{0,4}[smh]$')")
        .message("no time above zero: write a number of at most 5 digits with s, m or h, like 30m")
}

pub(crate) fn incarnation_is_one() -> Rule {
    Rule::new("self >= 1")
        .message("incarnations begin with 1: set recovery.incarnation to what status.incarnation says")
}

pub(crate) fn cluster_id_is_one() -> Rule {
    Rule::new("self.matches('^[A-Za-z0-9._:-]+$')").message(
        "clusterID is no cluster's id: write it as status.clusterID named it, or as conure-db inspect shows it",
    )
}

/// The operator's own variables and labels are how members find each other and are found.
pub(crate) fn environment_is_free() -> Rule {
    Rule::new("self.all(entry, !entry.name.startsWith('CONURE_'))").message(
        "the operator sets the variables that begin with CONURE_: take them out of extraEnv, and use serverConfig",
    )
}

pub(crate) fn labels_are_free() -> Rule {
    Rule::new(
        "self.all(key, !key.startsWith('app.kubernetes.io/') && !key.startsWith('conuredb.dev/') && \
         !key.startsWith('apps.kubernetes.io/') && !key.startsWith('statefulset.kubernetes.io/') && \
         key != 'controller-revision-hash')",
    )
    .message(
        "a pod is found by labels that begin with app.kubernetes.io/, apps.kubernetes.io/, statefulset.kubernetes.io/ or \
         conuredb.dev/: choose other keys for podLabels",
    )
}

pub(crate) fn hosts_are_names() -> Rule {
    Rule::new("self.all(host, host.matches('^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?$'))").message(
        "an allowed host is a name like db.example.com: write it without scheme, port, path or wildcard",
    )
}

/// Whoever asks for it must not get a cluster that looks as if it were encrypted, whatever way unknown fields are treated.
pub(crate) fn tls_is_not_there_yet() -> Rule {
    Rule::new("false").message(
        "this version does not encrypt traffic: take out spec.tls, and let a NetworkPolicy keep strangers from the members",
    )
}
