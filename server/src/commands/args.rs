//! What the commands take.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The commands on data directories and backups.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Tool {
    /// Show what a data directory holds: whose it is, its trees, free pages, checkpoint and log.
    #[command(
        long_about = "Show what a data directory holds: whose it is, its trees, free pages, checkpoint and log.\n\n\
            No member may run on the directory meanwhile. Nothing in it changes: what opening the database would write \
            after a crash stays in memory. Every page is read, so this takes as long as reading the files does.",
        after_help = "Examples:\n  conure-db inspect ./data\n  conure-db inspect --json ./data | jq .database.trees\n\n\
            Exit code 2 where the directory cannot be read or a member runs on it."
    )]
    Inspect(InspectArgs),

    /// Check a data directory for damage, and say where it is.
    #[command(
        long_about = "Check a data directory for damage, and say where it is: every page of the database is reached or \
            free exactly once and has its checksum, keys are in order and counted, every entry of the log reads back, and \
            identity, database and log belong together.\n\nNo member may run on the directory meanwhile. Nothing in it \
            changes, and nothing is repaired: a broken member is emptied and joins again, or a backup is restored.",
        after_help = "Examples:\n  conure-db check ./data\n  conure-db check --json ./data | jq '.parts[].faults[]'\n\n\
            Exit codes: 0 nothing is wrong, 1 something is broken, 2 it cannot be checked (not there, in use, another version)."
    )]
    Check(CheckArgs),

    /// Write all keys of a data directory to standard output, as text.
    #[command(
        long_about = "Write all keys of a data directory to standard output, as text: a JSON object a line, a header \
            first, the keys in order with their revisions and values, and an end with count and checksum. What is not \
            UTF-8 is base64.\n\nNo member may run on the directory meanwhile, and nothing in it changes. After a \
            crash the log may hold changes that the database does not yet: then the member has to be started and stopped \
            once, or --ignore-log given.",
        after_help = "Examples:\n  conure-db dump ./data > all.jsonl\n  conure-db dump ./data | jq -r 'select(.key) | .key'\n\n\
            Exit codes: 0 all was written, 1 writing failed, 2 the directory cannot be dumped, or standard output is closed."
    )]
    Dump(DumpArgs),

    /// Make a new cluster from a dump on standard input.
    #[command(
        long_about = "Make a new cluster from a dump on standard input: DATA_DIR becomes the data directory of its one \
            member, which `conure-db --data-dir DATA_DIR` starts and others can join.\n\nKeys keep their revisions. The \
            cluster's own revision goes ahead by 2^32 for each incarnation, so that no ETag is ever used twice. \
            Nothing counts before the whole dump was read: a dump that is cut off or damaged is refused, and then nothing stays.",
        after_help = "Examples:\n  conure-db load ./data2 < all.jsonl\n  conure-db dump ./data | conure-db load --node-id=node1 ./data2\n\n\
            Exit codes: 0 the cluster is there, 1 the disk failed, 2 the dump or the directory cannot be used."
    )]
    Load(LoadArgs),

    /// Back up a running cluster to a file.
    #[command(
        long_about = "Back up a running cluster to a file: a consistent state that holds every change that was \
            acknowledged before, streamed from one data member while reads and writes go on.\n\nThe backup is verified as \
            it arrives and gets its name only when it is whole and on the disk. FILE - is standard output. \
            --force replaces regular files only, through a symbolic link its target; a pipe or a device gets the backup by - > FILE.",
        after_help = "Examples:\n  conure-db backup http://localhost:8081 monday.backup\n  \
            conure-db backup --admin-token-file=token http://conure:8081 - | ssh elsewhere 'cat > monday.backup'\n\n\
            Exit codes: 0 the backup is whole, 1 the member, the network or the disk failed, 2 a file, URL or token cannot be used, \
            or standard output is closed."
    )]
    Backup(BackupArgs),

    /// Make a new cluster from a backup.
    #[command(
        long_about = "Make a new cluster from a backup: DATA_DIR becomes the data directory of its one member, which \
            `conure-db --data-dir DATA_DIR` starts and others can join.\n\nKeys keep their revisions. The cluster has a \
            new id, and its own revision goes ahead by 2^32 for each incarnation, so that no ETag is ever used twice. A backup \
            that was restored before has to get a higher --incarnation than then. Nothing counts before the whole \
            backup was read and verified: one that is cut off or damaged is refused, and then nothing stays. FILE - is \
            standard input.",
        after_help = "Examples:\n  conure-db restore monday.backup ./data2\n  conure-db restore --node-id=conure-bootstrap-0 monday.backup /data\n\n\
            Exit codes: 0 the cluster is there, 1 the disk failed, 2 the backup or the directory cannot be used."
    )]
    Restore(RestoreArgs),

    /// Go on with one member alone where the quorum is lost for good.
    #[command(
        long_about = "Go on with one member alone where the quorum is lost for good: DATA_DIR becomes the data directory of the \
            only member of its cluster's next incarnation, with all that its database and its log hold.\n\n\
            THIS CAN LOSE ACKNOWLEDGED WRITES: those that only lost members had. First see that no quorum will ever be back, stop \
            every member that is left, and choose the one that `conure-db inspect` shows to hold the newest entry: the highest \
            term, then the highest index.\n\nThe cluster keeps its id. Its incarnation goes up by one and its revision by 2^32, so \
            that no ETag is ever used twice, and members that were left behind are refused, should they come back: \
            they hold their data until they are joined again, each as a new member.\n\n--confirm names the cluster and its \
            incarnation as they are now, so that the same request never fires twice. A copy of the directory as it was stays in its \
            folder before-recovery-INCARNATION. A recovery that was broken off is repeated; no member starts meanwhile.",
        after_help = "Examples:\n  conure-db inspect ./data\n  conure-db recover ./data --confirm 6b1f…:1\n\n\
            In an init container, by environment variables alone, where every start runs it again:\n  \
            CONURE_DATA_DIR=/data CONURE_RECOVER_CONFIRM=6b1f…:1 CONURE_RECOVER_MEMBER=conure-1 conure-db recover --once\n\n\
            Exit codes: 0 recovered (with --once also: nothing was due), 1 the disk failed, 2 it was not confirmed, or the \
            directory cannot be used."
    )]
    Recover(RecoverArgs),
}

