//! How long requests took.

use std::time::Duration;

/// What a load came to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests answered in a second.
    pub rate: f64,
    /// Half of them took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took no longer, in milliseconds.
    pub p99_ms: f64,
    /// 999 of 1,000 took no longer, in milliseconds.
    pub p999_ms: f64,
}

impl Outcome {
    /// From the time of each request and of all together.
    #[must_use]
    pub fn of(mut times: Vec<Duration>, all: Duration) -> Self {
        times.sort_unstable();
        let requests = times.len() as u64;
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
        let rate = requests as f64 / all.as_secs_f64().max(f64::MIN_POSITIVE);
        Self {
            requests,
            rate,
            p50_ms: percentile(&times, 500),
            p99_ms: percentile(&times, 990),
            p999_ms: percentile(&times, 999),
        }
    }
}

/// The time that so many thousandths did not exceed, in milliseconds. The times are sorted.
fn percentile(times: &[Duration], thousandths: usize) -> f64 {
    let at = (times.len() * thousandths).div_ceil(1000).saturating_sub(1);
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_so_many_did_not_exceed() {
        let times: Vec<_> = (1..=1000).rev().map(Duration::from_millis).collect();
        let outcome = Outcome::of(times, Duration::from_secs(2));
        assert_eq!((outcome.p50_ms, outcome.p99_ms, outcome.p999_ms), (500.0, 990.0, 999.0));
        assert_eq!((outcome.requests, outcome.rate), (1000, 500.0));
        let one = Outcome::of(vec![Duration::from_millis(7)], Duration::from_secs(1));
        assert_eq!((one.p50_ms, one.p99_ms, one.p999_ms), (7.0, 7.0, 7.0));
        assert_eq!(Outcome::of(Vec::new(), Duration::ZERO).rate, 0.0);
    }
}
