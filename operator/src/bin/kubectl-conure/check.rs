//! What is wrong with a cluster, and what could be better. Pure.

use std::collections::{BTreeMap, BTreeSet};

use conure_crd::condition::{AVAILABLE, DEGRADED, PROGRESSING, QUORUM_LOST, READY};
use conure_crd::names::parse_pod;
use kube::ResourceExt;
use serde::Serialize;

use crate::view::View;

/// How a finding is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Warning,
    /// Something is wrong.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    pub(crate) what: &'static str,
    pub(crate) detail: String,
}

impl Finding {
    fn new(what: &'static str, level: Level, detail: impl Into<String>) -> Self {
        Self { level, what, detail: detail.into() }
    }

    /// All is well unless something was found.
    fn of(what: &'static str, level: Level, found: &[String], well: &str) -> Self {
        if found.is_empty() {
            Self::new(what, Level::Ok, well)
        } else {
            Self::new(what, level, found.join("; "))
        }
    }
}

/// Everything that is looked at.
pub(crate) fn findings(view: &View) -> Vec<Finding> {
    vec![
        seen(view),
        conditions(view),
        members(view),
        volumes(view),
        versions(view),
        nodes(view),
        leftovers(view),
    ]
}

fn seen(view: &View) -> Finding {
    let what = "the operator";
    match view.status().observed_generation {
        None => Finding::new(
            what,
            Level::Wrong,
            "it never looked at this resource: does it run, and watch this namespace?",
        ),
        seen if seen == view.cluster.metadata.generation => {
            Finding::new(what, Level::Ok, "it has seen the present spec")
        }
        _ => Finding::new(what, Level::Warning, "it has not seen the last change of the spec yet"),
    }
}

fn conditions(view: &View) -> Finding {
    let bad = [(READY, "False"), (AVAILABLE, "False"), (DEGRADED, "True"), (QUORUM_LOST, "True")];
    let status = view.status();
    let going = status.conditions.iter().any(|found| found.type_ == PROGRESSING && found.status == "True");
    let of = |kinds: &[&str]| -> Vec<String> {
        let found = status.conditions.iter().filter(|found| {
            kinds.contains(&found.type_.as_str())
                && bad.iter().any(|(kind, value)| found.type_ == *kind && found.status == *value)
        });
        found
            .map(|found| format!("{}={} {}: {}", found.type_, found.status, found.reason, found.message))
            .collect()
    };
    let wrong = of(&[AVAILABLE, DEGRADED, QUORUM_LOST]);
    if !wrong.is_empty() {
        return Finding::of("the conditions", Level::Wrong, &wrong, "");
    }
    let level = if going { Level::Warning } else { Level::Wrong };
    Finding::of(
        "the conditions",
        level,
        &of(&[READY]),
        "Ready and Available, neither Degraded nor QuorumLost",
    )
}

fn members(view: &View) -> Finding {
    let well = |member: &crate::view::Member| member.ready && member.suffrage == "Voter";
    let members = view.members();
    let odd: Vec<String> = members
        .iter()
        .filter(|member| !well(member))
        .map(|member| {
            format!("{}: ready {}, {}, {}", member.name, member.ready, member.suffrage, member.health)
        })
        .collect();
    if members.is_empty() {
        return Finding::new("the members", Level::Wrong, "there are none");
    }
    Finding::of("the members", Level::Wrong, &odd, &format!("{} voters are ready", members.len()))
}

fn volumes(view: &View) -> Finding {
    let members = view.members();
    let odd = members.iter().filter(|member| !member.volume.starts_with("Bound"));
    let odd: Vec<String> = odd.map(|member| format!("{}: {}", member.name, member.volume)).collect();
    Finding::of("the volumes", Level::Wrong, &odd, "all bound")
}

fn versions(view: &View) -> Finding {
    let versions: BTreeSet<String> = view.members().into_iter().map(|member| member.version).collect();
    let found: Vec<String> = if versions.len() > 1 { versions.into_iter().collect() } else { Vec::new() };
    Finding::of("the versions", Level::Warning, &found, "one for all members")
}

fn nodes(view: &View) -> Finding {
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for member in view.members().into_iter().filter(|member| member.node != "-") {
        nodes.entry(member.node).or_default().push(member.name);
    }
    let shared = nodes.iter().filter(|(_, members)| members.len() > 1);
    let shared: Vec<String> = shared
        .map(|(node, members)| format!("{node} has {}, and all go with it", members.join(" and ")))
        .collect();
    Finding::of("the nodes", Level::Warning, &shared, "one member each")
}

/// Volumes of members that left: they cost money, and hold old data.
fn leftovers(view: &View) -> Finding {
    let members: BTreeSet<String> = view.members().into_iter().map(|member| member.name).collect();
    let cluster = view.cluster.name_any();
    let left = view.claims.keys().filter(|claim| {
        let pod = claim.strip_prefix("data-").unwrap_or_default();
        parse_pod(&cluster, pod).is_some() && !members.contains(pod)
    });
    let left: Vec<String> = left.map(|claim| format!("{claim} is no member's")).collect();
    Finding::of("kept volumes", Level::Warning, &left, "none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::three;
    use serde_json::json;

    fn levels(view: &View) -> Vec<(&'static str, Level)> {
        let odd = findings(view).into_iter().filter(|finding| finding.level != Level::Ok);
        odd.map(|finding| (finding.what, finding.level)).collect()
    }

    #[test]
    fn a_cluster_that_is_well_has_only_its_shared_node_to_be_told_of() {
        assert_eq!(levels(&three()), [("the nodes", Level::Warning)]);
    }

    #[test]
    fn every_fault_is_found() {
        let mut view = three();
        view.cluster.metadata.generation = Some(9);
        assert!(levels(&view).contains(&("the operator", Level::Warning)));

        let mut view = three();
        if let Some(status) = &mut view.cluster.status {
            status.conditions[3].status = "True".into();
            status.members[0].ready = false;
            status.members[1].version = Some("0.2.0".into());
        }
        view.claims.remove("data-conure-1");
        let left = json!({"metadata": {"name": "data-conure-5"}, "status": {"phase": "Bound"}});
        view.claims.insert("data-conure-5".into(), serde_json::from_value(left).unwrap());
        let found = levels(&view);
        for expected in [
            ("the conditions", Level::Wrong),
            ("the members", Level::Wrong),
            ("the volumes", Level::Wrong),
            ("the versions", Level::Warning),
            ("kept volumes", Level::Warning),
        ] {
            assert!(found.contains(&expected), "{expected:?} is not in {found:?}");
        }
        view.cluster.status = None;
        assert!(levels(&view).contains(&("the operator", Level::Wrong)));
    }
}
