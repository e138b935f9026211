//! The least of an HTTP/1.1 client (RFC 9112): one request, one deadline, an answer of bounded size.

use crate::config::settings::front::HostPort;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body, transfer coding undone.
    pub body: Vec<u8>,
}

/// Larger answers are refused.
const MAX_ANSWER: usize = 4 << 20;
/// Larger heads are refused.
const MAX_HEAD: usize = 64 << 10;

/// Gets `path`. The error is a sentence for people.
pub fn get(address: &HostPort, path: &str, timeout: Duration) -> Result<Answer, String> {
    ask(address, "GET", path, "\r\n", timeout)
}

/// Posts a JSON document to `path`. The error is a sentence for people.
pub fn post(address: &HostPort, path: &str, json: &str, timeout: Duration) -> Result<Answer, String> {
    post_as(address, path, json, None, timeout)
}

/// The same with the credentials of basic authentication, encoded.
pub fn post_as(
    address: &HostPort,
    path: &str,
    json: &str,
    basic: Option<&str>,
    timeout: Duration,
) -> Result<Answer, String> {
    let length = json.len();
    let basic = basic.map_or_else(String::new, |basic| format!("Authorization: Basic {basic}\r\n"));
    let rest = format!("Content-Type: application/json\r\n{basic}Content-Length: {length}\r\n\r\n{json}");
    ask(address, "POST", path, &rest, timeout)
}

/// `rest` is what follows the head's first lines.
fn ask(
    address: &HostPort,
    method: &str,
    path: &str,
    rest: &str,
    timeout: Duration,
) -> Result<Answer, String> {
    let deadline = Instant::now() + timeout;
    let mut stream = connect(address, deadline)?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAccept: application/json\r\nConnection: close\r\n{rest}"
    );
    let lost = |why: std::io::Error| match why.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("http://{address} did not answer in {timeout:?}")
        }
        _ => format!("http://{address}{path}: {why}"),
    };
    stream.set_write_timeout(Some(left(deadline))).map_err(lost)?;
    stream.write_all(request.as_bytes()).map_err(lost)?;
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 16 * 1024];
    loop {
        if Instant::now() >= deadline {
            return Err(lost(ErrorKind::TimedOut.into()));
        }
        stream.set_read_timeout(Some(left(deadline))).map_err(lost)?;
        let n = match stream.read(&mut buffer) {
            Ok(n) => n,
            Err(why) if why.kind() == ErrorKind::Interrupted => continue,
            // Some servers reset after their answer instead of closing; what was read decides.
            Err(why) if why.kind() == ErrorKind::ConnectionReset && !bytes.is_empty() => 0,
            Err(why) => return Err(lost(why)),
        };
        bytes.extend_from_slice(&buffer[..n]);
        if bytes.len() > MAX_ANSWER {
            return Err(format!("http://{address}{path} answered with more than {MAX_ANSWER} bytes"));
        }
        match parse(&bytes, n == 0) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) if n == 0 => return Err(format!("http://{address}{path}: the answer ended too early")),
            Ok(None) => {}
            Err(why) => return Err(format!("http://{address}{path}: {why}")),
        }
    }
}

/// What is left of the time; never zero, which would mean no limit.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

fn connect(address: &HostPort, deadline: Instant) -> Result<TcpStream, String> {
    let all = (address.host.as_str(), address.port)
        .to_socket_addrs()
        .map_err(|why| format!("cannot resolve {}: {why}", address.host))?;
    let mut last = format!("{} has no address", address.host);
    for one in all {
        match TcpStream::connect_timeout(&one, left(deadline)) {
            Ok(stream) => return Ok(stream),
            Err(why) if why.kind() == ErrorKind::ConnectionRefused => {
                last =
                    format!("nobody listens on http://{address}: is pgherd running? (--api names another)");
            }
            Err(why) => last = format!("cannot connect to http://{address}: {why}"),
        }
    }
    Err(last)
}

