//! `pgherd switchover` and `pgherd failover`: another primary, asked for over HTTP.

use crate::cli::output::{Talk, data, say};
use crate::cli::run::load;
use crate::cli::{ApiArgs, exit, http, target};
use crate::config::settings::front::HostPort;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Longer than a change may take before pgherd gives up answering.
const PATIENCE: Duration = Duration::from_secs(65);

/// `pgherd switchover`, `pgherd failover`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which node becomes the primary [default for a switchover: the best]
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Whom to ask
    #[command(flatten)]
    pub api: ApiArgs,
}

/// Another primary while there is one.
pub fn switchover(args: &Arguments, talk: &Talk) -> ExitCode {
    let address = match target::choose(&args.api, talk) {
        Ok(address) => address,
        Err(lost) => return lost.say(exit::UNAVAILABLE),
    };
    let leader = match leader(&address, args.api.timeout) {
        Ok(Some(leader)) => leader,
        Ok(None) => {
            say("pgherd: there is no primary; `pgherd failover --to NODE` makes one");
            return ExitCode::from(exit::REFUSED);
        }
        Err(why) => {
            say(&format!("pgherd: {why}"));
            return ExitCode::from(exit::UNAVAILABLE);
        }
    };
    let to = args.to.as_deref().unwrap_or("the best standby");
    let question = format!("Switch over from {leader} to {to}? Writes wait for a moment.");
    let body = json!({ "leader": leader, "candidate": args.to });
    go(args, &address, "/switchover", &question, &body)
}

/// A primary, whether or not there is one.
pub fn failover(args: &Arguments, talk: &Talk) -> ExitCode {
    let Some(to) = &args.to else {
        say("pgherd: say which node is to become the primary: --to NODE");
        return ExitCode::from(exit::USAGE);
    };
    let address = match target::choose(&args.api, talk) {
        Ok(address) => address,
        Err(lost) => return lost.say(exit::UNAVAILABLE),
    };
    let question =
        format!("Make {to} the primary? What only the primary before it has is lost, if that is not there.");
    go(args, &address, "/failover", &question, &json!({ "candidate": to }))
}

/// The primary's name.
fn leader(address: &HostPort, timeout: Duration) -> Result<Option<String>, String> {
    let answer = http::get(address, "/cluster", timeout)?;
    let cluster: Value =
        serde_json::from_slice(&answer.body).map_err(|why| format!("http://{address}/cluster: {why}"))?;
    let members = cluster["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let leads = members.iter().find(|member| member["role"] == "leader");
    Ok(leads.and_then(|member| member["name"].as_str()).map(str::to_owned))
}

fn go(args: &Arguments, address: &HostPort, path: &str, question: &str, body: &Value) -> ExitCode {
    if !args.yes && !agreed(question) {
        return ExitCode::from(exit::USAGE);
    }
    let answer = http::post_as(address, path, &body.to_string(), credentials(args).as_deref(), PATIENCE);
    match answer {
        Ok(answer) => {
            let words = String::from_utf8_lossy(&answer.body).into_owned();
            match answer.status {
                200 => {
                    data(&format!("{words}\n"));
                    return ExitCode::SUCCESS;
                }
                503 => say(&format!("pgherd: given up: {words}")),
                _ => say(&format!("pgherd: refused: {words}")),
            }
            ExitCode::from(if answer.status == 503 { exit::ROLLED_BACK } else { exit::REFUSED })
        }
        Err(why) => {
            say(&format!("pgherd: {why}"));
            ExitCode::from(exit::UNAVAILABLE)
        }
    }
}

fn agreed(question: &str) -> bool {
    if !std::io::stdin().is_terminal() {
        say("pgherd: there is nobody to ask; say --yes");
        return false;
    }
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    // What cannot be read is no yes.
    let _ = std::io::stdin().read_line(&mut line);
    matches!(line.trim(), "y" | "Y" | "yes")
}

/// User and password of the local settings, as HTTP has them (RFC 7617).
fn credentials(args: &Arguments) -> Option<String> {
    let (loaded, _) = load(&args.api.file).ok()?;
    let api = &loaded.settings.api;
    let password = api.admin_password.as_ref()?;
    Some(STANDARD.encode(format!("{}:{}", api.admin_user, password.expose())))
}
