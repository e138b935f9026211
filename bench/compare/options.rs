//! The command line.

use std::io;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::target::Kind;
use crate::workload::{Cell, catalogue, matches};

/// Where Debian keeps the server's programs, which are not on the path.
const DEBIAN_POSTGRESQL: &str = "/usr/lib/postgresql";

/// Compares pgherd, PgBouncer and a direct connection on this machine.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// The pgherd program to measure, as PATH or NAME=PATH; may be given several times to compare builds.
    #[arg(long, value_name = "[NAME=]PATH")]
    pgherd: Vec<String>,
    /// Measure without pgherd.
    #[arg(long)]
    skip_pgherd: bool,
    /// Measure without PgBouncer.
    #[arg(long)]
    skip_pgbouncer: bool,
    /// Measure without the direct connection.
    #[arg(long)]
    skip_direct: bool,
    /// The PgBouncer program; by default the one on the path or in /usr/sbin.
    #[arg(long = "pgbouncer", value_name = "PATH")]
    pgbouncer_path: Option<PathBuf>,
    /// Directory of the PostgreSQL programs; by default Debian's newest, else that of `initdb` on the path.
    #[arg(long, value_name = "DIRECTORY")]
    pg_bin: Option<PathBuf>,
    /// Worker threads of pgherd, one target each.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    workers: Vec<u32>,
    /// Only cells whose name contains this; alternatives separated by |, ^ and $ bind to the ends.
    #[arg(long, value_name = "FILTER", default_value = "")]
    workload: String,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    pub(crate) clients: Vec<u32>,
    /// Clients of the idle cell.
    #[arg(long, default_value_t = 5000)]
    pub(crate) idle_clients: u32,
    /// Interleaved rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Seconds of one cell through one target in one round.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// One second each.
    #[arg(long)]
    quick: bool,
    /// Threads of pgbench.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: u32,
    /// Server connections of each proxy.
    #[arg(long, default_value_t = 16)]
    pub(crate) pool: u32,
    /// pgbench's scale factor.
    #[arg(long, default_value_t = 10)]
    pub(crate) scale: u32,
    /// Do not count system calls (needs strace).
    #[arg(long)]
    pub(crate) no_syscalls: bool,
    /// Run the chosen cells under perf and print the hottest symbols of the proxies instead of measuring.
    #[arg(long, value_name = "FILTER", num_args = 0..=1, default_missing_value = "")]
    profile: Option<String>,
    /// Write everything measured to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write tables for RESULTS.md to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Print the names of the chosen cells and leave.
    #[arg(long)]
    pub(crate) list: bool,
    /// Keep the temporary directory with settings and logs.
    #[arg(long)]
    pub(crate) keep: bool,
}

impl Options {
    /// The chosen cells.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let filters = [self.workload.as_str(), self.profile.as_deref().unwrap_or("")];
        let mut cells = catalogue(&self.clients, self.idle_clients);
        cells.retain(|cell| filters.iter().all(|filter| matches(filter, &cell.to_string())));
        cells
    }

    /// Whether to profile instead of measuring.
    pub(crate) fn profiles(&self) -> bool {
        self.profile.is_some()
    }

    /// Seconds of a run.
    pub(crate) fn seconds(&self) -> u32 {
        if self.quick { 1 } else { self.seconds }
    }

    /// What to start.
    pub(crate) fn kinds(&self) -> io::Result<Vec<Kind>> {
        let mut kinds = Vec::new();
        if !self.skip_direct {
            kinds.push(Kind::Direct);
        }
        match self.pgbouncer() {
            Some(program) => kinds.push(Kind::PgBouncer { program }),
            None if self.skip_pgbouncer => {}
            None => return Err(io::Error::other("no pgbouncer found; give --pgbouncer or --skip-pgbouncer")),
        }
        if !self.skip_pgherd {
            kinds.extend(self.pgherds()?);
        }
        if kinds.is_empty() { Err(io::Error::other("everything is skipped")) } else { Ok(kinds) }
    }

    fn pgherds(&self) -> io::Result<Vec<Kind>> {
        if self.pgherd.is_empty() {
            return Err(io::Error::other("give --pgherd PATH, or --skip-pgherd"));
        }
        let mut kinds = Vec::new();
        for given in &self.pgherd {
            let (name, path) = given.split_once('=').unwrap_or(("pgherd", given));
            // A relative path would be looked for on the path by setpriv.
            let program =
                std::fs::canonicalize(path).map_err(|e| io::Error::other(format!("{path}: {e}")))?;
            for &workers in &self.workers {
                kinds.push(Kind::Pgherd { name: name.to_owned(), program: program.clone(), workers });
            }
        }
        Ok(kinds)
    }

    /// The PgBouncer program, unless it is skipped or not there.
    pub(crate) fn pgbouncer(&self) -> Option<PathBuf> {
        if self.skip_pgbouncer {
            return None;
        }
        self.pgbouncer_path.clone().or_else(|| on_path("pgbouncer"))
    }

    /// The directory of initdb, postgres, psql and pgbench.
    pub(crate) fn postgres_bin(&self) -> io::Result<PathBuf> {
        if let Some(bin) = &self.pg_bin {
            return Ok(bin.clone());
        }
        let newest = std::fs::read_dir(DEBIAN_POSTGRESQL).ok().and_then(|versions| {
            let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
            let found = versions.filter_map(|entry| Some(entry.ok()?.path()));
            found.filter(|path| path.join("bin/initdb").exists()).max_by_key(version)
        });
        newest
            .map(|version| version.join("bin"))
            .or_else(|| Some(on_path("initdb")?.parent()?.to_owned()))
            .ok_or_else(|| io::Error::other("no PostgreSQL found; give --pg-bin"))
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
    places.map(|place| place.join(program)).find(|candidate| candidate.is_file())
}