/// What `inspect` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InspectArgs {
    /// The data directory.
    #[arg(value_name = "DATA_DIR")]
    pub(super) data_dir: PathBuf,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub(super) json: bool,
}

/// What `check` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// The data directory.
    #[arg(value_name = "DATA_DIR")]
    pub(super) data_dir: PathBuf,

    /// Print JSON instead of lines.
    #[arg(long)]
    pub(super) json: bool,
}

/// What `dump` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DumpArgs {
    /// The data directory.
    #[arg(value_name = "DATA_DIR")]
    pub(super) data_dir: PathBuf,

    /// Dump what the last checkpoint holds, although the log may hold changes behind it, or be damaged.
    #[arg(long)]
    pub(super) ignore_log: bool,
}

/// What a new cluster shall be called.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct NewArgs {
    /// The name of the cluster's one member, with which it is to be started.
    #[arg(long, value_name = "ID", default_value = "node1", env = "CONURE_NODE_ID")]
    pub(super) node_id: String,

    /// The cluster's id. [default: a random one]
    #[arg(long, value_name = "ID")]
    pub(super) cluster_id: Option<String>,

    /// The cluster's incarnation, above that of the data. [default: the next one]
    #[arg(long, value_name = "N")]
    pub(super) incarnation: Option<u64>,
}

/// What `load` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct LoadArgs {
    /// The data directory to make; it may be there if it is no member's.
    #[arg(value_name = "DATA_DIR")]
    pub(super) data_dir: PathBuf,

    #[command(flatten)]
    pub(super) new: NewArgs,
}

/// What `backup` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct BackupArgs {
    /// The HTTP address of a data member, http://HOST:PORT.
    #[arg(value_name = "URL")]
    pub(super) url: String,

    /// The file to write; - is standard output.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// A file with the administration's token, where the member wants one.
    #[arg(long, value_name = "FILE", env = "CONURE_ADMIN_TOKEN_FILE")]
    pub(super) admin_token_file: Option<PathBuf>,

    /// Replace FILE if it is there.
    #[arg(long)]
    pub(super) force: bool,
}

/// What `restore` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RestoreArgs {
    /// The backup; - is standard input.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// The data directory to make; it may be there if it is no member's.
    #[arg(value_name = "DATA_DIR")]
    pub(super) data_dir: PathBuf,

    #[command(flatten)]
    pub(super) new: NewArgs,
}

/// What `recover` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RecoverArgs {
    /// The data directory of the member to go on with.
    #[arg(value_name = "DATA_DIR", env = "CONURE_DATA_DIR")]
    pub(super) data_dir: PathBuf,

    /// The cluster's id and its present incarnation; the id alone stands for incarnation 1. Without it, what there is to
    /// confirm is said.
    #[arg(long, value_name = "CLUSTER_ID[:INCARNATION]", env = "CONURE_RECOVER_CONFIRM")]
    pub(super) confirm: Option<String>,

    /// Refuse unless the directory is that of the member called so.
    #[arg(long, value_name = "ID", env = "CONURE_RECOVER_MEMBER")]
    pub(super) member: Option<String>,

    /// Exit with 0 where nothing is due: the cluster is past that incarnation already, the directory is another member's or
    /// empty, or nothing is confirmed.
    #[arg(long)]
    pub(super) once: bool,

    /// Keep no copy of the directory as it was.
    #[arg(long)]
    pub(super) no_copy: bool,
}
