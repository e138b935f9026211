//! Which running pgherd a command talks to: `--api` or PGHERD_API, the local settings, 127.0.0.1:8008.

use crate::cli::output::{Talk, say};
use crate::cli::run::{load, tell};
use crate::cli::{ApiArgs, exit};
use crate::config::fault::{Code, Report};
use crate::config::settings::front::HostPort;
use crate::config::value::host_port;
use std::process::ExitCode;

/// Port of the API unless told otherwise.
const PORT: u16 = 8008;

/// Why nobody is asked.
#[derive(Debug, PartialEq)]
pub enum Lost {
    /// What is wrong with the URL, in a sentence.
    Url(String),
    /// What is wrong with the settings file that was named.
    Settings(Box<Report>),
}

impl Lost {
    /// Says it, and gives the exit code: `usual` unless it is the settings' fault.
    pub fn say(&self, usual: u8) -> ExitCode {
        match self {
            Lost::Url(why) => say(&format!("pgherd: {why}")),
            Lost::Settings(report) => {
                tell(report);
                return ExitCode::from(exit::CONFIG);
            }
        }
        ExitCode::from(usual)
    }
}

/// The address, and a word about how it was found.
pub fn choose(args: &ApiArgs, talk: &Talk) -> Result<HostPort, Lost> {
    let (address, how) = match &args.api {
        Some(url) => (of_url(url).map_err(Lost::Url)?, "as told"),
        None => match from_settings(args)? {
            Some(address) => (address, "from the local settings"),
            None => (HostPort { host: "127.0.0.1".to_string(), port: PORT }, "the default"),
        },
    };
    talk.detail(&format!("pgherd: asking http://{address} ({how})"));
    Ok(address)
}

/// The API's address in the settings of this machine, if they can be used. A file that was named must be usable, but for what
/// it takes from its surroundings: whoever asks need not have the secrets of whoever runs pgherd.
fn from_settings(args: &ApiArgs) -> Result<Option<HostPort>, Lost> {
    let loaded = match load(&args.file) {
        Ok((loaded, _)) => loaded,
        Err(report) => {
            let mut errors = report.faults.iter().filter(|fault| fault.code.is_error());
            let around = errors.all(|fault| matches!(fault.code, Code::Variable | Code::NoFile));
            if args.file.config.is_none() || around {
                return Ok(None);
            }
            return Err(Lost::Settings(Box::new(report)));
        }
    };
    let Some(mut address) = loaded.settings.api.listen else { return Ok(None) };
    // Who listens everywhere is also here.
    match address.host.as_str() {
        "0.0.0.0" => address.host = "127.0.0.1".to_string(),
        "::" => address.host = "::1".to_string(),
        _ => {}
    }
    Ok(Some(address))
}

/// `http://host:port`, `host:port` or `host`.
fn of_url(url: &str) -> Result<HostPort, String> {
    if url.starts_with("https://") {
        return Err("this version talks to the API over http:// only".to_string());
    }
    let rest = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    host_port(rest)
        .or_else(|| host_port(&format!("{rest}:{PORT}")))
        .ok_or_else(|| format!("\"{url}\" is not a URL like http://127.0.0.1:{PORT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, want) in [
            ("http://10.0.0.1:9000/", Some("10.0.0.1:9000")),
            ("pgherd.db", Some("pgherd.db:8008")),
            ("[::1]:80", Some("[::1]:80")),
            ("http://[::1]", Some("[::1]:8008")),
            ("https://x", None),
            ("http://a b", None),
        ] {
            assert_eq!(of_url(url).ok().map(|a| a.to_string()).as_deref(), want, "{url}");
        }
    }
}
