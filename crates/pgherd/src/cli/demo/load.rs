//! One running pgbench.
use super::progress::{self, Progress, Totals};
use pgherd_lab::error::LabError;
use pgherd_lab::lab::Lab;
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::mpsc;

/// Lines between pgbench and whoever prints them. One a second arrives; a full channel makes pgbench wait, not memory grow.
const LINES: usize = 64;
/// Tries pgbench gives a transaction that the server asked to repeat.
const MAX_TRIES: &str = "20";
/// How long pgbench may take to fill its tables.
const FILL_PATIENCE: Duration = Duration::from_secs(300);

/// What a pgbench does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// The built-in script that resembles TPC-B: three updates, a read and an insert in one transaction.
    Writes,
    /// The built-in script that reads one row.
    Reads,
}

/// Whom pgbench talks to and how much of it there is.
#[derive(Debug, Clone)]
pub(super) struct Target<'a> {
    /// Port on 127.0.0.1.
    pub(super) port: u16,
    /// User and database.
    pub(super) user: &'a str,
    /// The user's password.
    pub(super) password: &'a str,
}

/// What pgbench said on its standard error.
#[derive(Debug)]
pub(super) enum Said {
    /// A line a second.
    Progress(Progress),
    /// Anything else: nothing is said when all is well.
    Trouble(String),
}

/// A running pgbench; killed when dropped.
#[derive(Debug)]
pub(super) struct Load {
    child: Child,
    /// What it says; closed when it ends.
    pub(super) said: mpsc::Receiver<Said>,
}

impl Load {
    /// Starts pgbench for `seconds`.
    ///
    /// # Errors
    /// [`LabError`] when pgbench is missing or cannot be started.
    pub(super) async fn start(
        lab: &Lab,
        target: &Target<'_>,
        work: Work,
        clients: u32,
        seconds: u64,
    ) -> Result<Self, LabError> {
        let mut command = command(lab, target)?;
        command.args(["-n", "-P", "1", "-T", &seconds.to_string(), "-c", &clients.to_string()]);
        command.args(["-j", &clients.min(2).to_string()]);
        command.args([
            "-b",
            match work {
                Work::Writes => "tpcb-like",
                Work::Reads => "select-only",
            },
        ]);
        // Below 15 pgbench knows no retries: there every transaction has one try, as its report then says.
        if lab.binaries().major() >= 15 {
            command.args(["--max-tries", MAX_TRIES]);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = lab.nursery().spawn(command).await?;
        let (sender, said) = mpsc::channel(LINES);
        if let Some(stderr) = child.stderr.take() {
            let failed = |source| LabError::Io { what: "read from pgbench".to_owned(), source };
            let stderr = tokio::process::ChildStderr::from_std(stderr).map_err(failed)?;
            tokio::spawn(listen(stderr, sender));
        }
        Ok(Self { child, said })
    }

    /// Waits for a pgbench that has closed its standard error; gives its totals, or `None` when it did not end well.
    ///
    /// # Errors
    /// [`LabError::TimedOut`] when it does not end at all.
    pub(super) async fn totals(&mut self, patience: Duration) -> Result<Option<Totals>, LabError> {
        let begin = Instant::now();
        while !matches!(self.child.try_wait(), Ok(Some(_))) {
            if begin.elapsed() > patience {
                let what = "end of pgbench".to_owned();
                return Err(LabError::TimedOut { what, after: patience, detail: String::new() });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The report is far smaller than a pipe holds, so it is all there once pgbench has ended.
        let mut report = String::new();
        if let Some(stdout) = self.child.stdout.as_mut() {
            let _ = stdout.read_to_string(&mut report);
        }
        let ended_well = matches!(self.child.try_wait(), Ok(Some(status)) if status.success());
        Ok(progress::totals(&report).filter(|_| ended_well))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates and fills pgbench's tables.
///
/// # Errors
/// [`LabError::Program`] with what pgbench said.
pub(super) async fn fill(lab: &Lab, target: &Target<'_>, scale: u32) -> Result<(), LabError> {
    let mut command = command(lab, target)?;
    command.args(["-i", "-q", "-s", &scale.to_string()]);
    lab.nursery().run("pgbench -i", command, FILL_PATIENCE).await.map(drop)
}

fn command(lab: &Lab, target: &Target<'_>) -> Result<std::process::Command, LabError> {
    let mut command = lab.nursery().command(&lab.binaries().tool("pgbench")?);
    command.args(["-h", "127.0.0.1", "-p", &target.port.to_string(), "-U", target.user]);
    command.env("PGPASSWORD", target.password).env("PGDATABASE", target.user).env("PGCONNECT_TIMEOUT", "20");
    Ok(command)
}

async fn listen(stderr: impl AsyncRead + Unpin, sender: mpsc::Sender<Said>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        let said = progress::line(&text).map_or(Said::Trouble(text), Said::Progress);
        if sender.send(said).await.is_err() {
            return;
        }
    }
}
