//! `pgherd run`: settings first, then everything else.

use crate::cli::output::say;
use crate::cli::{FileArg, RunArgs, exit};
use crate::config::environment::Environment;
use crate::config::fault::Report;
use crate::config::file::{self, Loaded};
use std::path::PathBuf;
use std::process::ExitCode;

/// Starts pgherd, or says everything that is wrong with its settings and exits with 78.
pub fn run(args: &RunArgs) -> ExitCode {
    match load(&args.file) {
        Ok((loaded, path)) => {
            tell(&loaded.report);
            crate::app::run(loaded.settings, path)
        }
        Err(report) => {
            tell(&report);
            ExitCode::from(exit::CONFIG)
        }
    }
}

/// The settings of the file named, or of the usual one.
pub fn load(file: &FileArg) -> Result<(Loaded, Option<PathBuf>), Report> {
    let env = Environment::of_process();
    let path = file::choose(file.config.as_deref(), &env)?;
    let loaded = file::load(path.as_deref(), &env)?;
    Ok((loaded, path))
}

/// A report on standard error.
pub fn tell(report: &Report) {
    let text = report.render();
    if !text.is_empty() {
        say(text.trim_end());
    }
}
