//! Points at which a test stops or kills the operator, named after the call that follows.
//!
//! `FAILPOINTS="before_remove=return"` ends the process there as a crash would; `sleep(MS)`, `pause` and the other
//! actions of the crate `fail` work too. Without the feature `failpoints` nothing of this is compiled in.

/// Passes the point `name`.
pub fn pass(name: &str) {
    #[cfg(feature = "failpoints")]
    fail::eval(name, |_| -> () {
        tracing::warn!(point = name, "ends here, as the failpoint says");
        std::process::abort();
    });
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}
