//! `pgherd demo`: a real primary and its streaming replicas from nothing, this very program in front, pgbench through it.
//!
//! Nothing here is simulated and nothing is printed that did not happen. The proxy is a child started from a settings file, as
//! an operator would start it; all children end with the demo, and so does the directory unless it is to be kept.
mod install;
mod load;
mod progress;
mod report;

use load::{Load, Said, Target, Work};
use pgherd_lab::account::Account;
use pgherd_lab::binaries::Binaries;
use pgherd_lab::error::LabError;
use pgherd_lab::front::{Front, FrontOptions, Ports};
use pgherd_lab::lab::Lab;
use pgherd_lab::options::{Database, Options, Role};
use pgherd_lab::stale;
use progress::Progress;
use report::{Heard, Reads, Summary};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The user, and the name of the database.
const USER: &str = "demo";
/// Guards a loopback port of a cluster that lives for minutes; it is printed on purpose.
const PASSWORD: &str = "demo";
/// How the directory's name begins.
const PREFIX: &str = "pgherd-demo";
/// pgbench's scale: 400,000 accounts, some 60 MB on each node.
const SCALE: u32 = 4;
/// "Until Ctrl-C" for pgbench, which wants a number: eleven days.
const ENDLESS: u64 = 1_000_000;
/// How long a pgbench may take after its time is over.
const LAST_PATIENCE: Duration = Duration::from_secs(60);
/// How long a second's line waits for the slower of the two pgbenches.
const LINE_PATIENCE: Duration = Duration::from_millis(700);
/// Exit code of "a service this needs is not there" (BSD sysexits, EX_UNAVAILABLE).
const UNAVAILABLE: u8 = 69;

/// Options of `pgherd demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Streaming replicas besides the primary
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub replicas: u8,
    /// End after this many seconds of load, with a summary; exit code 1 if anything failed [default: until Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
    /// Clients of each pgbench (one writes through port 5000, one reads through 5001)
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub clients: u32,
    /// Leave the directory behind
    #[arg(long)]
    pub keep: bool,
    /// Run no pgbench: only the cluster and the proxy
    #[arg(long)]
    pub no_load: bool,
    /// Directory of PostgreSQL's server binaries [default: the newest found]
    #[arg(long, value_name = "DIR", env = "PGHERD_PG_BIN")]
    pub pg_bin: Option<PathBuf>,
    /// Do not install PostgreSQL when there is none; say what to type
    #[arg(long)]
    pub no_install: bool,
}

/// Why a demo ended badly.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("{0}")]
    Unavailable(String),
    #[error("could not write: {0}")]
    Output(#[from] io::Error),
}

/// Runs the demo to its end and gives the exit code: 0, 1 when anything failed, 69 when there is no PostgreSQL.
#[must_use]
pub fn run(arguments: &Arguments) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(DemoError::Output).and_then(|runtime| runtime.block_on(demo(arguments)));
    match ended {
        Ok(true) => 0,
        Ok(false) => 1,
        // Whoever reads us has left; the cluster is gone with the future that held it.
        Err(DemoError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            eprintln!("pgherd demo: {error}");
            match error {
                DemoError::Unavailable(_) => UNAVAILABLE,
                DemoError::Lab(ref error) if error.is_machine() => UNAVAILABLE,
                DemoError::Lab(_) | DemoError::Output(_) => 1,
            }
        }
    }
}

/// The demo; true when nothing failed. A signal at any moment drops whatever was built so far, which takes it down.
async fn demo(arguments: &Arguments) -> Result<bool, DemoError> {
    let mut stop = Stop::new()?;
    find_postgresql(arguments)?;
    clear_leftovers()?;
    let (lab, front) = tokio::select! {
        biased;
        () = stop.asked() => return Ok(true),
        built = build(arguments) => built?,
    };
    let good = if arguments.no_load {
        stand_by(arguments, front, &mut stop).await?
    } else {
        play(arguments, &lab, front, &mut stop).await?
    };
    if arguments.keep {
        say(&format!("  kept: {}", lab.directory().display()))?;
    }
    lab.shutdown().await?;
    Ok(good)
}

fn find_postgresql(arguments: &Arguments) -> Result<(), DemoError> {
    let find = || Binaries::find(arguments.pg_bin.as_deref(), None);
    match find() {
        Ok(binaries) => binaries.tool("pgbench").map(drop).map_err(DemoError::Lab),
        Err(error) if arguments.no_install || arguments.pg_bin.is_some() => Err(DemoError::Lab(error)),
        Err(_) => {
            install::postgresql().map_err(DemoError::Unavailable)?;
            find().map(drop).map_err(DemoError::Lab)
        }
    }
}

fn clear_leftovers() -> Result<(), DemoError> {
    for leftover in stale::find(&std::env::temp_dir(), PREFIX, Account::choose()?.uid()) {
        say(&format!("  an earlier demo was killed and left {}; removing it", leftover.path().display()))?;
        leftover.remove()?;
    }
    Ok(())
}

