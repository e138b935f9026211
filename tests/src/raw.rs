//! A client that speaks the protocol byte by byte and believes nothing: for tests that must see every message as it came.
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// How long one message may take before a test calls it silence.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// The largest message a test wants to see.
const MAX_MESSAGE: usize = 1 << 30;

/// One message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub tag: u8,
    /// What stands behind the length.
    pub body: Vec<u8>,
}

/// What came, or did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message.
    Message(Message),
    /// The peer closed the connection, or broke it.
    Closed,
    /// Nothing for as long as the test was patient.
    Silent,
}

/// A connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
    at: usize,
    /// Everything the login brought, up to ReadyForQuery or the end.
    pub login: Vec<Event>,
    /// Time a message may take.
    pub patience: Duration,
}

impl Raw {
    /// A connection from this address of the machine, on which only `first` was said yet.
    ///
    /// # Errors
    /// Nobody listens, or the address is not ours.
    pub fn open_from(source: Ipv4Addr, port: u16, first: &[u8]) -> io::Result<Self> {
        use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, connect, socket};
        let own = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&own, &SocketAddrV4::new(source, 0))?;
        connect(&own, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        let mut raw = Self::over(TcpStream::from(own))?;
        raw.send(first)?;
        Ok(raw)
    }

    /// A connection on which nothing was said yet.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn open(port: u16) -> io::Result<Self> {
        Self::over(TcpStream::connect(("127.0.0.1", port))?)
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream, buffer: Vec::new(), at: 0, login: Vec::new(), patience: PATIENCE })
    }

    /// Connects and goes through the startup, with a cleartext password when asked for one. What came of it is in [`Raw::login`].
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(port: u16, settings: &[(&str, &str)], password: &str) -> io::Result<Self> {
        Self::open(port)?.log_in(settings, password)
    }

    /// Goes through the startup on a connection that was opened before.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn log_in(mut self, settings: &[(&str, &str)], password: &str) -> io::Result<Self> {
        let raw = &mut self;
        let _ = raw.send(&startup(settings));
        loop {
            let event = raw.receive();
            let done = match &event {
                Event::Message(message) if message.tag == b'R' && message.body == [0, 0, 0, 3] => {
                    raw.send(&frame(b'p', &[password.as_bytes(), b"\0"].concat()))?;
                    continue;
                }
                Event::Message(message) => message.tag == b'Z',
                Event::Closed | Event::Silent => true,
            };
            raw.login.push(event);
            if done {
                return Ok(self);
            }
        }
    }

    /// Process id and secret of the login's BackendKeyData.
    #[must_use]
    pub fn key(&self) -> Option<Vec<u8>> {
        self.login.iter().find_map(|event| match event {
            Event::Message(message) if message.tag == b'K' => Some(message.body.clone()),
            _ => None,
        })
    }

    /// Whether the login ended with ReadyForQuery.
    #[must_use]
    pub fn is_in(&self) -> bool {
        matches!(self.login.last(), Some(Event::Message(message)) if message.tag == b'Z')
    }

    /// Writes bytes in one go.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next message.
    pub fn receive(&mut self) -> Event {
        let until = Instant::now() + self.patience;
        loop {
            if let Some(message) = self.take() {
                return Event::Message(message);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Event::Silent;
            }
            // At least a millisecond: zero would mean no limit.
            let _ = self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))));
            self.compact();
            let from = self.buffer.len();
            self.buffer.resize(from + 256 * 1024, 0);
            let read = self.stream.read(&mut self.buffer[from..]);
            self.buffer.truncate(from + read.as_ref().map_or(0, |n| *n));
            match read {
                Ok(0) => return Event::Closed,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Event::Closed,
            }
        }
    }

    fn take(&mut self) -> Option<Message> {
        let have = &self.buffer[self.at..];
        let length = u32::from_be_bytes(have.get(1..5)?.try_into().ok()?) as usize;
        assert!((4..MAX_MESSAGE).contains(&length), "an impossible length {length} in {:?}", &have[..5]);
        let body = have.get(5..=length)?.to_vec();
        let message = Message { tag: have[0], body };
        self.at += length + 1;
        Some(message)
    }

    fn compact(&mut self) {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
    }

    /// Sends a simple query and gives all messages up to ReadyForQuery, or to the end.
    pub fn query(&mut self, sql: &str) -> Vec<Event> {
        if self.send(&query(sql)).is_err() {
            return vec![Event::Closed];
        }
        self.until_ready()
    }

    /// All messages up to ReadyForQuery, or to the end.
    pub fn until_ready(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.receive();
            let done = !matches!(&event, Event::Message(message) if message.tag != b'Z');
            events.push(event);
            if done {
                return events;
            }
        }
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The socket itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// A message.
#[must_use]
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend(u32::try_from(body.len() + 4).expect("tests send less than 4 GB").to_be_bytes());
    out.extend(body);
    out
}

/// A simple query.
#[must_use]
pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

/// A startup packet of protocol 3.0.
#[must_use]
pub fn startup(settings: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for (name, value) in settings {
        body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    let mut out = u32::try_from(body.len() + 4).expect("a startup packet is small").to_be_bytes().to_vec();
    out.extend(body);
    out
}

/// The SQLSTATE of the first error among events, or an empty text.
#[must_use]
pub fn sqlstate(events: &[Event]) -> String {
    let error = events.iter().find_map(|event| match event {
        Event::Message(message) if message.tag == b'E' => Some(&message.body),
        _ => None,
    });
    error.map_or_else(String::new, |body| field(body, b'C'))
}

/// One field of an ErrorResponse or NoticeResponse, or an empty text.
#[must_use]
pub fn field(body: &[u8], wanted: u8) -> String {
    let mut parts = body.split(|byte| *byte == 0);
    let found = parts.find(|part| part.first() == Some(&wanted));
    found.map_or_else(String::new, |part| String::from_utf8_lossy(&part[1..]).into_owned())
}

/// The first column of the rows among events, as text; NULL is empty.
#[must_use]
pub fn column(events: &[Event]) -> Vec<String> {
    let rows = events.iter().filter_map(|event| match event {
        Event::Message(message) if message.tag == b'D' => Some(&message.body),
        _ => None,
    });
    rows.map(|body| {
        let length = body.get(2..6).and_then(|b| b.try_into().ok()).map_or(-1, i32::from_be_bytes);
        let length = usize::try_from(length).unwrap_or(0);
        String::from_utf8_lossy(body.get(6..6 + length).unwrap_or_default()).into_owned()
    })
    .collect()
}

/// The messages' types in order, such as `TDCZ`; `.` for the end of the connection, `?` for silence.
#[must_use]
pub fn tags(events: &[Event]) -> String {
    let tag = |event: &Event| match event {
        Event::Message(message) => char::from(message.tag),
        Event::Closed => '.',
        Event::Silent => '?',
    };
    events.iter().map(tag).collect()
}
