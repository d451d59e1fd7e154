//! `kubectl conure`: ConureDB clusters for people. Put the program `kubectl-conure` onto the PATH and kubectl finds it.
//!
//! Everything goes through the kubectl that is there, so that contexts, logins and proxies are the user's own.

#![warn(clippy::print_stderr)]

mod check;
mod kubectl;
mod table;
mod verbs;
mod view;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Looks at ConureDB clusters and changes them.
#[derive(Debug, Parser)]
#[command(name = "kubectl conure", bin_name = "kubectl conure", version)]
struct Arguments {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    verb: Verb,
}

/// Which Kubernetes.
#[derive(Debug, Clone, Default, Args)]
struct Access {
    /// The namespace; unset, the context's own.
    #[arg(short, long, global = true)]
    namespace: Option<String>,
    /// The context of the kubeconfig.
    #[arg(long, global = true)]
    context: Option<String>,
    /// The kubeconfig.
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// A cluster and how to show it.
#[derive(Debug, Args)]
struct Shown {
    /// The cluster; unset, the only one of the namespace.
    name: Option<String>,
    /// text or json.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Conditions and members of a cluster.
    Status(Shown),
    /// The members, their nodes and volumes.
    Members(Shown),
    /// Hands leadership to a member.
    Promote {
        /// The member, which is the pod's name.
        member: String,
    },
    /// Replaces every pod, one at a time, the leader last.
    Restart {
        /// The cluster; unset, the only one of the namespace.
        name: Option<String>,
    },
    /// Replaces a member by a new one of its name on a new volume. The data of its volume is given up.
    Replace {
        /// The member, which is the pod's name.
        member: String,
        /// Do it: without this, only say what would be done.
        #[arg(long)]
        yes: bool,
    },
    /// The logs of one member, or of all.
    Logs {
        /// A member, or a cluster; unset, the only cluster of the namespace.
        of: Option<String>,
        /// Go on as they are written.
        #[arg(short, long)]
        follow: bool,
        /// How many last lines of each.
        #[arg(long, default_value_t = 100)]
        tail: i64,
    },
    /// What is wrong or could be better; exit code 1 where something is wrong.
    Check(Shown),
}

/// The name of the program.
const PROGRAM: &str = "kubectl-conure";

fn main() -> ExitCode {
    conure_program::end_on_panic(PROGRAM, 1);
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return conure_program::usage(PROGRAM, error.use_stderr(), &error.render().to_string()),
    };
    let code = verbs::run(&arguments.access, &arguments.verb).unwrap_or_else(|error| {
        conure_program::say!("error: {error}");
        ExitCode::FAILURE
    });
    conure_program::flush();
    code
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn flags_are_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
