//! A real cluster with a real pgherd in front, and pgbench to run through it.
use pgherd_lab::error::LabError;
use pgherd_lab::front::{Front, FrontOptions, Ports};
use pgherd_lab::lab::Lab;
use pgherd_lab::options::{Database, Options, Role};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The user, and the name of its database.
pub const USER: &str = "app";
/// The user's password. The quote and the backslash are there to be carried faithfully.
pub const PASSWORD: &str = r"it's a \ secret";
/// The variable that names the pgherd to test.
pub const EXECUTABLE_VARIABLE: &str = "PGHERD_BIN";

/// What pgherd says of a port that somebody listens on, and how often other ports are tried.
const TAKEN: &str = "Address already in use";
const TRIES: usize = 3;

/// A cluster of a primary and two replicas with pgherd in front on free ports.
#[derive(Debug)]
pub struct Stand {
    // First, so that the proxy ends before its servers.
    front: Front,
    lab: Lab,
}

impl Stand {
    /// Builds everything and returns when pgherd is ready. `settings` are (section, line) pairs for `pgherd.toml`.
    ///
    /// # Errors
    /// [`LabError`]; also when there is no pgherd to test.
    pub async fn start(settings: &[(&str, &str)]) -> Result<Self, LabError> {
        let executable = executable()?;
        let lab = Lab::start(Options {
            prefix: "pgherd-stand".to_owned(),
            roles: vec![Role {
                name: USER.to_owned(),
                password: Some(PASSWORD.to_owned()),
                attributes: String::new(),
            }],
            databases: vec![Database { name: USER.to_owned(), owner: USER.to_owned() }],
            ..Options::default()
        })
        .await?;
        let mut options = FrontOptions {
            executable,
            ports: Ports::free()?,
            cluster: "stand".to_owned(),
            users: vec![(USER.to_owned(), PASSWORD.to_owned())],
            settings: settings.iter().map(|(s, line)| ((*s).to_owned(), (*line).to_owned())).collect(),
        };
        for _ in 0..TRIES {
            match Front::start(&lab, &options).await {
                // Another test was given the same port, and was faster.
                Err(LabError::Died { log, .. }) if log.contains(TAKEN) => options.ports = Ports::free()?,
                started => return Ok(Self { front: started?, lab }),
            }
        }
        Ok(Self { front: Front::start(&lab, &options).await?, lab })
    }

    /// The cluster behind.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The proxy in front.
    #[must_use]
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Creates and fills pgbench's tables through the primary's port and waits until the replicas have them.
    ///
    /// # Errors
    /// [`LabError::Program`] with what pgbench said.
    pub async fn fill(&self, scale: u32) -> Result<(), LabError> {
        let port = self.front.ports().primary;
        self.pgbench(port, &["-i", "-q", "-s", &scale.to_string()]).await?;
        self.lab.wait_replicated().await
    }

    /// Runs pgbench through a port of pgherd to its end; gives its report.
    ///
    /// # Errors
    /// [`LabError::Program`] when any client of pgbench saw an error: it then ends with a failure.
    pub async fn pgbench(&self, port: u16, arguments: &[&str]) -> Result<String, LabError> {
        let mut command = self.lab.nursery().command(&self.lab.binaries().tool("pgbench")?);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", USER]).args(arguments);
        command.env("PGPASSWORD", PASSWORD).env("PGDATABASE", USER);
        self.lab.nursery().run("pgbench", command, Duration::from_secs(120)).await
    }

    /// Transactions committed in the application's database, by replica, as each replica counts them.
    ///
    /// # Errors
    /// [`LabError::Program`] when a replica does not answer.
    pub async fn reads(&self) -> Result<Vec<u64>, LabError> {
        reads(&self.lab).await
    }

    /// Stops pgherd as an operator would and leaves the cluster: a server connection that closes reports its last counts,
    /// one that idles in a pool keeps them for ten seconds.
    ///
    /// # Errors
    /// [`LabError`] when pgherd does not end by itself with success.
    pub async fn close(self) -> Result<Lab, LabError> {
        self.front.shutdown().await.map(|()| self.lab)
    }

    /// Stops pgherd as an operator would, then the cluster.
    ///
    /// # Errors
    /// [`LabError`] when pgherd does not end by itself with success.
    pub async fn shutdown(self) -> Result<(), LabError> {
        let ended = self.front.shutdown().await;
        self.lab.shutdown().await?;
        ended
    }
}

/// As [`Stand::reads`], of a cluster whose proxy may have ended.
///
/// # Errors
/// [`LabError::Program`] when a replica does not answer.
pub async fn reads(lab: &Lab) -> Result<Vec<u64>, LabError> {
    // Busy backends report their counts at most once a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut counts = Vec::new();
    for node in lab.replicas() {
        let text = format!("SELECT xact_commit FROM pg_stat_database WHERE datname = '{USER}'");
        counts.push(node.sql("postgres", &text).await?.parse().unwrap_or(0));
    }
    Ok(counts)
}

/// The number behind a label of pgbench's report, such as `number of failed transactions:`.
#[must_use]
pub fn number(report: &str, label: &str) -> Option<u64> {
    let rest = report.lines().find_map(|line| line.strip_prefix(label))?;
    let digits: String = rest.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The pgherd to test: the one [`EXECUTABLE_VARIABLE`] names, else the newer of the release and the debug build.
///
/// # Errors
/// [`LabError::Io`] when nothing was named and nothing built.
pub fn executable() -> Result<PathBuf, LabError> {
    if let Some(named) = std::env::var_os(EXECUTABLE_VARIABLE) {
        return Ok(named.into());
    }
    // target/debug/deps/cluster-1234 -> target
    let own = std::env::current_exe()
        .map_err(|source| LabError::Io { what: "find this test".to_owned(), source })?;
    let target = own.ancestors().nth(3).unwrap_or(Path::new("target")).to_path_buf();
    let built = |profile: &str| {
        let path = target.join(profile).join("pgherd");
        let when = std::fs::metadata(&path).and_then(|m| m.modified()).ok()?;
        Some((when, path))
    };
    let newest = built("release").into_iter().chain(built("debug")).max();
    newest.map(|(_, path)| path).ok_or_else(|| LabError::Io {
        what: format!("find pgherd in {} (build it, or set {EXECUTABLE_VARIABLE})", target.display()),
        source: std::io::Error::from(std::io::ErrorKind::NotFound),
    })
}