async fn build(arguments: &Arguments) -> Result<(Lab, Front), DemoError> {
    let begin = Instant::now();
    let lab = Lab::start(Options {
        replicas: usize::from(arguments.replicas),
        bin_dir: arguments.pg_bin.clone(),
        keep: arguments.keep,
        prefix: PREFIX.to_owned(),
        roles: vec![Role {
            name: USER.to_owned(),
            password: Some(PASSWORD.to_owned()),
            attributes: String::new(),
        }],
        databases: vec![Database { name: USER.to_owned(), owner: USER.to_owned() }],
        settings: vec!["max_wal_size = '256MB'".to_owned()],
        ..Options::default()
    })
    .await?;
    let took = begin.elapsed();
    let ports = Ports::usual_or_free()?;
    let front = Front::start(
        &lab,
        &FrontOptions {
            executable: std::env::current_exe()?,
            ports,
            cluster: "demo".to_owned(),
            users: vec![(USER.to_owned(), PASSWORD.to_owned())],
            settings: vec![
                ("server".to_owned(), "shutdown_grace = \"2s\"".to_owned()),
                ("auth".to_owned(), format!("admin_users = [\"{USER}\"]")),
            ],
        },
    )
    .await?;
    for line in report::moved(ports) {
        say(&line)?;
    }
    say(&report::opening(&lab, ports, USER, PASSWORD, took))?;
    if !arguments.no_load {
        say(&format!("  filling pgbench's tables through port {}", ports.primary))?;
        load::fill(&lab, &target(ports.primary), SCALE).await?;
        lab.wait_replicated().await?;
    }
    Ok((lab, front))
}

fn target(port: u16) -> Target<'static> {
    Target { port, user: USER, password: PASSWORD }
}

/// Does nothing until the time is over or somebody asks to stop. False when the proxy ended by itself or badly.
async fn stand_by(arguments: &Arguments, mut front: Front, stop: &mut Stop) -> Result<bool, DemoError> {
    say("  no load; Ctrl-C ends it")?;
    let end = Instant::now() + Duration::from_secs(arguments.seconds.unwrap_or(ENDLESS));
    while Instant::now() < end && front.is_running() {
        let asked = tokio::time::timeout(Duration::from_secs(1), stop.asked()).await;
        if asked.is_ok() {
            break;
        }
    }
    match front.shutdown().await {
        Ok(()) => Ok(true),
        Err(error) => {
            say(&format!("  FAILED: the proxy did not end well: {error}"))?;
            Ok(false)
        }
    }
}

/// Load until its time is over or somebody asks to stop; then the summary. True when nothing failed.
async fn play(
    arguments: &Arguments,
    lab: &Lab,
    mut front: Front,
    stop: &mut Stop,
) -> Result<bool, DemoError> {
    let seconds = arguments.seconds.unwrap_or(ENDLESS);
    let ports = front.ports();
    let until = arguments.seconds.map_or("Ctrl-C ends it".to_owned(), |n| format!("for {n} s"));
    say(&format!("  running pgbench -c {} twice, one line a second; {until}", arguments.clients))?;
    let before = Reads::now(lab, USER).await;
    let mut writes =
        Load::start(lab, &target(ports.primary), Work::Writes, arguments.clients, seconds).await?;
    let mut reads =
        Load::start(lab, &target(ports.replicas), Work::Reads, arguments.clients, seconds).await?;
    let mut summary = Summary::default();
    tokio::select! {
        biased;
        () = stop.asked() => summary.interrupted = true,
        ended = narrate(lab, &mut front, &mut writes, &mut reads, &before) => ended?,
    }
    if !summary.interrupted {
        summary.writes = writes.totals(LAST_PATIENCE).await?;
        summary.reads = reads.totals(LAST_PATIENCE).await?;
    }
    drop((writes, reads));
    // The proxy closes its server connections as it ends, and a closing connection reports its last counts.
    let proxy = front.shutdown().await;
    summary.shares = Reads::now(lab, USER).await.since(&before);
    summary.count(lab, USER).await?;
    say(&summary.text())?;
    let mut faults = summary.faults();
    faults.extend(proxy.err().map(|error| format!("the proxy did not end well: {error}")));
    for fault in &faults {
        say(&format!("  FAILED: {fault}"))?;
    }
    Ok(faults.is_empty())
}

/// Prints a line a second until both pgbenches have ended. Cancel safe: it holds nothing of its own.
async fn narrate(
    lab: &Lab,
    front: &mut Front,
    writes: &mut Load,
    reads: &mut Load,
    before: &Reads,
) -> Result<(), DemoError> {
    for number in 1.. {
        let Some(first) = hear(writes).await? else { break };
        let second = match tokio::time::timeout(LINE_PATIENCE, hear(reads)).await {
            Ok(heard) => heard?.map_or(Heard::End, Heard::Progress),
            Err(_) => Heard::Silence,
        };
        let shares = Reads::now(lab, USER).await.since(before);
        say(&report::second(number, Heard::Progress(first), second, &shares))?;
        if !front.is_running() {
            let log = front.log_tail();
            return Err(DemoError::Lab(LabError::Died { node: "pgherd".to_owned(), log }));
        }
    }
    while hear(reads).await?.is_some() {}
    Ok(())
}

/// The next line of progress of one pgbench, `None` at its end; trouble is printed as it comes. Cancel safe.
async fn hear(load: &mut Load) -> Result<Option<Progress>, DemoError> {
    while let Some(said) = load.said.recv().await {
        match said {
            Said::Progress(progress) => return Ok(Some(progress)),
            Said::Trouble(text) => say(&format!("       {text}"))?,
        }
    }
    Ok(None)
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// The signals that end a demo.
struct Stop {
    signals: [Signal; 3],
}

impl Stop {
    fn new() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self { signals: [interrupt?, terminate?, hangup?] })
    }

    /// Returns when any of them arrives. Cancel safe.
    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
