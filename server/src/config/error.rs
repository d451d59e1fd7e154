//! What is wrong with a setting, in one line.

/// A setting that cannot be used: names the key, the value and the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The command line itself; the text is one line.
    #[error("{0}")]
    Flags(String),
    /// A file that cannot be read or understood.
    #[error("{key} {path:?}: {reason}; {mend}")]
    File {
        /// Where the path was given, such as `--config`.
        key: String,
        /// The path.
        path: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        mend: &'static str,
    },
    /// A value that makes no sense.
    #[error("{key} {value:?}: {reason}; {mend}")]
    Value {
        /// Where the value was given: `--http-addr`, `CONURE_HTTP_ADDR`, `http_addr in FILE`.
        key: String,
        /// The value.
        value: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        mend: String,
    },
}
