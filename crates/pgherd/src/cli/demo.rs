//! `pgherd demo`: a real cluster from nothing. Not in place yet: it says so and leaves.

use crate::cli::DemoArgs;
use crate::cli::output::say;
use std::process::ExitCode;

/// Runs the demo until it is told to stop.
pub fn run(_args: DemoArgs) -> ExitCode {
    say("pgherd: this build has no demo");
    ExitCode::FAILURE
}
