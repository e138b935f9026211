//! `pgherd version`.

use crate::cli::output::data;
use std::process::ExitCode;

/// Commit the binary was built from, when the build knew it.
const COMMIT: Option<&str> = option_env!("PGHERD_COMMIT");

/// Prints name and version.
pub fn run(json: bool) -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        let document = serde_json::json!({ "name": "pgherd", "version": version, "commit": COMMIT });
        data(&format!("{document}\n"));
    } else {
        let commit = COMMIT.map(|commit| format!(" ({commit})")).unwrap_or_default();
        data(&format!("pgherd {version}{commit}\n"));
    }
    ExitCode::SUCCESS
}
