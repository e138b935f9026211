//! A pgherd process in front of a lab, started as an operator would start it: a settings file and `run -c`.
use crate::directory::write_private;
use crate::error::LabError;
use crate::lab::{Lab, secret};
use crate::nursery::{Nursery, TICK};
use crate::options::Role;
use crate::port;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The role pgherd itself connects as; it sees statistics and may not read anybody's tables.
pub const PROBE_ROLE: &str = "pgherd";
/// How long a stopping pgherd may take before it is killed.
const LAST_GRACE: Duration = Duration::from_secs(5);
/// How long one HTTP answer may take.
const HTTP_PATIENCE: Duration = Duration::from_secs(5);
/// The largest HTTP answer read.
const HTTP_LIMIT: u64 = 16 << 20;
/// Lines of pgherd's log shown when it fails.
const LOG_LINES: usize = 20;

/// The ports of a pgherd, all on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Always the writable node; 5000 by default.
    pub primary: u16,
    /// Eligible replicas; 5001 by default.
    pub replicas: u16,
    /// Reads and writes split per transaction; 5002 by default.
    pub any: u16,
    /// HTTP; 8008 by default.
    pub api: u16,
}

impl Ports {
    /// The ports of the documentation.
    pub const USUAL: Self = Self { primary: 5000, replicas: 5001, any: 5002, api: 8008 };

    /// Four ports nobody listens on.
    ///
    /// # Errors
    /// [`LabError::Io`] when there are none.
    pub fn free() -> Result<Self, LabError> {
        Self::USUAL.or_free(|_| false)
    }

    /// The usual ports, each replaced by a free one where somebody listens on it already.
    ///
    /// # Errors
    /// [`LabError::Io`] when there are no free ones.
    pub fn usual_or_free() -> Result<Self, LabError> {
        Self::USUAL.or_free(port::is_free)
    }

    fn or_free(self, usable: impl Fn(u16) -> bool) -> Result<Self, LabError> {
        let mut spare = port::free(4)?.into_iter();
        let mut pick = |usual: u16| if usable(usual) { usual } else { spare.next().unwrap_or(usual) };
        Ok(Self {
            primary: pick(self.primary),
            replicas: pick(self.replicas),
            any: pick(self.any),
            api: pick(self.api),
        })
    }
}

/// What pgherd is told.
#[derive(Debug, Clone)]
pub struct FrontOptions {
    /// The program to run.
    pub executable: PathBuf,
    /// Where it listens.
    pub ports: Ports,
    /// The name of the cluster.
    pub cluster: String,
    /// The clients it admits, with their passwords (`scram-sha-256` at the door); each must exist on the servers.
    pub users: Vec<(String, String)>,
    /// Further settings: a section such as `pool`, and a line such as `max_pool_size = 3`. A later line for a key wins.
    pub settings: Vec<(String, String)>,
}

/// A running pgherd. Dropping it stops the process; drop it before its lab.
#[derive(Debug)]
pub struct Front {
    child: Child,
    ports: Ports,
    log: PathBuf,
    settings_file: PathBuf,
    // The thread that started the child: the child would be killed if it ended first.
    _nursery: Arc<Nursery>,
}

