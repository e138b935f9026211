//! Log lines on standard error.

use crate::config::settings::Server;
use crate::config::words::{LogFormat, LogLevel};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging; the variable `PGHERD_LOG` (in tracing's filter syntax) overrides the level of the settings.
pub fn start(server: &Server) {
    let level = match server.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let filter = EnvFilter::try_from_env("PGHERD_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let terminal = std::io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let json = match server.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    // Somebody else may have set a subscriber already (a test); then theirs stays.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
