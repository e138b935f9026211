//! A child process that is stopped when its handle is dropped, and by the kernel should the benchmark itself die.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a daemon may take to leave after its stop signal before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// How long a daemon may take until it accepts connections.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Which signal ends a daemon at once and tidily.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// PostgreSQL's fast shutdown (PostgreSQL documentation, "Shutting Down the Server").
    Interrupt,
    /// No ceremony: for processes that keep nothing.
    Kill,
}

/// A running child process.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    stop: Stop,
    log: PathBuf,
}

impl Daemon {
    /// Starts `program` with its output in `log`, as `user` when one is given (needs root).
    ///
    /// The program is started through `setpriv` so that it also receives the stop signal when the benchmark dies
    /// without dropping the handle; `setpriv` replaces itself, so [`Daemon::pid`] is the program's own.
    pub fn start(
        program: &Path,
        arguments: &[&OsStr],
        user: Option<&str>,
        stop: Stop,
        log: &Path,
    ) -> io::Result<Self> {
        let when_we_die = match stop {
            Stop::Interrupt => "--pdeathsig=INT",
            Stop::Kill => "--pdeathsig=KILL",
        };
        let mut command = as_user(user, &[when_we_die])?;
        let output = File::create(log)?;
        command.arg("--").arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(Self { child: command.spawn()?, stop, log: log.to_owned() })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until something accepts connections on `address`; fails with the end of the log when the daemon
    /// leaves first or takes longer than thirty seconds.
    pub fn wait_for(&mut self, address: SocketAddr) -> io::Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("left with {status}: {}", self.last_words())));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("not ready in time: {}", self.last_words())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The last lines of the log, for an error message.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join(" | ")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Stop::Interrupt = self.stop
            && let Ok(pid) = i32::try_from(self.child.id())
            && let Some(pid) = Pid::from_raw(pid)
            && kill_process(pid, Signal::INT).is_ok()
        {
            let deadline = Instant::now() + STOP_DEADLINE;
            while Instant::now() < deadline {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // An error here means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of the loopback interface that was free a moment ago.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The user that PostgreSQL and PgBouncer run as when the benchmark runs as root, which both refuse: `postgres`
/// if it exists, else `nobody`; `None` when the benchmark itself is not root.
pub fn unprivileged_user() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    Some(if account("postgres").is_ok() { "postgres" } else { "nobody" })
}

/// Gives `path` to `user`.
pub fn give_to(path: &Path, user: &str) -> io::Result<()> {
    let (user_id, group_id) = account(user)?;
    std::os::unix::fs::chown(path, Some(user_id), Some(group_id))
}

/// A `setpriv` command line with `options` that will run what is added behind `--`, as `user` if one is given.
pub fn as_user(user: Option<&str>, options: &[&str]) -> io::Result<Command> {
    let mut command = Command::new("setpriv");
    command.args(options);
    if let Some(user) = user {
        let (user_id, group_id) = account(user)?;
        command.args(["--reuid", &user_id.to_string(), "--regid", &group_id.to_string(), "--init-groups"]);
    }
    // setpriv wants at least one option.
    if options.is_empty() && user.is_none() {
        command.arg("--pdeathsig=clear");
    }
    Ok(command)
}

/// User and group id from /etc/passwd (passwd(5)).
fn account(user: &str) -> io::Result<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&user))
        .and_then(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))
        .ok_or_else(|| io::Error::other(format!("there is no user \"{user}\" on this machine")))
}
