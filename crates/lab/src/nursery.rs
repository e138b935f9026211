//! Starting processes that cannot outlive their lab.
//!
//! The kernel delivers a parent-death signal when the *thread* that started the child ends, not the process. Runtimes end their
//! threads when they like, so every lasting child is started by one plain thread that lives exactly as long as the lab.
use crate::account::Account;
use crate::binaries::in_path;
use crate::error::LabError;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Output kept of a program that failed; the end tells more than the beginning.
const OUTPUT_LIMIT: usize = 4096;

/// How often a child is asked whether it has ended.
pub(crate) const TICK: Duration = Duration::from_millis(5);

struct Birth {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Starts programs as the lab's account, in process groups of their own, bound to the life of this value.
#[derive(Debug)]
pub struct Nursery {
    account: Account,
    directory: PathBuf,
    setpriv: Option<PathBuf>,
    births: mpsc::Sender<Birth>,
}

impl Nursery {
    /// A nursery whose children work in `directory` as `account`.
    ///
    /// # Errors
    /// [`LabError::Io`] when no thread can be started.
    pub fn new(account: Account, directory: &Path) -> Result<Self, LabError> {
        let (births, orders) = mpsc::channel::<Birth>();
        std::thread::Builder::new()
            .name("lab-nursery".to_owned())
            .spawn(move || {
                while let Ok(Birth { mut command, reply }) = orders.recv() {
                    // An asker that no longer waits gets no orphan: its child is ended at once.
                    if let Err(Ok(mut child)) = reply.send(command.spawn()) {
                        let _ = child.kill();
                        let _ = child.wait();
                    }
                }
            })
            .map_err(LabError::io("start the thread that starts servers"))?;
        Ok(Self { account, directory: directory.to_path_buf(), setpriv: death_signaller(), births })
    }

    /// The account children run as.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// True when children die with us even if we are killed with SIGKILL.
    #[must_use]
    pub fn is_binding(&self) -> bool {
        self.setpriv.is_some()
    }

    /// A command that dies with us, in a process group of its own, with nothing to read; it runs as we do.
    #[must_use]
    pub fn bound(&self, program: &Path) -> Command {
        let mut command = match &self.setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// A command prepared to run in the lab: bound to us and moreover as the lab's account, in its directory, without our
    /// `PG*` variables and in the C locale.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = self.bound(program);
        self.account.apply(&mut command);
        command.env_clear();
        for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("HOME", &self.directory)
            .env("PGPASSFILE", "/dev/null");
        command.current_dir(&self.directory);
        command
    }

    /// Starts a child that lasts. Not cancel safe in the sense of undoing: a child whose asker has gone is killed.
    ///
    /// # Errors
    /// [`LabError::Io`] when it cannot be started.
    pub async fn spawn(&self, command: Command) -> Result<Child, LabError> {
        let what = format!("start {}", command.get_program().display());
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the nursery's thread has ended");
        if self.births.send(Birth { command, reply }).is_err() {
            return Err(LabError::Io { what, source: gone() });
        }
        answer.await.unwrap_or_else(|_| Err(gone())).map_err(LabError::io(what))
    }

    /// Runs a short program to its end and returns what it wrote to its standard output.
    ///
    /// # Errors
    /// [`LabError::Program`] with the end of its messages when it fails, [`LabError::TimedOut`] when it does not end in time
    /// (it is killed then), [`LabError::Io`] when it cannot be started.
    pub async fn run(&self, what: &str, command: Command, patience: Duration) -> Result<String, LabError> {
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let output = match tokio::time::timeout(patience, command.output()).await {
            Ok(output) => output.map_err(LabError::io(format!("run {what}")))?,
            Err(_) => {
                let detail = String::new();
                return Err(LabError::TimedOut { what: what.to_owned(), after: patience, detail });
            }
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        let text = [output.stdout, output.stderr].concat();
        let tail =
            String::from_utf8_lossy(&text[text.len().saturating_sub(OUTPUT_LIMIT)..]).trim().to_owned();
        Err(LabError::Program { what: what.to_owned(), output: format!("{} ({})", tail, output.status) })
    }
}

/// The path of a `setpriv` that knows `--pdeathsig` (util-linux 2.33 and later), if this system has one.
fn death_signaller() -> Option<PathBuf> {
    let setpriv = in_path("setpriv")?;
    let probe = Command::new(&setpriv)
        .args(["--pdeathsig", "KILL", "--", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    probe.is_ok_and(|status| status.success()).then_some(setpriv)
}
