//! What README.md and docs/kubernetes.md tell their reader to type, typed.
//!
//! The blocks that are marked as run by this file run as they stand, in a shell in the checkout, in the order in which a
//! reader meets them, with images under the names that the charts give them.

use std::collections::VecDeque;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::world::World;
use crate::process::output;

/// The marker before a block.
const MARKER: &str = "<!-- run by: e2e/src/scenario/documented.rs -->";
/// How long one block may take.
const LIMIT: Duration = Duration::from_mins(10);
/// The tag that the charts give their images.
const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

const UNINSTALL_OPERATOR: &str = "helm uninstall conuredb-operator --namespace conuredb-system --wait";
const DELETE_DEFINITION: &str = "kubectl delete crd conureclusters.conuredb.dev --ignore-not-found";
const DELETE_VOLUMES: &str = "kubectl delete pvc -l app.kubernetes.io/instance=conure";
const READY: &str = "kubectl wait --for=condition=Ready conure/conure --timeout=2m";
/// A function of the shell that says the uid of the claim of who is replaced.
const CLAIM: &str =
    "claim() { kubectl get pvc data-conure-1 --ignore-not-found -o jsonpath={.metadata.uid}; }";
const UNTIL_ANOTHER_CLAIM: &str =
    "while now=$(claim); [ -z \"$now\" ] || [ \"$now\" = \"$before\" ]; do sleep 1; done";
const REMOVE_CHART: &str =
    "helm uninstall mydb --wait && kubectl delete pvc -l app.kubernetes.io/instance=conure";

pub(super) async fn documented_commands_do_what_the_pages_say(world: &mut World) -> Result<()> {
    let (server, operator) = (&world.settings.server_image, &world.settings.operator_image);
    // The page asks for a version of the server's image that does not exist yet: here it is the same.
    let names = [
        (server, "conuredb", VERSION),
        (server, "conuredb", "v1.0.0"),
        (operator, "conuredb-operator", VERSION),
    ];
    for (image, name, tag) in names {
        let reference = format!("{}:{}", image.repository, image.tag);
        world.faults()?.tag(&reference, &format!("docker.io/conuredb/{name}:{tag}"))?;
    }
    let world: &World = world;
    // The steps before left a definition that belongs to their release.
    types(world, DELETE_DEFINITION, "").await?;

    let mut readme = Page::open(world, "README.md")?;
    types(world, &readme.next("On Kubernetes")?, "scaled").await?;
    readme.is_through()?;
    types(world, UNINSTALL_OPERATOR, "uninstalled").await?;

    let mut page = Page::open(world, "docs/kubernetes.md")?;
    types(world, &page.next("Install the operator")?, "successfully rolled out").await?;
    let without_helm = page.next("Install the operator")?;
    types(world, &page.next("Make a cluster")?, "condition met").await?;
    types(world, &page.next("Make a cluster")?, "world").await?;
    // The charts' cluster has the same name: its turn comes when this one is gone.
    let ha = page.next("With the charts for clusters")?;
    let single = page.next("With the charts for clusters")?;
    types(world, &page.next("Look at it")?, "conure-bootstrap-0 Data Voter").await?;
    types(world, &page.next("Change the number of members")?, "condition met").await?;
    types(world, &page.next("Change anything else")?, "condition met").await?;
    types(world, &page.next("Suspend a cluster, or pause its operator")?, "condition met").await?;
    let ask = page.next("Replace a member")?;
    types(world, &format!("{CLAIM}\nbefore=$(claim)\n{ask}\n{UNTIL_ANOTHER_CLAIM}"), "annotated").await?;
    types(world, READY, "condition met").await?;
    types(world, &page.next("Drain a node")?, "uncordoned").await?;
    types(world, READY, "condition met").await?;
    types(world, &page.next("Uninstall")?, "data-conure-0").await?;
    types(world, DELETE_VOLUMES, "deleted").await?;
    types(world, &ha, "has been upgraded").await?;
    types(world, REMOVE_CHART, "deleted").await?;
    types(world, &single, "deployed").await?;
    types(world, READY, "condition met").await?;
    types(world, REMOVE_CHART, "deleted").await?;
    types(world, &page.next("Uninstall")?, "uninstalled").await?;
    types(world, DELETE_DEFINITION, "deleted").await?;
    types(world, &without_helm, "created").await?;
    types(world, "kubectl -n conuredb-system rollout status deployment", "successfully rolled out").await?;
    types(world, "kubectl delete -f manifests/operator.yaml -f manifests/crd.yaml", "deleted").await?;
    page.is_through()
}

/// Types into a shell and looks for what a reader would see.
async fn types(world: &World, text: &str, seen: &str) -> Result<()> {
    let began = Instant::now();
    let tools = world.settings.tools.as_deref().context("the tools' folder is not known")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", text]).current_dir(&world.settings.checkout);
    shell.env("KUBECONFIG", &world.settings.kubeconfig).env("PATH", format!("{}:{path}", tools.display()));
    let printed = tokio::task::spawn_blocking(move || output(&mut shell, LIMIT)).await?;
    let printed = printed.with_context(|| format!("typed:\n{text}"))?;
    ensure!(printed.contains(seen), "typed:\n{text}\nand saw no {seen:?} in:\n{printed}");
    let first = text.lines().next().unwrap_or_default();
    world.say(format!("{:5.1} s  {first}", began.elapsed().as_secs_f64()));
    Ok(())
}

/// The blocks of a page that run here.
struct Page {
    name: &'static str,
    blocks: VecDeque<Block>,
}

#[derive(Debug, PartialEq, Eq)]
struct Block {
    heading: String,
    text: String,
}

impl Page {
    fn open(world: &World, name: &'static str) -> Result<Self> {
        let text = fs::read_to_string(world.settings.checkout.join(name)).context(name)?;
        Ok(Self { name, blocks: blocks(&text) })
    }

    /// The next block, which stands below `heading`.
    fn next(&mut self, heading: &str) -> Result<String> {
        let name = self.name;
        let block =
            self.blocks.pop_front().with_context(|| format!("{name} has no more blocks to run here"))?;
        ensure!(
            block.heading == heading,
            "{name}: the next block is below {:?}, not {heading:?}",
            block.heading
        );
        Ok(block.text)
    }

    fn is_through(&self) -> Result<()> {
        ensure!(self.blocks.is_empty(), "{}: nobody ran {:?}", self.name, self.blocks);
        Ok(())
    }
}

/// The marked blocks of a page.
fn blocks(page: &str) -> VecDeque<Block> {
    let (mut heading, mut blocks) = (String::new(), VecDeque::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text.to_owned();
        } else if line == MARKER {
            let text: Vec<&str> =
                lines.by_ref().skip(1).take_while(|line| !line.starts_with("```")).collect();
            blocks.push_back(Block { heading: heading.clone(), text: text.join("\n") });
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_blocks_are_found_with_their_headings() {
        let page = format!(
            "# T\n## One\n```sh\nno\n```\n{MARKER}\n```sh\na b\nc\n```\n## Two\n{MARKER}\n```sh\nd\n```\n"
        );
        let block = |heading: &str, text: &str| Block { heading: heading.into(), text: text.into() };
        assert_eq!(blocks(&page), [block("One", "a b\nc"), block("Two", "d")]);
    }
}
