//! Which arrangement of threads costs the fewest system calls per pooled query?
//!
//! A relay as small as one can be (no protocol beyond "a request is answered once", no login, no state) shares a few
//! servers among more clients in three arrangements: tokio's multi-thread runtime; one current-thread runtime per
//! worker with a plain shared queue; and the same with home-first handover, which is what pgherd does. The relay
//! and the servers are processes of their own (this program started again), so that only the relay is counted.

mod echo;
mod load;
mod relay;
mod shelf;

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pgherd_bench::daemon::{Daemon, Stop, free_port};
use pgherd_bench::machine::Machine;
use pgherd_bench::median::median;
use pgherd_bench::process;
use pgherd_bench::scratch::Scratch;
use pgherd_bench::syscalls::{Class, Counts, Tracer};
use pgherd_bench::table::{Table, number};

use crate::load::Crowd;
use crate::relay::Arrangement;

/// Queries per client before anything is measured.
const WARM_UP: u32 = 50;

/// Compares arrangements of threads by system calls and CPU time per query.
#[derive(Debug, Parser)]
struct Options {
    /// Numbers of clients; with no more clients than servers nobody waits.
    #[arg(long, value_delimiter = ',', default_value = "8,16,32,64")]
    clients: Vec<u32>,
    /// Server connections shared by all clients.
    #[arg(long, default_value_t = 16)]
    servers: u32,
    /// Threads of the relay.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Queries that all clients together send in a timed run; a tenth of it under strace.
    #[arg(long, default_value_t = 100_000)]
    queries: u32,
    /// Interleaved rounds; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Print the table as Markdown.
    #[arg(long)]
    markdown: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program is when it has started itself.
#[derive(Debug, Subcommand)]
enum Role {
    /// Answers every request at once.
    #[command(hide = true)]
    Echo { port: u16 },
    /// Shares servers among clients.
    #[command(hide = true)]
    Relay { arrangement: Arrangement, port: u16, upstream: u16, servers: u32, workers: usize },
}

/// What one round gave for one arrangement and number of clients.
struct Measured {
    counts: Counts,
    cpu_microseconds: f64,
    queries_per_second: f64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.role {
        Some(Role::Echo { port }) => echo::serve(port),
        Some(Role::Relay { arrangement, port, upstream, servers, workers }) => {
            relay::serve(arrangement, port, upstream, servers, workers)
        }
        None => compare(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("threads: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> io::Result<()> {
    let scratch = Scratch::create("threads", false)?;
    let itself = std::env::current_exe()?;
    let upstream = free_port()?;
    let _echo = start(&itself, &["echo".to_owned(), upstream.to_string()], upstream, scratch.path())?;
    let mut relays = Vec::new();
    for arrangement in Arrangement::ALL {
        let port = free_port()?;
        let arguments = [
            "relay".to_owned(),
            arrangement.word().to_owned(),
            port.to_string(),
            upstream.to_string(),
            options.servers.to_string(),
            options.workers.to_string(),
        ];
        relays.push((arrangement, port, start(&itself, &arguments, port, scratch.path())?));
    }
    let mut table = Table::new([
        "arrangement, clients",
        "syscalls/query",
        "recv",
        "send",
        "eventfd write",
        "epoll",
        "futex",
        "CPU us/query",
        "queries/s",
    ]);
    for &clients in &options.clients {
        let mut measured: Vec<Vec<Measured>> = relays.iter().map(|_| Vec::new()).collect();
        for round in 0..options.rounds {
            for turn in 0..relays.len() {
                let place = (round + turn) % relays.len();
                let (arrangement, port, relay) = &relays[place];
                eprintln!("round {}: {} with {clients} clients", round + 1, arrangement.word());
                measured[place].push(measure(options, clients, *port, relay.pid(), scratch.path())?);
            }
        }
        for ((arrangement, ..), rounds) in relays.iter().zip(&measured) {
            table.row(row(&format!("{}, {clients}", arrangement.word()), rounds));
        }
    }
    show(options, &table);
    Ok(())
}

fn start(itself: &Path, arguments: &[String], port: u16, directory: &Path) -> io::Result<Daemon> {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    let log = directory.join(format!("{port}.log"));
    let mut daemon = Daemon::start(itself, &arguments, None, Stop::Kill, &log)?;
    daemon.wait_for(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(daemon)
}

/// A timed run, then a counted one over the same connections: nothing but queries happens while strace looks.
fn measure(options: &Options, clients: u32, port: u16, pid: u32, directory: &Path) -> io::Result<Measured> {
    let mut crowd = Crowd::connect(clients, port)?;
    crowd.ask(WARM_UP)?;
    let each = (options.queries / clients).max(1);
    let before = process::cpu_time(pid)?;
    let elapsed = crowd.ask(each)?;
    let cpu = process::cpu_time(pid)?.saturating_sub(before);
    let queries = f64::from(each * clients);
    let each_counted = (each / 10).max(1);
    let tracer = Tracer::attach(pid, &directory.join("strace.summary"))?;
    let asked = crowd.ask(each_counted);
    let counts = tracer.detach()?;
    asked?;
    Ok(Measured {
        counts: counts.beyond(&Counts::default(), f64::from(each_counted * clients)),
        cpu_microseconds: cpu.as_secs_f64() * 1e6 / queries,
        queries_per_second: queries / elapsed.as_secs_f64(),
    })
}

fn row(name: &str, rounds: &[Measured]) -> Vec<String> {
    let of = |value: &dyn Fn(&Measured) -> f64| {
        let values: Vec<f64> = rounds.iter().map(value).collect();
        median(&values).map_or_else(|| "-".to_owned(), number)
    };
    let call = |names: &'static [&'static str]| {
        of(&move |m| names.iter().filter_map(|name| m.counts.calls.get(*name)).sum::<f64>())
    };
    vec![
        name.to_owned(),
        of(&|m| m.counts.total()),
        call(&["recvfrom", "recvmsg", "readv"]),
        call(&["sendto", "sendmsg", "writev"]),
        // The relay's sockets use send and recv: a plain write wakes another thread's event loop.
        call(&["write"]),
        of(&|m| m.counts.of(Class::Epoll)),
        of(&|m| m.counts.of(Class::Futex)),
        of(&|m| m.cpu_microseconds),
        of(&|m| m.queries_per_second),
    ]
}

fn show(options: &Options, table: &Table) {
    let machine = Machine::look(Path::new(""), None);
    println!(
        "{}: {}, {} cores, Linux {}, load {} at the end, commit {}; {} servers, {} workers, {} rounds\n",
        machine.command,
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.load,
        machine.commit,
        options.servers,
        options.workers,
        options.rounds,
    );
    print!("{}", if options.markdown { table.markdown() } else { table.text() });
}
