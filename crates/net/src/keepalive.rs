//! How long a silent TCP peer is believed to be alive.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// TCP keepalive settings of one side of the house, named as libpq's `keepalives_*` and `tcp_user_timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe; `None` turns keepalive off.
    pub idle: Option<Duration>,
    /// Time between probes; `None` keeps the system's value.
    pub interval: Option<Duration>,
    /// Unanswered probes before the connection is dead; `None` keeps the system's value.
    pub count: Option<u32>,
    /// How long sent bytes may stay unacknowledged; `None` keeps the system's value.
    pub user_timeout: Option<Duration>,
}

impl Default for Keepalive {
    /// A vanished peer is noticed within about half a minute.
    fn default() -> Keepalive {
        Keepalive {
            idle: Some(Duration::from_secs(15)),
            interval: Some(Duration::from_secs(5)),
            count: Some(3),
            user_timeout: Some(Duration::from_secs(30)),
        }
    }
}

impl Keepalive {
    /// Puts the settings on a socket.
    ///
    /// # Errors
    /// What the kernel says; a value of zero, for one, is refused.
    pub fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        if let Some(idle) = self.idle {
            let mut settings = TcpKeepalive::new().with_time(idle);
            if let Some(interval) = self.interval {
                settings = settings.with_interval(interval);
            }
            if let Some(count) = self.count {
                settings = settings.with_retries(count);
            }
            socket.set_tcp_keepalive(&settings)?;
        }
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }
}
