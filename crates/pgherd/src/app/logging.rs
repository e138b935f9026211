//! Log lines on standard error.

use crate::config::settings::Server;
use crate::config::words::{LogFormat, LogLevel};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What a reload can change about logging.
pub struct Logging {
    set: Option<Box<dyn Fn(LogLevel) + Send + Sync>>,
}

impl Logging {
    /// Logs this much from now on, unless `PGHERD_LOG` has the say.
    pub fn set_level(&self, level: LogLevel) {
        if let Some(set) = &self.set {
            set(level);
        }
    }
}

/// Starts logging; the variable `PGHERD_LOG` (in tracing's filter syntax) overrides the level of the settings.
pub fn start(server: &Server) -> Logging {
    let told = EnvFilter::try_from_env("PGHERD_LOG").ok();
    let fixed = told.is_some();
    let filter = told.unwrap_or_else(|| EnvFilter::new(word(server.log_level)));
    let terminal = std::io::stderr().is_terminal();
    let json = match server.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Somebody else may have set a subscriber already (a test); then theirs stays.
    let set: Box<dyn Fn(LogLevel) + Send + Sync> = if json {
        let builder = builder.json().with_filter_reloading();
        let handle = builder.reload_handle();
        let _ = builder.try_init();
        Box::new(move |level| drop(handle.reload(EnvFilter::new(word(level)))))
    } else {
        let builder = builder.with_ansi(terminal).with_filter_reloading();
        let handle = builder.reload_handle();
        let _ = builder.try_init();
        Box::new(move |level| drop(handle.reload(EnvFilter::new(word(level)))))
    };
    Logging { set: (!fixed).then_some(set) }
}

fn word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}
