//! `conure-db dump`.

use std::io::BufWriter;

use conure_member::offline::{self, DumpOptions};
use conure_program::say;

use super::args::DumpArgs;
use super::progress::{self, Counted};
use super::{CommandError, output, target};

/// So many bytes are written at once.
const WRITE_BYTES: usize = 256 << 10;

pub(super) fn run(args: &DumpArgs) -> Result<(), CommandError> {
    target::check_standard_output(true)?;
    let bar = progress::bytes("dumped", None);
    let out = BufWriter::with_capacity(WRITE_BYTES, Counted::new(super::standard_output()?.lock(), &bar));
    let dumped = offline::dump(&args.data_dir, DumpOptions { ignore_log: args.ignore_log }, out);
    bar.finish_and_clear();
    let dumped = dumped?;
    say!("dumped {} keys, revision {}", output::count(dumped.keys), dumped.revision);
    Ok(())
}