/// Reads an answer; `None` while there may be more of it to come. `ended` tells that nothing more comes.
fn parse(bytes: &[u8], ended: bool) -> Result<Option<Answer>, &'static str> {
    let head_end = match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(at) => at + 4,
        // A bare status line, as Patroni answers /liveness.
        None if ended => bytes.len(),
        None if bytes.len() > MAX_HEAD => return Err("the head of the answer is too long"),
        None => return Ok(None),
    };
    let head = std::str::from_utf8(&bytes[..head_end]).map_err(|_| "this is not HTTP")?;
    let mut lines = head.split("\r\n");
    let status = status(lines.next().unwrap_or_default())?;
    let (mut length, mut chunked) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse::<usize>().map_err(|_| "the answer has no proper length")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        }
    }
    let body = &bytes[head_end..];
    let whole = if chunked {
        dechunk(body)?
    } else {
        match length {
            Some(length) if body.len() >= length => Some(body[..length].to_vec()),
            Some(_) => None,
            None if ended || status == 204 => Some(body.to_vec()),
            None => None,
        }
    };
    Ok(whole.map(|body| Answer { status, body }))
}

fn status(line: &str) -> Result<u16, &'static str> {
    let mut words = line.split_whitespace();
    let protocol = words.next().unwrap_or_default();
    let code = words.next().and_then(|code| code.parse().ok());
    match code {
        Some(code) if protocol.starts_with("HTTP/1.") => Ok(code),
        _ => Err("this is not HTTP"),
    }
}

/// Undoes chunked coding (RFC 9112, 7.1); `None` while the last chunk is not there.
fn dechunk(mut rest: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    const WRONG: &str = "the answer's chunks are wrong";
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
            return if rest.len() > 1024 { Err(WRONG) } else { Ok(None) };
        };
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| WRONG)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).map_err(|_| WRONG)?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(Some(body));
        }
        if size > MAX_ANSWER {
            return Err(WRONG);
        }
        let (Some(chunk), Some(tail)) = (rest.get(..size), rest.get(size..size + 2)) else { return Ok(None) };
        if tail != b"\r\n" {
            return Err(WRONG);
        }
        body.extend_from_slice(chunk);
        rest = &rest[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Result<Option<(u16, String)>, &'static str> {
        let read = parse(text.as_bytes(), true)?;
        Ok(read.map(|a| (a.status, String::from_utf8_lossy(&a.body).into_owned())))
    }

    #[test]
    fn answers() {
        let ok = |status, body: &str| Ok(Some((status, body.to_string())));
        for (text, want) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ok(200, "hi")),
            ("HTTP/1.0 503 Service Unavailable\r\n\r\n", ok(503, "")),
            ("HTTP/1.0 200 OK", ok(200, "")),
            ("HTTP/1.1 200 OK\r\n\r\nuntil the end", ok(200, "until the end")),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n",
                ok(200, "abcd"),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", Ok(None)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab", Ok(None)),
            ("SSH-2.0-x\r\n\r\n", Err("this is not HTTP")),
            ("HTTP/1.1 abc\r\n\r\n", Err("this is not HTTP")),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Err("the answer has no proper length")),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffff\r\n",
                Err("the answer's chunks are wrong"),
            ),
        ] {
            assert_eq!(answer(text), want, "{text}");
        }
    }

    #[test]
    fn every_prefix_is_taken_calmly() {
        let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        for end in 0..text.len() {
            let _ = parse(&text.as_bytes()[..end], false);
            let _ = parse(&text.as_bytes()[..end], true);
        }
    }

    #[test]
    fn a_silent_server_is_given_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let address = HostPort { host: "127.0.0.1".into(), port };
        let error = get(&address, "/", Duration::from_millis(50)).expect_err("nobody answers");
        assert!(error.contains("did not answer"), "{error}");
    }
}
