//! `conure-db check`.

use std::fmt::Write as _;
use std::path::Path;

use conure_member::offline::{self, Check};

use super::args::CheckArgs;
use super::output::{self, Table};
use super::{CommandError, progress};

pub(super) fn run(args: &CheckArgs) -> Result<(), CommandError> {
    let spinner = progress::spinner();
    let checked =
        offline::check(&args.data_dir, |step, percent| spinner.set_message(progress::percent(step, percent)));
    spinner.finish_and_clear();
    let checked = checked?;
    let printed = if args.json { output::print_json(&checked) } else { output::print(&render(&checked)) };
    // That the directory is broken is worth more than that nobody reads where.
    if checked.clean { printed } else { Err(broken(&checked, &args.data_dir)) }
}

fn broken(checked: &Check, dir: &Path) -> CommandError {
    let faults: usize = checked.parts.iter().map(|part| part.faults.len()).sum();
    CommandError::Failed(format!(
        "data_dir {:?} is broken (faults: {faults}); remove the member from its cluster, empty the directory and join it \
         again, or restore a backup",
        dir.display().to_string()
    ))
}

fn render(checked: &Check) -> String {
    let mut table = Table::default();
    for part in &checked.parts {
        let verdict = if part.faults.is_empty() { "ok" } else { "broken" };
        table.row([part.name, verdict, &part.looked_at]);
    }
    let mut text = table.render(0);
    for fault in checked.parts.iter().flat_map(|part| &part.faults) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}: {}", fault.place, fault.what);
    }
    if checked.clean {
        text += "nothing is wrong\n";
    }
    text
}
