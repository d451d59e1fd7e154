//! An operator that dies before and after each call that changes something, whichever time it comes there: the next one reaches
//! the same end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use conure_e2e::bare::{Mood, PATIENCE, Scene, Stage};
use conure_e2e::kubernetes::until;
use futures::future::LocalBoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::Case;

/// The operator's own list; a test of the operator holds it to its sources.
#[path = "../../../operator/src/failpoint/calls.rs"]
#[expect(unreachable_pub, reason = "the operator shows it to others")]
mod calls;

/// Who is replaced, where somebody is.
const REPLACED: &str = "conure-1";

/// How many times in one procedure a point is died at: the first, the second, and so on.
const TIMES: usize = 3;
/// Scenes that are played at a time.
const AT_ONCE: usize = 3;

/// Something that is done to a cluster.
#[derive(Clone, Copy)]
struct Procedure {
    name: &'static str,
    /// Data members at first; 0: there is no cluster.
    from: i32,
    /// Data members at the end; 0: there is no cluster.
    to: i32,
    change: for<'a> fn(&'a Scene<'a>) -> LocalBoxFuture<'a, Result<()>>,
    /// Calls that the procedure cannot do without.
    calls: &'static [&'static str],
    /// Whether [`REPLACED`] has another volume at the end.
    replaces: bool,
}

const PROCEDURES: [Procedure; 12] = [
    Procedure {
        name: "create",
        from: 0,
        to: 3,
        change: |scene| Box::pin(scene.create(3, json!({}))),
        calls: &[
            "apply",
            "bootstrap",
            "create_secret",
            "join",
            "publish_event",
            "record_bootstrap",
            "write_status",
        ],
        replaces: false,
    },
    Procedure {
        name: "scale_up",
        from: 3,
        to: 5,
        change: |scene| Box::pin(scale(scene, 5)),
        calls: &["join", "publish_event", "scale_statefulset", "write_status"],
        replaces: false,
    },
    Procedure {
        name: "scale_down",
        from: 5,
        to: 3,
        change: |scene| Box::pin(scale(scene, 3)),
        calls: &["publish_event", "remove", "scale_statefulset", "write_status"],
        replaces: false,
    },
    Procedure {
        name: "scale_to_an_even_size",
        from: 3,
        to: 4,
        change: |scene| Box::pin(scale(scene, 4)),
        calls: &["join", "scale_statefulset"],
        replaces: false,
    },
    Procedure {
        name: "scale_from_an_even_size",
        from: 2,
        to: 3,
        change: |scene| Box::pin(scale(scene, 3)),
        calls: &["join", "remove", "scale_statefulset"],
        replaces: false,
    },
    Procedure {
        name: "roll",
        from: 3,
        to: 3,
        change: |scene| Box::pin(patch(scene, json!({"serverConfig": {"logLevel": "warn"}}))),
        calls: &["apply", "evict", "transfer_leadership", "write_status"],
        replaces: false,
    },
    Procedure {
        name: "remove_the_budget",
        from: 1,
        to: 1,
        change: |scene| Box::pin(patch(scene, json!({"pdb": {"enabled": false}}))),
        calls: &["delete_budget"],
        replaces: false,
    },
    Procedure {
        name: "replace",
        from: 3,
        to: 3,
        change: |scene| Box::pin(replace(scene)),
        calls: &["annotate_claim", "clear_replace_member", "delete_claim", "evict", "join", "write_status"],
        replaces: true,
    },
    Procedure {
        name: "replace_who_hangs",
        from: 3,
        to: 3,
        change: |scene| {
            scene.set_mood(REPLACED, Mood::Hangs);
            Box::pin(replace(scene))
        },
        calls: &["annotate_claim", "clear_replace_member", "delete_claim", "delete_pod", "join"],
        replaces: true,
    },
    Procedure {
        name: "replace_the_damaged",
        from: 3,
        to: 3,
        change: |scene| {
            scene.set_mood(REPLACED, Mood::Damaged);
            Box::pin(async { Ok(()) })
        },
        calls: &["delete_claim", "delete_pod", "join", "publish_event", "write_status"],
        replaces: true,
    },
    Procedure {
        name: "give_up_a_volume",
        from: 3,
        to: 2,
        change: |scene| {
            let gives_up = json!({"replicas": 2, "pvc": {"retention": {"whenScaled": "Delete"}}});
            Box::pin(patch(scene, json!({"voters": gives_up})))
        },
        calls: &["annotate_claim", "delete_claim", "join", "remove", "scale_statefulset"],
        replaces: false,
    },
    Procedure {
        name: "delete",
        from: 3,
        to: 0,
        change: |scene| Box::pin(scene.delete()),
        calls: &[],
        replaces: false,
    },
];

async fn replace(scene: &Scene<'_>) -> Result<()> {
    scene
        .cluster
        .patch(json!({"metadata": {"annotations": {"conuredb.dev/replace-member": REPLACED}}}))
        .await?;
    Ok(())
}

async fn scale(scene: &Scene<'_>, voters: i32) -> Result<()> {
    patch(scene, json!({"voters": {"replicas": voters}})).await
}

