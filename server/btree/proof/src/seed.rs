//! Where the randomness of a run comes from.

use std::hash::{BuildHasher, RandomState};
use std::num::ParseIntError;

use conure_io::Random;

/// The seed in the environment variable `variable`, or a fresh one. Whoever calls prints it.
///
/// # Errors
///
/// The variable is set and is no number: a run that somebody wants to repeat must not take another seed.
pub fn seed(variable: &str) -> Result<u64, ParseIntError> {
    std::env::var(variable).map_or_else(|_| Ok(RandomState::new().hash_one(variable)), |text| text.parse())
}

/// A seed made of two: neighbours give seeds that have nothing in common.
#[must_use]
pub fn mixed(seed: u64, number: u64) -> u64 {
    Random::new(seed ^ Random::new(number).next_u64()).next_u64()
}
