//! What a person types. Data goes to standard output, talk to standard error; exit codes have a meaning.

pub mod change;
pub mod cluster;
pub mod demo;
pub mod explain;
pub mod health;
pub mod http;
pub mod moment;
pub mod output;
pub mod run;
pub mod settings;
pub mod status;
pub mod table;
pub mod target;
pub mod version;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit codes beyond 0 and 1, after sysexits.h and the table of the manual.
pub mod exit {
    /// A wrong command line (clap's own).
    pub const USAGE: u8 = 2;
    /// The cluster works, but not all of it.
    pub const DEGRADED: u8 = 3;
    /// Nobody accepts writes.
    pub const NO_PRIMARY: u8 = 4;
    /// What was asked for is refused; nothing was done.
    pub const REFUSED: u8 = 5;
    /// It was begun, and undone.
    pub const ROLLED_BACK: u8 = 7;
    /// What is asked is not there: no server to talk to, no PostgreSQL programs.
    pub const UNAVAILABLE: u8 = 69;
    /// The settings cannot be used.
    pub const CONFIG: u8 = 78;
}

/// PostgreSQL proxy with an embedded failover controller.
#[derive(Debug, Parser)]
#[command(name = "pgherd", version, about, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// When to use colour; NO_COLOR switches it off too
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Say more on standard error
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Shape of data on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For cut and awk.
    Tsv,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the proxy and the controller
    Run(RunArgs),
    /// Look at the settings, or explain them
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show the cluster: who is primary, who is read from, and why not
    #[command(alias = "list")]
    Status(StatusArgs),
    /// Make another node the primary, while there is one
    Switchover(change::Arguments),
    /// Make a node the primary, whether or not there is one
    Failover(change::Arguments),
    /// Say where a statement would go, and why
    Explain(explain::Arguments),
    /// Start a primary and replicas from nothing in a temporary directory, with the proxy in front
    Demo(demo::Arguments),
    /// Ask a running pgherd whether it is alive; for container health checks
    Health(HealthArgs),
    /// Print the version
    Version {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which settings file.
#[derive(Clone, Debug, Default, Args)]
pub struct FileArg {
    /// Settings file [default: pgherd.toml here, then /etc/pgherd/pgherd.toml]
    #[arg(short, long, value_name = "FILE", env = "PGHERD_CONFIG")]
    pub config: Option<PathBuf>,
}

/// `pgherd run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which file
    #[command(flatten)]
    pub file: FileArg,
}

/// `pgherd config ...`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Tell everything that is wrong with the settings; exit 78 if they cannot be used
    Check(FileArg),
    /// Print the settings as they hold, secrets hidden
    Show {
        /// Which file
        #[command(flatten)]
        file: FileArg,
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
        /// Shape of the output
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Explain a key (`max_pool_size`, `pool.mode`), a section, or all
    Doc {
        /// Key or section
        key: Option<String>,
        /// The whole reference page, in Markdown
        #[arg(long, conflicts_with = "key")]
        markdown: bool,
    },
    /// Print the JSON schema of the settings file
    Schema,
    /// Print an annotated settings file with every key
    Sample,
}

/// Which running pgherd to talk to.
#[derive(Clone, Debug, Default, Args)]
pub struct ApiArgs {
    /// URL of the API [default: the one of the local settings, then http://127.0.0.1:8008]
    #[arg(long, value_name = "URL", env = "PGHERD_API")]
    pub api: Option<String>,
    /// Which file tells the API's address
    #[command(flatten)]
    pub file: FileArg,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    pub timeout: std::time::Duration,
}

/// `pgherd status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Whom to ask
    #[command(flatten)]
    pub api: ApiArgs,
    /// Shape of the output
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Again every so many seconds
    #[arg(short, long, value_name = "SECS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
}

/// `pgherd health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Ask whether it is ready for clients, not only alive
    #[arg(long)]
    pub ready: bool,
    /// Whom to ask
    #[command(flatten)]
    pub api: ApiArgs,
}

/// A duration on the command line, written as in the settings file.
fn time(text: &str) -> Result<std::time::Duration, String> {
    match crate::config::unit::duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("write it like 5s or 500ms".to_string()),
    }
}

/// Reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let talk = output::Talk::new(cli.color, cli.verbose);
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Config(command) => settings::run(&command),
        Command::Status(args) => status::run(&args, &talk),
        Command::Switchover(args) => change::switchover(&args, &talk),
        Command::Failover(args) => change::failover(&args, &talk),
        Command::Explain(args) => explain::run(&args, &talk),
        Command::Demo(args) => ExitCode::from(demo::run(&args)),
        Command::Health(args) => health::run(&args, &talk),
        Command::Version { json } => version::run(json),
    }
}
