//! `postgres://user:password@host:port/database?sslmode=...`, as libpq reads it (PostgreSQL documentation, "Connection
//! URIs"), for one host.

/// The parts of a URL. Debug is not derived: it may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// Host name, address without brackets, or directory of a Unix socket.
    pub host: String,
    /// Port, 5432 unless given.
    pub port: u16,
    /// User.
    pub user: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Database.
    pub database: Option<String>,
    /// `sslmode` parameter.
    pub sslmode: Option<String>,
}

/// Takes a URL apart. The error never holds a part of it.
pub fn parse(text: &str) -> Result<ServerUrl, String> {
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
        .ok_or("is not a URL that begins with postgres:// or postgresql://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (account, place) = match authority.rsplit_once('@') {
        Some((account, place)) => (Some(account), place),
        None => (None, authority),
    };
    let (user, password) = match account.map(|account| account.split_once(':').unwrap_or((account, ""))) {
        Some((user, password)) => (filled(user)?, filled(password)?),
        None => (None, None),
    };
    if place.contains(',') {
        return Err("names several hosts; give one URL for each".to_string());
    }
    let (host, port) = match place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, tail)) => (host, tail.strip_prefix(':').unwrap_or("")),
        None => place.rsplit_once(':').unwrap_or((place, "")),
    };
    let port =
        if port.is_empty() { 5432 } else { port.parse().map_err(|_| "has a port that is not a number")? };
    let mut url =
        ServerUrl { host: decode(host)?, port, user, password, database: filled(database)?, sslmode: None };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "sslmode" => url.sslmode = filled(value)?,
            "host" => url.host = decode(value)?,
            "port" => url.port = value.parse().map_err(|_| "has a port that is not a number")?,
            "user" => url.user = filled(value)?,
            "password" => url.password = filled(value)?,
            "dbname" => url.database = filled(value)?,
            // Parameters of libpq that mean nothing to a proxy (application_name, target_session_attrs, ...).
            _ => {}
        }
    }
    if url.host.is_empty() {
        return Err("names no host".to_string());
    }
    Ok(url)
}

fn filled(text: &str) -> Result<Option<String>, String> {
    let text = decode(text)?;
    Ok(if text.is_empty() { None } else { Some(text) })
}

/// Percent-encoding (RFC 3986, 2.1).
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) if high * 16 + low != 0 => bytes.push((high * 16 + low) as u8),
            _ => return Err("has a percent sign without two hexadecimal digits behind it".to_string()),
        }
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 once its percent signs are read".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_apart() {
        let read = |text| parse(text).unwrap_or_else(|why| panic!("{text} {why}"));
        let url = read("postgres://a%40b:p%3Aw@db.example.com:6000/app?sslmode=require&application_name=x");
        assert_eq!((url.host.as_str(), url.port), ("db.example.com", 6000));
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("a@b"), Some("p:w")));
        assert_eq!((url.database.as_deref(), url.sslmode.as_deref()), (Some("app"), Some("require")));
        let url = read("postgresql://[::1]");
        assert_eq!((url.host.as_str(), url.port, url.user), ("::1", 5432, None));
        let url = read("postgres:///app?host=/run/postgresql");
        assert_eq!(url.host, "/run/postgresql");
        let url = read("postgres://%2Frun%2Fpg/app");
        assert_eq!(url.host, "/run/pg");
    }

    #[test]
    fn refuses_others() {
        for text in [
            "",
            "http://x",
            "postgres://",
            "postgres://h:99999",
            "postgres://a,b/x",
            "postgres://%zz",
            "postgres://h/%00",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
