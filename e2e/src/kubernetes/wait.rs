//! Waiting for a condition without blocking.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(150);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(15);

/// Asks `probe` until it answers `Ok`. An `Err` means "not yet, because"; the last one is shown when time is up.
pub async fn until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        let reason = match tokio::time::timeout(LOOK, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("looking took over {} s", LOOK.as_secs()),
        };
        if start.elapsed() >= limit {
            bail!("{what}: not so after {} s: {reason}", limit.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_that_fails_says_what_it_waited_for_and_why_not() {
        let error =
            until::<()>("the moon is full", Duration::ZERO, async || bail!("a crescent")).await.unwrap_err();
        assert_eq!(error.to_string(), "the moon is full: not so after 0 s: a crescent");
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_first_value() {
        let mut asked = 0;
        let value = until("third time", Duration::from_secs(5), async || {
            asked += 1;
            if asked < 3 { bail!("asked {asked} times") } else { Ok(asked) }
        });
        assert_eq!(value.await.unwrap(), 3);
    }
}