impl Front {
    /// Writes `pgherd.toml` into the lab's directory, starts pgherd and waits until `/readiness` answers 200.
    ///
    /// # Errors
    /// [`LabError::Died`] or [`LabError::TimedOut`], each with the end of pgherd's log.
    pub async fn start(lab: &Lab, options: &FrontOptions) -> Result<Self, LabError> {
        let nursery = Arc::clone(lab.nursery());
        let account = nursery.account();
        let password = secret();
        // One front at a time: a second one on the same lab takes over the role with a password of its own.
        lab.primary().sql("postgres", &format!("DROP ROLE IF EXISTS {PROBE_ROLE}")).await?;
        let role = Role {
            name: PROBE_ROLE.to_owned(),
            password: Some(password.clone()),
            attributes: "IN ROLE pg_monitor".to_owned(),
        };
        lab.create_role(&role).await?;
        let password_file = lab.directory().join("pgherd.password");
        write_private(&password_file, format!("{password}\n"), account)?;
        let settings_file = lab.directory().join("pgherd.toml");
        write_private(&settings_file, settings(lab, options, &password_file), account)?;
        lab.wait_replicated().await?;

        let log = lab.directory().join("pgherd.log");
        let file = std::fs::File::create(&log).map_err(LabError::io("create pgherd's log"))?;
        let copy = file.try_clone().map_err(LabError::io("duplicate the log's handle"))?;
        let mut command = nursery.bound(&options.executable);
        // Only the file speaks: no override of this shell, and no service manager to notify.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PGHERD_") || name == "NOTIFY_SOCKET" {
                command.env_remove(name);
            }
        }
        command.arg("run").arg("-c").arg(&settings_file).stdout(Stdio::from(file)).stderr(Stdio::from(copy));
        let child = nursery.spawn(command).await?;
        let mut front = Self { child, ports: options.ports, log, settings_file, _nursery: nursery };
        front.until_ready(Duration::from_secs(30)).await?;
        Ok(front)
    }

    /// Where it listens.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The settings file it was started with.
    #[must_use]
    pub fn settings_file(&self) -> &Path {
        &self.settings_file
    }

    /// The file its log goes to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// `GET path` of its HTTP API: the status and the body.
    ///
    /// # Errors
    /// [`LabError::Io`] when there is no answer, [`LabError::TimedOut`] when it is late.
    pub async fn get(&self, path: &str) -> Result<(u16, String), LabError> {
        self.ask(&format!("GET {path}"), "").await
    }

    /// `POST path` with a JSON document: the status and the body.
    ///
    /// # Errors
    /// As [`Front::get`].
    pub async fn post(&self, path: &str, json: &str) -> Result<(u16, String), LabError> {
        self.ask(&format!("POST {path}"), json).await
    }

    async fn ask(&self, what: &str, json: &str) -> Result<(u16, String), LabError> {
        match tokio::time::timeout(HTTP_PATIENCE, exchange(self.ports.api, what, json)).await {
            Ok(answer) => answer.map_err(LabError::io(what)),
            Err(_) => {
                let what = what.to_owned();
                Err(LabError::TimedOut { what, after: HTTP_PATIENCE, detail: String::new() })
            }
        }
    }

    async fn until_ready(&mut self, patience: Duration) -> Result<(), LabError> {
        let begin = Instant::now();
        loop {
            if !self.is_running() {
                return Err(LabError::Died { node: "pgherd".to_owned(), log: self.log_tail() });
            }
            let answer = self.get("/readiness").await;
            if matches!(answer, Ok((200, _))) {
                return Ok(());
            }
            if begin.elapsed() > patience {
                let detail = format!("; /readiness said {answer:?}\n{}", self.log_tail());
                return Err(LabError::TimedOut {
                    what: "readiness of pgherd".to_owned(),
                    after: patience,
                    detail,
                });
            }
            tokio::time::sleep(4 * TICK).await;
        }
    }

    /// Stops it with SIGTERM and waits; kills it when it does not end in time.
    ///
    /// # Errors
    /// [`LabError::TimedOut`] when it had to be killed, [`LabError::Program`] when it did not end with success.
    pub async fn shutdown(mut self) -> Result<(), LabError> {
        self.signal(Signal::TERM);
        let begin = Instant::now();
        while begin.elapsed() < LAST_GRACE {
            if let Ok(Some(status)) = self.child.try_wait() {
                let failed = || LabError::Program {
                    what: "pgherd".to_owned(),
                    output: format!("{}\n({status})", self.log_tail()),
                };
                return if status.success() { Ok(()) } else { Err(failed()) };
            }
            tokio::time::sleep(TICK).await;
        }
        Err(LabError::TimedOut { what: "end of pgherd".to_owned(), after: LAST_GRACE, detail: String::new() })
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if self.is_running() {
            self.signal(Signal::TERM);
            let begin = Instant::now();
            while self.is_running() && begin.elapsed() < LAST_GRACE {
                std::thread::sleep(TICK);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text of `pgherd.toml`: the only place in the lab that knows the settings' names.
fn settings(lab: &Lab, options: &FrontOptions, password_file: &Path) -> String {
    let ports = options.ports;
    let mut sections: Vec<(&str, Vec<String>)> = vec![
        (
            "cluster",
            vec![
                format!("name = {}", quoted(&options.cluster)),
                "database = \"postgres\"".to_owned(),
                format!("user = \"{PROBE_ROLE}\""),
                format!("password_file = {}", quoted(&password_file.to_string_lossy())),
            ],
        ),
        (
            "listen",
            vec![
                format!("primary = \"127.0.0.1:{}\"", ports.primary),
                format!("replicas = \"127.0.0.1:{}\"", ports.replicas),
                format!("any = \"127.0.0.1:{}\"", ports.any),
            ],
        ),
        ("api", vec![format!("listen = \"127.0.0.1:{}\"", ports.api)]),
        ("web", vec!["listen = \"off\"".to_owned()]),
        ("auth", vec!["method = \"scram-sha-256\"".to_owned()]),
        (
            "health",
            vec!["health_check_interval = \"1s\"".to_owned(), "lag_check_interval = \"1s\"".to_owned()],
        ),
    ];
    for (section, line) in &options.settings {
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        match sections.iter_mut().find(|(name, _)| name == section) {
            Some((_, lines)) => {
                lines.retain(|old| key(old) != key(line));
                lines.push(line.clone());
            }
            None => sections.push((section, vec![line.clone()])),
        }
    }
    let mut text = "# Written by the pgherd lab.\n".to_owned();
    for (section, lines) in sections {
        let _ = writeln!(text, "\n[{section}]\n{}", lines.join("\n"));
    }
    for (name, password) in &options.users {
        let _ = writeln!(text, "\n[[user]]\nname = {}\npassword = {}", quoted(name), quoted(password));
    }
    for node in lab.nodes() {
        let name = quoted(node.name());
        let _ = writeln!(text, "\n[[node]]\nname = {name}\nhost = \"127.0.0.1\"\nport = {}", node.port());
    }
    text
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// One HTTP/1.0 exchange: the server closes at the end, so the body is what follows the empty line.
async fn exchange(port: u16, what: &str, json: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let body = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}", json.len());
    let body = if json.is_empty() { "\r\n" } else { body.as_str() };
    stream.write_all(format!("{what} HTTP/1.0\r\nHost: localhost\r\n{body}").as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(HTTP_LIMIT).read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    let status = text.split(' ').nth(1).and_then(|w| w.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    status.map(|s| (s, body)).ok_or_else(|| std::io::Error::other("not an HTTP answer"))
}
