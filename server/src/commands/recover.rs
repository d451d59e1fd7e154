//! `conure-db recover`.

use conure_member::offline::{self, RecoverOptions, Recovered, Recovery};

use super::args::RecoverArgs;
use super::{CommandError, output, progress};

pub(super) fn run(args: &RecoverArgs) -> Result<(), CommandError> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let options =
        RecoverOptions { confirm: given(&args.confirm), member: given(&args.member), copy: !args.no_copy };
    if args.once && options.confirm.is_none() {
        conure_program::say!("nothing to do: no recovery is confirmed");
        return Ok(());
    }
    let spinner = progress::spinner();
    let recovered = offline::recover(&args.data_dir, &options, |step| spinner.set_message(step.to_owned()));
    spinner.finish_and_clear();
    match recovered? {
        Recovery::Done(recovered) => say(&recovered, args),
        Recovery::NotDue(why) if args.once => conure_program::say!("nothing to do: {why}"),
        Recovery::NotDue(why) => return Err(CommandError::Unusable(format!("nothing was changed: {why}"))),
        // Every outcome of this version is above.
        _ => {}
    }
    Ok(())
}

fn say(recovered: &Recovered, args: &RecoverArgs) {
    conure_program::say!(
        "recovered cluster {} as incarnation {} with member {} alone, up to entry {} of term {} ({} of its entries came from \
         the log only); revision {}",
        recovered.cluster_id,
        recovered.incarnation,
        recovered.node_id,
        output::count(recovered.index),
        recovered.term,
        output::count(recovered.replayed),
        recovered.revision
    );
    if !recovered.left_behind.is_empty() {
        conure_program::say!(
            "left behind, to be joined again as new members: {}",
            recovered.left_behind.join(", ")
        );
    }
    if let Some(copy) = &recovered.copy {
        conure_program::say!("the directory as it was: {}", copy.display());
    }
    conure_program::say!(
        "start it with --node-id={} --data-dir={}",
        recovered.node_id,
        args.data_dir.display()
    );
}
