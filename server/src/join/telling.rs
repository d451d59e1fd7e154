//! Pure: when a line about waiting is due.

use std::time::{Duration, Instant};

use super::decide::Waiting;

/// Between two lines that say the same.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What was said last, and when.
#[derive(Debug, Default)]
pub struct Telling(Option<(Waiting, Instant)>);

impl Telling {
    /// Whether to say this now: it is another reason, or was not said for long.
    pub fn is_due(&mut self, waiting: &Waiting, now: Instant) -> bool {
        let due = self
            .0
            .as_ref()
            .is_none_or(|(said, at)| said != waiting || now.duration_since(*at) >= AGAIN_AFTER);
        if due {
            self.0 = Some((waiting.clone(), now));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_when_it_changes_and_every_30_s() {
        let mut telling = Telling::default();
        let start = Instant::now();
        let (one, two) = (Waiting::passing("one"), Waiting::human("one"));
        for (waiting, after, due) in [
            (&one, 0, true),
            (&one, 5, false),
            (&one, 29, false),
            (&one, 30, true),
            (&one, 59, false),
            (&two, 59, true),
        ] {
            let now = start + Duration::from_secs(after);
            assert_eq!(telling.is_due(waiting, now), due, "{waiting:?} after {after} s");
        }
    }
}
