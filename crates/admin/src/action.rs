//! What changes something: `POST /switchover` and `POST /failover`, in Patroni's words, and who may ask for it.

use axum::http::header::{AUTHORIZATION, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::net::IpAddr;
use std::pin::Pin;

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Another primary while there is one.
    Switchover {
        /// The primary as the visitor knows it.
        from: String,
        /// Which; `None`: the best.
        to: Option<String>,
    },
    /// This one becomes the primary, whether or not there is one.
    Failover {
        /// Which.
        to: String,
    },
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asking {
    /// From where.
    pub peer: IpAddr,
    /// User and password of HTTP basic authentication (RFC 7617).
    pub basic: Option<(String, String)>,
}

/// Why nothing is done for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// A password is asked for, and none was given.
    NoPassword,
    /// The wrong one was given.
    Wrong,
    /// There is no password, and it is not this machine that asks.
    Elsewhere,
}

/// The end of what was asked for: an HTTP status and a sentence.
pub type Done = (u16, String);

/// Something that is being done.
pub type Doing = Pin<Box<dyn Future<Output = Done> + Send>>;

impl Denied {
    /// Patroni's answer.
    pub fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Denied::NoPassword => (StatusCode::UNAUTHORIZED, "no auth header received"),
            Denied::Wrong => (StatusCode::UNAUTHORIZED, "not authenticated"),
            Denied::Elsewhere => (StatusCode::FORBIDDEN, "Access is denied"),
        }
    }
}

impl Asking {
    /// Reads the headers. A page in somebody's browser says where it is from, and asks for nothing here.
    ///
    /// # Errors
    /// [`Denied::Elsewhere`] for such a page.
    pub fn read(peer: IpAddr, headers: &HeaderMap) -> Result<Asking, Denied> {
        if headers.contains_key(ORIGIN) {
            return Err(Denied::Elsewhere);
        }
        let basic = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(basic);
        Ok(Asking { peer, basic })
    }
}

fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, rest) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

impl Order {
    /// Reads the body of a switchover.
    ///
    /// # Errors
    /// An HTTP status and a sentence.
    pub fn switchover(body: &[u8]) -> Result<Order, Done> {
        let (from, to) = names(body, "Switchover")?;
        let Some(from) = from else {
            return Err((400, "Switchover could be performed only from a specific leader".into()));
        };
        if to.as_ref() == Some(&from) {
            return Err((400, "Switchover target and source are the same".into()));
        }
        Ok(Order::Switchover { from, to })
    }

    /// Reads the body of a failover.
    ///
    /// # Errors
    /// An HTTP status and a sentence.
    pub fn failover(body: &[u8]) -> Result<Order, Done> {
        match names(body, "Failover")? {
            // Patroni takes it for a switchover.
            (Some(from), to) => Ok(Order::Switchover { from, to }),
            (None, Some(to)) => Ok(Order::Failover { to }),
            (None, None) => Err((400, "Failover could be performed only to a specific candidate".into())),
        }
    }
}

/// `leader` and `candidate` (or `member`).
fn names(body: &[u8], what: &str) -> Result<(Option<String>, Option<String>), Done> {
    let value: Value = serde_json::from_slice(body).map_err(|_| (400, "invalid json".to_owned()))?;
    let Value::Object(object) = value else { return Err((400, "invalid json".to_owned())) };
    let (mut leader, mut candidate) = (None, None);
    for (key, value) in object {
        let text = match value {
            Value::String(text) if !text.is_empty() => Some(text),
            Value::String(_) | Value::Null => None,
            _ => return Err((400, format!("{key} must be a string"))),
        };
        match key.as_str() {
            "leader" => leader = text,
            "candidate" | "member" => candidate = candidate.or(text),
            "scheduled_at" if text.is_some() => {
                return Err((501, format!("{what} cannot be scheduled yet")));
            }
            _ => {}
        }
    }
    Ok((leader, candidate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn bodies_are_read_as_patroni_reads_them() {
        let switch = |from: &str, to: Option<&str>| {
            Ok(Order::Switchover { from: from.into(), to: to.map(str::to_owned) })
        };
        assert_eq!(Order::switchover(br#"{"leader": "pg1"}"#), switch("pg1", None));
        assert_eq!(Order::switchover(br#"{"leader": "pg1", "member": "pg2"}"#), switch("pg1", Some("pg2")));
        assert_eq!(Order::failover(br#"{"candidate": "pg2"}"#), Ok(Order::Failover { to: "pg2".into() }));
        assert_eq!(Order::failover(br#"{"leader": "pg1", "candidate": "pg2"}"#), switch("pg1", Some("pg2")));
        let status = |answer: Result<Order, Done>| answer.unwrap_err().0;
        assert_eq!(status(Order::switchover(b"")), 400);
        assert_eq!(status(Order::switchover(b"[]")), 400);
        assert_eq!(status(Order::switchover(br#"{"candidate": "pg2"}"#)), 400);
        assert_eq!(status(Order::switchover(br#"{"leader": "pg1", "candidate": "pg1"}"#)), 400);
        assert_eq!(status(Order::switchover(br#"{"leader": 1}"#)), 400);
        assert_eq!(
            status(Order::switchover(br#"{"leader": "a", "scheduled_at": "2030-01-01T00:00+00"}"#)),
            501
        );
        assert_eq!(status(Order::failover(b"{}")), 400);
    }

    #[test]
    fn a_browser_is_sent_away_and_a_password_is_found() {
        let peer = IpAddr::from([127, 0, 0, 1]);
        let mut headers = HeaderMap::new();
        assert!(Asking::read(peer, &headers).unwrap().basic.is_none());
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic YWRtaW46YTpi"));
        let basic = Asking::read(peer, &headers).unwrap().basic;
        assert_eq!(basic, Some(("admin".into(), "a:b".into())));
        headers.insert(ORIGIN, HeaderValue::from_static("null"));
        assert_eq!(Asking::read(peer, &headers).unwrap_err(), Denied::Elsewhere);
    }
}
