//! Where the crates are put together. The wiring itself is not in place yet: `run` says so and leaves.

use crate::config::settings::Settings;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the proxy and the controller until a signal ends them. `path` is the settings file that a reload reads again;
/// `None` when everything came from the environment.
pub fn run(settings: Settings, path: Option<PathBuf>) -> ExitCode {
    drop((settings, path));
    eprintln!("pgherd: this build has no proxy wired in");
    ExitCode::FAILURE
}
