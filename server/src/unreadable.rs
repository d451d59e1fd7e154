//! What the process ends with where a page of the database cannot be read from the disk that it is mapped from.

use std::path::Path;

use conure_client::exit;
use conure_member::end_on_unreadable_map;

const CAUSE: &str = "a page of it cannot be read: the disk failed, or another program cut the file";

/// A member, which has the directory `dir`, ends as it does for all other damage.
pub(crate) fn end_member(dir: &Path) {
    let what =
        format!("the storage failed: the database in data_dir {:?}: {CAUSE}", dir.display().to_string());
    let fix = "remove the member from its cluster, empty its data directory and let it join again, or restore a backup";
    install(&format!("{}{what}; {fix}", exit::DATA_DAMAGED_LINE), exit::DATA_DAMAGED);
}

/// A tool ends with `code`: what it was asked to do failed.
pub(crate) fn end_tool(code: u8) {
    install(&format!("conure-db: the database: {CAUSE}"), code);
}

fn install(line: &str, code: u8) {
    if let Err(error) = end_on_unreadable_map(&line.replace('\n', " "), code) {
        tracing::warn!(%error, "a page of the database that cannot be read will end the process without a word");
    }
}
