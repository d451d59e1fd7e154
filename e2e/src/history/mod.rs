//! What clients did and saw: the record of one operation, the file of them, and those who read it.
//!
//! One line of JSON is one operation. The file says everything that a linearizability checker needs: who, what, on which
//! key, from when to when, and how it ended. An operation of unknown outcome stays open to the end of the history; it is
//! never repeated, so that no record stands for two requests.
//!
//! **Invariant:** nothing here knows Kubernetes or HTTP; a history from anywhere can be judged.

mod file;
mod judge;
mod pause;
mod record;

pub use file::{HistoryError, HistoryWriter, read};
pub use judge::{Verdict, Violation, judge};
pub use pause::{Figures, Phase, figures};
pub use record::{Op, Outcome, Record};
