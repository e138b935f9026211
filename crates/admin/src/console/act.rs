//! What the console can be told to do.

use std::borrow::Cow;

/// How to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// At once; everybody is cut.
    Immediate,
    /// When all servers were released; whoever waits for one leaves.
    WaitForServers,
    /// When all clients have left by themselves.
    WaitForClients,
}

/// Something to be done. A database is named as clients name it; `None` is all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Servers are released and closed, clients wait.
    Pause(Option<String>),
    /// The end of that.
    Resume(Option<String>),
    /// New clients are refused.
    Disable(String),
    /// The end of that.
    Enable(String),
    /// Servers are closed as they become free.
    Reconnect(Option<String>),
    /// All clients and servers are cut, and the database is paused.
    Kill(Option<String>),
    /// One client is cut.
    KillClient(u64),
    /// Waits until the servers that RECONNECT or RELOAD meant are closed.
    WaitClose(Option<String>),
    /// For a hand-over of sockets.
    Suspend,
    /// The settings are read again.
    Reload,
    /// pgherd ends.
    Shutdown(Shutdown),
    /// A setting gets another value until the next reload.
    Set(String, String),
    /// Another node becomes the primary, while there is one: this one, or the best.
    Switchover(Option<String>),
    /// A node becomes the primary, while there is none: this one, or the best.
    Failover {
        /// Which.
        to: Option<String>,
        /// What nobody has any more may be lost.
        allow_loss: bool,
    },
}

impl Act {
    /// The words of its completion.
    pub fn tag(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Act::Pause(_) => "PAUSE",
            Act::Resume(_) => "RESUME",
            Act::Disable(_) => "DISABLE",
            Act::Enable(_) => "ENABLE",
            Act::Reconnect(_) => "RECONNECT",
            Act::Kill(_) => "KILL",
            Act::KillClient(_) => "KILL_CLIENT",
            Act::WaitClose(_) => "WAIT_CLOSE",
            Act::Suspend => "SUSPEND",
            Act::Reload => "RELOAD",
            Act::Shutdown(_) => "SHUTDOWN",
            Act::Switchover(_) => "SWITCHOVER",
            Act::Failover { .. } => "FAILOVER",
            Act::Set(key, value) => return Cow::Owned(format!("SET {key}={value}")),
        })
    }
}

impl Act {
    /// What it is about, for the log: values that are set may be nobody's business.
    pub fn subject(&self) -> String {
        match self {
            Act::Set(key, _) => format!("SET {key}"),
            Act::Pause(Some(name))
            | Act::Resume(Some(name))
            | Act::Reconnect(Some(name))
            | Act::Kill(Some(name))
            | Act::WaitClose(Some(name))
            | Act::Disable(name)
            | Act::Enable(name) => format!("{} {name}", self.tag()),
            Act::KillClient(id) => format!("{} {id}", self.tag()),
            Act::Switchover(Some(to)) => format!("{} TO {to}", self.tag()),
            Act::Failover { .. } => format!("{self:?}"),
            Act::Shutdown(how) => format!("{} {how:?}", self.tag()),
            _ => self.tag().into_owned(),
        }
    }
}
