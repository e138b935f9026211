//! One PostgreSQL instance of the lab and what can be done to it.
use crate::binaries::Binaries;
use crate::error::LabError;
use crate::nursery::{Nursery, TICK};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines of a server log shown when the server died.
const LOG_LINES: usize = 20;

/// How PostgreSQL is asked to stop (documentation, "Shutting Down the Server").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Waits for every client to leave.
    Smart,
    /// Aborts what is open, writes a checkpoint, and sends standbys the rest of the WAL.
    Fast,
    /// Ends at once and recovers at the next start.
    Immediate,
}

impl Mode {
    fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::TERM,
            Self::Fast => Signal::INT,
            Self::Immediate => Signal::QUIT,
        }
    }
}

/// One PostgreSQL instance.
#[derive(Debug)]
pub struct Node {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) data: PathBuf,
    pub(crate) sockets: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) patience: Duration,
    pub(crate) binaries: Arc<Binaries>,
    pub(crate) nursery: Arc<Nursery>,
    child: Mutex<Option<Child>>,
}

impl Node {
    pub(crate) fn new(
        name: String,
        port: u16,
        root: &Path,
        patience: Duration,
        binaries: Arc<Binaries>,
        nursery: Arc<Nursery>,
    ) -> Self {
        Self {
            data: root.join(&name),
            sockets: root.join("sockets"),
            log: root.join(format!("{name}.log")),
            name,
            port,
            patience,
            binaries,
            nursery,
            child: Mutex::new(None),
        }
    }

    /// Its name: `pg1`, `pg2`, ...
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The TCP port it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory.
    #[must_use]
    pub fn data_directory(&self) -> &Path {
        &self.data
    }

