//! The condition that tells what became of a recovery.

use super::super::observe::Observed;
use super::super::recovery::{Stand, stand};
use super::Planned;
use super::conditions::Verdict;

/// The verdict, `None` where no recovery was asked for or made.
pub(super) fn verdict(observed: &Observed, planned: &Planned<'_>) -> Option<Verdict> {
    let verdict = |holds, reason: &str, message| Verdict { holds, reason: reason.to_owned(), message };
    Some(match stand(observed, planned.identity) {
        Stand::None => return None,
        Stand::Inert(reason, why) => verdict(Some(false), reason, why),
        Stand::Accepted(record) | Stand::UnderWay(record) => {
            let message = format!("the cluster goes on with {} alone", record.member_name);
            verdict(None, "Recovering", message)
        }
        Stand::Done(record) => {
            let message = format!(
                "the cluster went on with {} from incarnation {}, with everything up to term {}, index {}; its data as it was is \
                 in the folder before-recovery-{} of its volume",
                record.member_name,
                record.incarnation,
                record.last_log_term,
                record.last_log_index,
                record.incarnation
            );
            verdict(Some(true), "RecoveryDone", message)
        }
    })
}
