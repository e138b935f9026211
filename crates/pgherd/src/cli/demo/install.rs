//! Getting PostgreSQL onto a machine that has none, by the system's own package manager.
use pgherd_lab::binaries::in_path;
use std::io::IsTerminal;
use std::process::{Command, Stdio};

/// A package manager and the commands that bring a PostgreSQL server with `pgbench`.
struct Manager {
    /// The program that tells that this manager is here.
    program: &'static str,
    /// The commands, in order.
    commands: &'static [&'static [&'static str]],
    /// Whether they need root.
    needs_root: bool,
}

const MANAGERS: [Manager; 6] = [
    Manager {
        program: "apt-get",
        commands: &[
            &["apt-get", "update"],
            &[
                "env",
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "install",
                "-y",
                "--no-install-recommends",
                "postgresql",
            ],
        ],
        needs_root: true,
    },
    Manager {
        program: "dnf",
        commands: &[&["dnf", "install", "-y", "postgresql-server", "postgresql-contrib"]],
        needs_root: true,
    },
    Manager {
        program: "zypper",
        commands: &[&["zypper", "--non-interactive", "install", "postgresql-server", "postgresql-contrib"]],
        needs_root: true,
    },
    Manager {
        program: "apk",
        commands: &[&["apk", "add", "postgresql", "postgresql-client", "postgresql-contrib", "setpriv"]],
        needs_root: true,
    },
    Manager {
        program: "pacman",
        commands: &[&["pacman", "-Sy", "--noconfirm", "postgresql"]],
        needs_root: true,
    },
    Manager { program: "brew", commands: &[&["brew", "install", "postgresql"]], needs_root: false },
];

/// Installs PostgreSQL, telling on standard error each command before it runs.
///
/// # Errors
/// A sentence with the command to type, when this process may not or cannot do it.
pub(super) fn postgresql() -> Result<(), String> {
    let Some(manager) = MANAGERS.iter().find(|m| in_path(m.program).is_some()) else {
        return Err("no package manager known to pgherd is here; install PostgreSQL (server and pgbench) and run the demo again"
            .to_owned());
    };
    let root = rustix::process::getuid().is_root();
    let prefix: &[&str] = if manager.needs_root && !root { &["sudo"] } else { &[] };
    let lines: Vec<Vec<&str>> = manager.commands.iter().map(|c| [prefix, c].concat()).collect();
    let typed = lines.iter().map(|l| l.join(" ")).collect::<Vec<_>>().join(" && ");
    if !prefix.is_empty() && !may_sudo() {
        return Err(format!("install it and run the demo again: {typed}"));
    }
    eprintln!("pgherd demo: no PostgreSQL server here; installing it with the system's package manager");
    for line in lines {
        eprintln!("+ {}", line.join(" "));
        let status = Command::new(line[0]).args(&line[1..]).stdout(Stdio::from(std::io::stderr())).status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => {
                return Err(format!("\"{}\" failed ({status}); try it yourself: {typed}", line.join(" ")));
            }
            Err(error) => {
                return Err(format!(
                    "could not run \"{}\": {error}; try it yourself: {typed}",
                    line.join(" ")
                ));
            }
        }
    }
    if manager.program == "apt-get" {
        eprintln!(
            "pgherd demo: the package may have made a cluster of its own on port 5432; the demo does not touch it"
        );
    }
    Ok(())
}

/// True when `sudo` works without a question, or there is a person to answer one.
fn may_sudo() -> bool {
    let quiet = || {
        let mut command = Command::new("sudo");
        command.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|s| s.success())
    };
    in_path("sudo").is_some() && (std::io::stdin().is_terminal() || quiet())
}