async fn patch(scene: &Scene<'_>, spec: Value) -> Result<()> {
    scene.cluster.patch(json!({"spec": spec})).await.map(drop)
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |procedure: Procedure| -> Case {
        let name = format!("killed_at_every_point_of_{}_it_comes_to_the_same_end", procedure.name);
        (name, Box::new(move |stage| Box::pin(die_everywhere(stage, procedure))))
    };
    PROCEDURES.into_iter().map(case).collect()
}

async fn die_everywhere(stage: &Stage, procedure: Procedure) -> Result<()> {
    let undisturbed = play(stage, procedure, None).await?;
    let reached: BTreeSet<&str> = undisturbed.passed.keys().map(String::as_str).collect();
    for call in procedure.calls {
        for point in [format!("before_{call}"), format!("after_{call}")] {
            ensure!(reached.contains(point.as_str()), "it never came to {point}; it came to {reached:?}");
        }
    }
    let deaths = undisturbed
        .passed
        .iter()
        .flat_map(|(point, passed)| (0..TIMES.min(*passed)).map(move |time| (point, time)));
    let died: Vec<bool> = stream::iter(deaths)
        .map(|(point, time)| {
            let expected = &undisturbed.shape;
            async move {
                let what = || format!("dying at {point}, time {}", time + 1);
                let played = play(stage, procedure, Some((point.as_str(), time))).await.with_context(what)?;
                same(expected, &played.shape).with_context(what)?;
                anyhow::Ok(played.died)
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    // What comes second or third may not come at all when things happen in another order; what comes first does.
    let total = died.iter().filter(|died| **died).count();
    ensure!(total >= reached.len(), "only {total} deaths at {} points", reached.len());
    println!("    {}: {total} deaths at {} points, one end", procedure.name, reached.len());
    Ok(())
}

struct Played {
    shape: Value,
    died: bool,
    /// How often each point was passed in the procedure, where nobody died.
    passed: BTreeMap<String, usize>,
}

/// One cluster's way through the procedure, its operator dying at a point the n-th time that it comes there.
async fn play(stage: &Stage, procedure: Procedure, death: Option<(&str, usize)>) -> Result<Played> {
    let scene = stage.scene().await?;
    if procedure.from > 0 {
        scene.create(procedure.from, json!({})).await?;
        let operator = scene.operator("")?;
        reached(&scene, procedure.from, None).await.with_context(|| operator.last_lines())?;
        operator.kill().await?;
    }
    let failpoints = match death {
        None => String::new(),
        Some((point, 0)) => format!("{point}=return"),
        Some((point, times)) => format!("{point}={times}*off->return"),
    };
    let volume = scene.claim_uid(REPLACED).await?.filter(|_| procedure.replaces);
    (procedure.change)(&scene).await?;
    let mut operator = scene.operator(&failpoints)?;
    let points = calls::CALLS.iter().flat_map(|call| [format!("before_{call}"), format!("after_{call}")]);
    let mut passed = BTreeMap::new();
    for point in points {
        passed.insert(point.clone(), operator.passed(&point)?);
    }
    let died = tokio::select! {
        done = reached(&scene, procedure.to, volume.as_deref()) => {
            done.with_context(|| operator.last_lines())?;
            for (point, before) in &mut passed {
                *before = operator.passed(point)? - *before;
            }
            operator.kill().await?;
            false
        }
        ended = operator.ended(PATIENCE) => {
            let status = ended?.context("neither done nor dead")?;
            ensure!(death.is_some(), "the operator ended: {status}: {}", operator.last_lines());
            let successor = scene.operator("")?;
            let done = reached(&scene, procedure.to, volume.as_deref()).await;
            done.with_context(|| successor.last_lines())?;
            successor.kill().await?;
            true
        }
    };
    scene.unharmed()?;
    let shape = scene.shape().await?;
    if procedure.to > 0 {
        scene.delete().await?;
    }
    passed.retain(|_, times| *times > 0);
    Ok(Played { shape, died, passed })
}

/// Waits for the end. `replaced`: the volume that [`REPLACED`] had before.
async fn reached(scene: &Scene<'_>, voters: i32, replaced: Option<&str>) -> Result<()> {
    if voters == 0 {
        return scene.gone().await;
    }
    if let Some(before) = replaced {
        until(&format!("{REPLACED} has a new volume"), PATIENCE, async || {
            let now = scene.claim_uid(REPLACED).await?;
            ensure!(now.is_some_and(|now| now != before), "it has the old one, or none");
            Ok(())
        })
        .await?;
    }
    scene.settled(voters).await?;
    // Ready is written before pods that were scaled away are gone.
    let pods = usize::try_from(voters + i32::from(voters % 2 == 0))?;
    until("every pod is a member's", Duration::from_secs(30), async || {
        let found = scene.cluster.pods().await?.len();
        if found == pods { Ok(()) } else { bail!("there are {found} pods and not {pods}") }
    })
    .await
}

/// The two ends are one.
fn same(expected: &Value, found: &Value) -> Result<()> {
    let (Some(expected), Some(found)) = (expected.as_object(), found.as_object()) else { bail!("no shapes") };
    for (part, wanted) in expected {
        let is = found.get(part).unwrap_or(&Value::Null);
        ensure!(is == wanted, "{part} differs:\n  expected {wanted}\n  found    {is}");
    }
    Ok(())
}
