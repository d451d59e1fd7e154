//! Where all randomness of the process comes from: the seed.
//!
//! The standard library and the crates that draw random numbers ask the C library's `getrandom`. This program has a
//! function of that name of its own, which the linker prefers; so node ids, cluster ids, hash tables and election
//! timeouts are the seed's, with no change to the code that draws them.

#![expect(unsafe_code, reason = "the C library's function is taken over by one of the same signature")]

use std::ffi::{c_uint, c_void};
use std::sync::Mutex;

use conure_io::Random;

static SOURCE: Mutex<Random> = Mutex::new(Random::new(0));

/// From now on all random bytes follow from `seed`.
pub(crate) fn seed(seed: u64) {
    *SOURCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Random::new(seed);
}

/// # Safety
///
/// As the C library's: `buffer` has room for `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, len: usize, _flags: c_uint) -> isize {
    if len > 0 {
        // SAFETY: the caller says that there is room for so many bytes.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
        let mut source = SOURCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            let drawn = source.next_u64().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
    isize::try_from(len).unwrap_or(isize::MAX)
}
