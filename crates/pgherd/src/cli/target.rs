//! Which running pgherd a command talks to: `--api` or PGHERD_API, the local settings, 127.0.0.1:8008.

use crate::cli::ApiArgs;
use crate::cli::output::Talk;
use crate::cli::run::load;
use crate::config::settings::front::HostPort;
use crate::config::value::host_port;

/// Port of the API unless told otherwise.
const PORT: u16 = 8008;

/// The address, and a word about how it was found. `Err` is a sentence about what is wrong with the URL.
pub fn choose(args: &ApiArgs, talk: &Talk) -> Result<HostPort, String> {
    let (address, how) = match &args.api {
        Some(url) => (of_url(url)?, "as told"),
        None => match from_settings(args) {
            Some(address) => (address, "from the local settings"),
            None => (HostPort { host: "127.0.0.1".to_string(), port: PORT }, "the default"),
        },
    };
    talk.detail(&format!("pgherd: asking http://{address} ({how})"));
    Ok(address)
}

/// The API's address in the settings of this machine, if they can be used.
fn from_settings(args: &ApiArgs) -> Option<HostPort> {
    let (loaded, _) = load(&args.file).ok()?;
    let mut address = loaded.settings.api.listen?;
    // Who listens everywhere is also here.
    match address.host.as_str() {
        "0.0.0.0" => address.host = "127.0.0.1".to_string(),
        "::" => address.host = "::1".to_string(),
        _ => {}
    }
    Some(address)
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
