//! Logs, as text or JSON, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter makes no sense.
    #[error("LOG_LEVEL {0:?} is no filter ({1}); use error, warn, info, debug, trace or TARGET=LEVEL,…")]
    Filter(String, tracing_subscriber::filter::ParseError),
    /// Something else logs already.
    #[error("logging cannot be set up: {0}")]
    Taken(Box<dyn std::error::Error + Send + Sync>),
}

/// Sets logging up for the process.
pub fn init(config: &Config) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&config.log_level)
        .map_err(|error| TelemetryError::Filter(config.log_level.clone(), error))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(conure_program::log_line)
        .log_internal_errors(false);
    match config.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(TelemetryError::Taken)?;
    conure_program::report_losses(|lines| {
        tracing::warn!(lines, "log lines were lost: standard error did not take them");
    });
    Ok(())
}
