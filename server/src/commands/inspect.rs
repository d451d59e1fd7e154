//! `conure-db inspect`.

use conure_client::api::{Role, Suffrage};
use conure_member::offline::{self, CheckpointInfo, DatabaseInfo, IdentityInfo, Inspected, LogInfo};

use super::args::InspectArgs;
use super::output::{self, Table, bytes, count, or_none};
use super::{CommandError, progress};

pub(super) fn run(args: &InspectArgs) -> Result<(), CommandError> {
    let spinner = progress::spinner();
    let inspected = offline::inspect(&args.data_dir, |percent| {
        spinner.set_message(progress::percent("reading every page", Some(percent)));
    });
    spinner.finish_and_clear();
    let inspected = inspected?;
    if args.json { output::print_json(&inspected) } else { output::print(&render(&inspected)) }
}

fn render(inspected: &Inspected) -> String {
    let mut text = section("identity", &identity(&inspected.identity));
    match &inspected.database {
        Some(info) => text += &(section("database", &database(info)) + &section("trees", &trees(info))),
        None => text += "\nno database: the member is in no cluster\n",
    }
    if let Some(info) = &inspected.checkpoint {
        text += &(section("checkpoint", &checkpoint(info)) + &section("members", &members(info)));
    }
    if let Some(info) = &inspected.log {
        text += &section("log", &log(info));
    }
    if let Some(info) = &inspected.newest {
        let mut table = Table::default();
        table.row(["term", &count(info.term)]);
        table.row(["index", &count(info.index)]);
        text += &section("newest entry", &table);
    }
    text.trim_start().to_owned()
}

fn section(title: &str, table: &Table) -> String {
    format!("\n{title}\n{}", table.render(2))
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Data => "data",
        Role::Arbiter => "arbiter",
    }
}

fn identity(info: &IdentityInfo) -> Table {
    let mut table = Table::default();
    table.row(["member", &info.node_id]);
    table.row(["Raft node id", &info.raft_node_id]);
    table.row(["cluster", if info.cluster_id.is_empty() { "none" } else { &info.cluster_id }]);
    table.row(["incarnation", &info.incarnation.to_string()]);
    table.row(["state", info.state]);
    table.row(["role", role(info.role)]);
    table
}

fn database(info: &DatabaseInfo) -> Table {
    let page_size = u64::from(info.page_size_bytes);
    let mut table = Table::default();
    table.row(["file", &bytes(info.file_bytes)]);
    table.row(["pages", &format!("{} of {}", count(info.pages), bytes(page_size))]);
    table
        .row(["free pages", &format!("{} ({})", count(info.free_pages), bytes(info.free_pages * page_size))]);
    table.row(["commit", &count(info.commit)]);
    table.row(["durable commit", &count(info.durable_commit)]);
    table.row(["readers", &count(info.readers)]);
    if info.problems > 0 {
        table.row(["BROKEN", &format!("in {} places; see conure-db check", count(info.problems))]);
    }
    table
}

fn trees(info: &DatabaseInfo) -> Table {
    let mut table = Table::with_numbers_from(1);
    table.row(["name", "keys", "levels", "branch pages", "leaf pages", "value pages", "size"]);
    for tree in &info.trees {
        let name = if tree.name.is_empty() { "(list of trees)" } else { &tree.name };
        table.row([
            name,
            &count(tree.keys),
            &tree.levels.to_string(),
            &count(tree.branch_pages),
            &count(tree.leaf_pages),
            &count(tree.value_pages),
            &bytes(tree.bytes),
        ]);
    }
    table
}

fn checkpoint(info: &CheckpointInfo) -> Table {
    let mut table = Table::default();
    table.row(["revision", &count(info.revision)]);
    table.row(["applied entry", &or_none(info.applied_index)]);
    table.row(["of term", &or_none(info.applied_term)]);
    table.row(["log batch", &or_none(info.log_batch)]);
    table
}

fn members(info: &CheckpointInfo) -> Table {
    let mut table = Table::default();
    table.row(["name", "role", "suffrage", "Raft address", "HTTP address"]);
    for member in &info.members {
        let suffrage = match member.suffrage {
            Suffrage::Voter => "voter",
            Suffrage::Learner => "learner",
        };
        table.row([member.id.as_str(), role(member.role), suffrage, &member.raft_addr, &member.http_addr]);
    }
    table
}

fn log(info: &LogInfo) -> Table {
    let mut table = Table::default();
    table.row(["id", info.id.as_deref().unwrap_or("none")]);
    table.row(["first entry", &or_none(info.first_index)]);
    table.row(["last entry", &or_none(info.last_index)]);
    table.row(["purged up to", &or_none(info.purged_index)]);
    table.row(["term of the vote", &or_none(info.vote_term)]);
    table.row(["last batch", &or_none(info.last_batch)]);
    table.row(["behind checkpoint", &format!("{} entries", count(info.entries_behind_checkpoint))]);
    table.row(["segments", &count(info.segments)]);
    table.row(["size", &bytes(info.bytes)]);
    if info.torn_tail_bytes > 0 {
        table.row(["unfinished write", &bytes(info.torn_tail_bytes)]);
    }
    table
}