    /// Its server log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The directory of the Unix sockets of all nodes; there everybody who can enter it is trusted.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        &self.sockets
    }

    /// The postmaster's process id, or `None` when it does not run.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running().map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Starts the server and returns when it accepts connections.
    ///
    /// # Errors
    /// [`LabError::WrongState`] when it runs already, [`LabError::Died`] with the end of its log, [`LabError::TimedOut`].
    pub async fn start(&self) -> Result<(), LabError> {
        if self.running().is_some() {
            return Err(LabError::WrongState { node: self.name.clone(), state: "running already" });
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.map_err(LabError::io(format!("open {}", self.log.display())))?;
        let copy = log.try_clone().map_err(LabError::io("duplicate the log's handle"))?;
        let mut command = self.nursery.command(&self.binaries.tool("postgres")?);
        command.arg("-D").arg(&self.data).stdout(Stdio::from(log)).stderr(Stdio::from(copy));
        let child = self.nursery.spawn(command).await?;
        let pid = child.id();
        *self.lock() = Some(child);
        self.until_ready(pid).await
    }

    /// Waits for the word `ready` in the server's `postmaster.pid`, as `pg_ctl` does.
    async fn until_ready(&self, pid: u32) -> Result<(), LabError> {
        let begin = Instant::now();
        loop {
            if self.running().is_none() {
                return Err(LabError::Died { node: self.name.clone(), log: self.log_tail() });
            }
            let text = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            let ours = lines.first().and_then(|l| l.parse().ok()) == Some(pid);
            if ours && lines.get(7) == Some(&"ready") {
                return Ok(());
            }
            if begin.elapsed() > self.patience {
                let what = format!("start of node {}", self.name);
                return Err(LabError::TimedOut {
                    what,
                    after: self.patience,
                    detail: format!("\n{}", self.log_tail()),
                });
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Stops the server and waits until it is gone. A node that does not run is left as it is.
    ///
    /// # Errors
    /// [`LabError::TimedOut`] when it does not end (a smart stop waits for clients).
    pub async fn stop(&self, mode: Mode) -> Result<(), LabError> {
        let Some(pid) = self.running() else { return Ok(()) };
        signal(pid, mode.signal());
        self.until_gone().await
    }

    /// Kills the postmaster and all its backends with SIGKILL, as a dying machine would, and waits until they are gone.
    ///
    /// # Errors
    /// [`LabError::TimedOut`] when the kernel does not let go of it.
    pub async fn kill9(&self) -> Result<(), LabError> {
        self.kill_now();
        self.until_gone().await
    }

    /// Stops the server's processes without ending them (SIGSTOP): to clients the node hangs, its sockets stay open.
    pub fn pause(&self) {
        let Some(pid) = self.running() else { return };
        signal(pid, Signal::STOP);
        // The postmaster sleeps now and starts no further process; those it has are stopped one by one.
        children(pid).into_iter().for_each(|child| signal(child, Signal::STOP));
    }

    /// Lets a paused server go on (SIGCONT).
    pub fn resume(&self) {
        let Some(pid) = self.running() else { return };
        children(pid).into_iter().for_each(|child| signal(child, Signal::CONT));
        signal(pid, Signal::CONT);
    }

    /// Asks the server to read its configuration again (SIGHUP).
    pub fn reload(&self) {
        if let Some(pid) = self.running() {
            signal(pid, Signal::HUP);
        }
    }

    /// Promotes a standby and returns when it is out of recovery.
    ///
    /// # Errors
    /// [`LabError::Program`] when the server refuses, for instance because it is no standby.
    pub async fn promote(&self) -> Result<(), LabError> {
        let seconds = self.patience.as_secs().max(1);
        let answer = self.sql("postgres", &format!("SELECT pg_promote(true, {seconds})")).await?;
        if answer == "t" {
            return Ok(());
        }
        let what = format!("promotion of node {}", self.name);
        Err(LabError::TimedOut { what, after: self.patience, detail: String::new() })
    }

    /// Runs SQL as superuser through `psql` over the private Unix socket; columns are parted by `|`, rows by newlines.
    ///
    /// # Errors
    /// [`LabError::Program`] with the server's message.
    pub async fn sql(&self, database: &str, text: &str) -> Result<String, LabError> {
        let mut command = self.nursery.command(&self.binaries.tool("psql")?);
        command.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
            "-c",
            text,
        ]);
        command.arg("-h").arg(&self.sockets).arg("-p").arg(self.port.to_string());
        self.nursery.run(&format!("SQL on node {}", self.name), command, self.patience).await
    }

    /// The last lines of the server's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Ends the server without waiting politely: what [`Drop`] and a shutdown use.
    pub(crate) fn end_now(&self, grace: Duration) {
        if let Some(pid) = self.running() {
            self.resume();
            // Immediate mode removes shared memory, which SIGKILL would leave behind.
            signal(pid, Signal::QUIT);
            let begin = Instant::now();
            while self.running().is_some() && begin.elapsed() < grace {
                std::thread::sleep(TICK);
            }
        }
        self.kill_now();
        let child = self.lock().take();
        if let Some(mut child) = child {
            let _ = child.wait();
        }
        self.forget_shared_memory();
    }

    /// A killed postmaster leaves a System V segment of a few bytes; its number is in the seventh line of `postmaster.pid`.
    fn forget_shared_memory(&self) {
        let Ok(text) = std::fs::read_to_string(self.data.join("postmaster.pid")) else { return };
        let id =
            text.lines().nth(6).and_then(|l| l.split_whitespace().nth(1)).and_then(|w| w.parse::<u32>().ok());
        if let Some(id) = id {
            let quiet = || Stdio::null();
            let mut command = std::process::Command::new("ipcrm");
            let _ = command.args(["-m", &id.to_string()]).stdout(quiet()).stderr(quiet()).status();
        }
    }

    fn kill_now(&self) {
        let Some(pid) = self.running() else { return };
        // Stopped first, so that it starts no child between the listing and the kill.
        signal(pid, Signal::STOP);
        let children = children(pid);
        signal(pid, Signal::KILL);
        children.into_iter().for_each(|child| signal(child, Signal::KILL));
    }

    async fn until_gone(&self) -> Result<(), LabError> {
        let begin = Instant::now();
        while self.running().is_some() {
            if begin.elapsed() > self.patience {
                let what = format!("end of node {}", self.name);
                return Err(LabError::TimedOut { what, after: self.patience, detail: String::new() });
            }
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    /// The postmaster's id if it still runs; reaps it and forgets it if it does not.
    fn running(&self) -> Option<Pid> {
        let mut child = self.lock();
        match child.as_mut()?.try_wait() {
            Ok(None) => child.as_ref().and_then(|c| i32::try_from(c.id()).ok()).and_then(Pid::from_raw),
            Ok(Some(_)) | Err(_) => {
                *child = None;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        // A panic elsewhere leaves the handle as valid as it was.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process may be gone by the time it is signalled; that is as good as delivered.
fn signal(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

/// The children of a process: backends leave the postmaster's process group, so a group signal would miss them.
fn children(pid: Pid) -> Vec<Pid> {
    let id = pid.as_raw_nonzero().get();
    let listed = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok();
    let text = listed.or_else(|| {
        let output = std::process::Command::new("pgrep").args(["-P", &id.to_string()]).output().ok()?;
        String::from_utf8(output.stdout).ok()
    });
    let text = text.unwrap_or_default();
    text.split_whitespace().filter_map(|w| w.parse().ok()).filter_map(Pid::from_raw).collect()
}
