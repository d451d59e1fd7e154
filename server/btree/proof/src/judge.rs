//! What a crash left: may it be there, and is the file sound?

use std::panic::{AssertUnwindSafe, catch_unwind};

use conure_io::SimDisk;

use crate::model::{Finding, Model, contents, open};
use crate::record::Recorded;

/// What is wrong with an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Verdict {
    /// It holds none of the states that may be there.
    #[error("lost: {0}")]
    Lost(String),
    /// It cannot be opened or read, or its file is not sound.
    #[error("corrupt: {0}")]
    Corrupt(String),
}

impl From<Finding> for Verdict {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Differs(_) => Self::Lost(finding.to_string()),
            _ => Self::Corrupt(finding.to_string()),
        }
    }
}

impl From<conure_btree::Error> for Verdict {
    fn from(error: conure_btree::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl From<std::io::Error> for Verdict {
    fn from(error: std::io::Error) -> Self {
        Finding::from(error).into()
    }
}

/// Opens what a crash or a kill at `prefix` of the recording left. What it holds is one of the states that may be
/// there, and its file is sound, before and after it was closed and opened again.
///
/// # Errors
///
/// The verdict, where it is not so.
pub fn judge(recorded: &Recorded, prefix: usize, image: &SimDisk) -> Result<Model, Verdict> {
    let db = open(image, recorded.options.clone())?;
    let found = contents(&db.begin_read()?)?;
    let allowed = recorded.allowed(prefix);
    if !allowed.contains(&&found) {
        return Err(Verdict::Lost(difference(&found, &allowed)));
    }
    let report = db.check()?;
    if !report.is_clean() {
        return Err(Verdict::Corrupt(format!("{:?}", report.problems)));
    }
    Ok(found)
}

/// How what was found differs from the states that may be there.
fn difference(found: &Model, allowed: &[&Model]) -> String {
    let count = |model: &Model| model.values().map(|entries| entries.len()).sum::<usize>();
    let wanted: Vec<_> = allowed.iter().map(|model| count(model)).collect();
    format!(
        "it holds {} keys in {} trees, and is none of the states that may be there (of {wanted:?} keys)",
        count(found),
        found.len()
    )
}

/// Runs `work`; a panic in it is a verdict like others.
///
/// # Errors
///
/// The verdict of `work`, or what it panicked with.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, Verdict>) -> Result<T, Verdict> {
    // What `work` holds is not used again after it panicked.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text");
        Err(Verdict::Corrupt(format!("a panic: {text}")))
    })
}
