//! Waiting for a condition: every wait has a deadline and says what it waited for.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks `probe` until it answers `Ok(Some(_))`; an `Err` counts as "not yet" and is shown when time is up.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() >= limit {
            match last {
                Some(error) => bail!("{what}: not so after {} s; last answer: {error:#}", limit.as_secs()),
                None => bail!("{what}: not so after {} s", limit.as_secs()),
            }
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_fails_says_what_it_waited_for_and_the_last_answer() {
        let error =
            until::<()>("the moon is full", Duration::ZERO, || bail!("a crescent")).unwrap_err().to_string();
        assert_eq!(error, "the moon is full: not so after 0 s; last answer: a crescent");
    }

    #[test]
    fn a_wait_ends_with_the_first_value() {
        let mut asked = 0;
        let value = until("third time", Duration::from_secs(5), || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(value.unwrap(), 3);
    }
}
