//! `pgherd health`: exit 0 when a running pgherd answers that it is well. Needs no shell and no curl, so that an image can
//! be checked that has neither.

use crate::cli::output::{Talk, say};
use crate::cli::{HealthArgs, http, target};
use std::process::ExitCode;

/// Asks `/liveness`, or `/readiness` with `--ready`.
pub fn run(args: &HealthArgs, talk: &Talk) -> ExitCode {
    let path = if args.ready { "/readiness" } else { "/liveness" };
    let address = match target::choose(&args.api, talk) {
        Ok(address) => address,
        // Whoever asks about health knows 0 and 1 only.
        Err(lost) => {
            lost.say(1);
            return ExitCode::FAILURE;
        }
    };
    match http::get(&address, path, args.api.timeout) {
        Ok(answer) if answer.status == 200 => {
            talk.detail("pgherd: well");
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            say(&format!("pgherd: {path} answered {}", answer.status));
            ExitCode::FAILURE
        }
        Err(why) => {
            say(&format!("pgherd: {why}"));
            ExitCode::FAILURE
        }
    }
}
