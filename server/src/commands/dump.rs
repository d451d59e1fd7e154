//! `conure-db dump`.

use std::io::{self, BufWriter};

use conure_member::offline::{self, DumpOptions};

use super::args::DumpArgs;
use super::progress::{self, Counted};
use super::{CommandError, output};

/// So many bytes are written at once.
const WRITE_BYTES: usize = 256 << 10;

pub(super) fn run(args: &DumpArgs) -> Result<(), CommandError> {
    let bar = progress::bytes("dumped", None);
    let out = BufWriter::with_capacity(WRITE_BYTES, Counted::new(io::stdout().lock(), &bar));
    let dumped = offline::dump(&args.data_dir, DumpOptions { ignore_log: args.ignore_log }, out);
    bar.finish_and_clear();
    let dumped = dumped?;
    eprintln!("dumped {} keys, revision {}", output::count(dumped.keys), dumped.revision);
    Ok(())
}
