//! `conure-db restore` and `conure-db load`: a new cluster from a backup or a dump.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Read};
use std::path::Path;

use conure_member::offline::{self, Founded, NewCluster};
use rustix::fs::{FileType, fstat};

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
            let shown = args.file.display().to_string();
            let unusable = |what: String| CommandError::Unusable(format!("the backup {shown:?} {what}"));
            let opened = File::open(&args.file).and_then(|file| Ok((file.metadata()?, file)));
            let (meta, file) = opened.map_err(|error| unusable(format!("cannot be opened: {error}")))?;
            if meta.is_dir() {
                let mend = "name the file that `conure-db backup` wrote";
                return Err(unusable(format!("is a directory; {mend}")));
            }
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

/// Standard input, unless a person would have to type it, or it is a directory.
fn standard_input(what: &str) -> Result<io::StdinLock<'static>, CommandError> {
    let is_directory = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode).is_dir();
    let unusable = if io::stdin().is_terminal() {
        "a terminal"
    } else if fstat(io::stdin()).is_ok_and(is_directory) {
        "a directory"
    } else {
        return Ok(io::stdin().lock());
    };
    Err(CommandError::Unusable(format!("standard input is {unusable}; give {what}, with < FILE")))
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
