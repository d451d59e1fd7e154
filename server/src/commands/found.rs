//! `conure-db restore` and `conure-db load`: a new cluster from a backup or a dump.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Read};
use std::path::Path;

use conure_member::offline::{self, Founded, NewCluster};

use super::args::{LoadArgs, NewArgs, RestoreArgs};
use super::progress::{self, Counted};
use super::{CommandError, output};

/// So many bytes are read at once.
const READ_BYTES: usize = 256 << 10;

fn new_cluster(args: &NewArgs) -> NewCluster {
    NewCluster {
        node_id: args.node_id.clone(),
        cluster_id: args.cluster_id.clone(),
        incarnation: args.incarnation,
    }
}

pub(super) fn restore(args: &RestoreArgs) -> Result<(), CommandError> {
    let (backup, len): (Box<dyn Read>, _) = match args.file.to_str() {
        Some("-") => (Box::new(standard_input("a backup")?), None),
        _ => {
            let opened = File::open(&args.file).and_then(|file| Ok((file.metadata()?, file)));
            let (meta, file) = opened.map_err(|error| {
                let file = args.file.display().to_string();
                CommandError::Unusable(format!("the backup {file:?} cannot be opened: {error}"))
            })?;
            (Box::new(file), Some(meta.len()))
        }
    };
    let bar = progress::bytes("restored", len);
    let founded = offline::restore(Counted::new(backup, &bar), &args.data_dir, &new_cluster(&args.new));
    bar.finish_and_clear();
    say("restored", &founded?, &args.data_dir, &args.new.node_id);
    Ok(())
}

pub(super) fn load(args: &LoadArgs) -> Result<(), CommandError> {
    let bar = progress::bytes("loaded", None);
    let dump = BufReader::with_capacity(READ_BYTES, standard_input("a dump")?);
    let founded = offline::load(Counted::new(dump, &bar), &args.data_dir, &new_cluster(&args.new));
    bar.finish_and_clear();
    say("loaded", &founded?, &args.data_dir, &args.new.node_id);
    Ok(())
}

/// Standard input, unless a person would have to type it.
fn standard_input(what: &str) -> Result<io::StdinLock<'static>, CommandError> {
    if io::stdin().is_terminal() {
        return Err(CommandError::Unusable(format!(
            "standard input is a terminal; give {what}, with < FILE"
        )));
    }
    Ok(io::stdin().lock())
}

fn say(done: &str, founded: &Founded, dir: &Path, node_id: &str) {
    conure_program::say!(
        "{done} {} keys of cluster {} as cluster {} (incarnation {}), revision {}; start it with --node-id={node_id} --data-dir={}",
        output::count(founded.keys),
        founded.from_cluster_id,
        founded.cluster_id,
        founded.incarnation,
        founded.revision,
        dir.display()
    );
}
