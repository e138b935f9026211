//! Where the crates are put together: threads, wiring, signals. No policy.

pub mod balancers;
pub mod change;
pub mod console;
pub mod control;
pub mod entrance;
pub mod explain;
pub mod faces;
pub mod handover;
mod inquiry;
pub mod keeper;
pub mod logging;
pub mod orders;
pub mod places;
pub mod plan;
pub mod rehearsal;
pub mod reloads;
pub mod workers;

#[cfg(test)]
mod keys_tests;

use crate::cli::exit;
use crate::config::settings::Settings;
use keeper::Keeper;
use parking_lot::RwLock;
use pgherd_login::door::Door;
use pgherd_metrics::registry::Registry;
use pgherd_pool::clock::CoarseClock;
use pgherd_pool::pool::{Common, Hint};
use pgherd_pool::pools::Pools;
use pgherd_proxy::shared::Shared;
use pgherd_topology::cell::Cell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Everything that lives as long as the process serves.
pub struct House {
    /// When the process began.
    pub started: Instant,
    /// The settings in force.
    pub settings: RwLock<Arc<Settings>>,
    /// The file a reload reads again.
    pub path: Option<PathBuf>,
    /// What turns settings into terms and shapes.
    pub keeper: RwLock<Arc<Keeper>>,
    /// The front door.
    pub door: Arc<Door>,
    /// What sessions share.
    pub shared: Arc<Shared>,
    /// Encryption of the controller's connections.
    pub encryption: plan::Encryption,
    /// What is shared with a process that replaces this one.
    pub handover: Option<Arc<handover::Handover>>,
    /// How reloads went.
    pub reloads: reloads::Reloads,
    /// What a reload can change about logging.
    pub logging: logging::Logging,
    /// Instruments.
    pub registry: Arc<Registry>,
    /// The controller's handle.
    pub controller: pgherd_controller::handle::Handle,
    /// Clients of the console.
    pub consoles: console::Consoles,
    /// What the console asks of the control thread.
    pub orders: orders::Orders,
    /// What databases had done a while ago.
    pub history: console::statistics::History,
    /// Workers, in order of their homes.
    pub workers: Vec<workers::Worker>,
}

/// Runs the proxy and the controller until a signal ends them. `path` is the settings file that a reload reads again;
/// `None` when everything came from the environment.
pub fn run(settings: Settings, path: Option<PathBuf>) -> ExitCode {
    let started = Instant::now();
    let logging = logging::start(&settings.server);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = path.as_deref().map(|path| path.display().to_string()),
        "pgherd starts"
    );
    match build(settings, path, started, logging) {
        Ok((house, driver)) => control::run(house, driver),
        Err(error) => {
            tracing::error!(%error, "pgherd cannot start");
            ExitCode::from(error.exit())
        }
    }
}

/// Why pgherd cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings that were to be read again; all their faults.
    #[error("the settings have faults\n{0}")]
    Faults(String),
    /// A file or socket.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// TLS files.
    #[error(transparent)]
    Tls(#[from] pgherd_net::tls::TlsError),
    /// TLS files of a node.
    #[error("node \"{0}\": {1}")]
    NodeTls(String, pgherd_net::tls::TlsError),
    /// The users file.
    #[error(transparent)]
    Users(#[from] pgherd_login::users::UsersError),
    /// The user name maps.
    #[error(transparent)]
    Ident(#[from] pgherd_login::ident::IdentError),
    /// The door.
    #[error(transparent)]
    Login(#[from] pgherd_login::error::LoginError),
}

impl StartError {
    /// The exit code: files that settings name are part of the settings.
    pub fn exit(&self) -> u8 {
        match self {
            StartError::Tls(_)
            | StartError::NodeTls(..)
            | StartError::Users(_)
            | StartError::Ident(_)
            | StartError::Faults(_) => exit::CONFIG,
            StartError::Io(..) | StartError::Login(_) => 1,
        }
    }
}

fn build(
    settings: Settings,
    path: Option<PathBuf>,
    started: Instant,
    logging: logging::Logging,
) -> Result<(Arc<House>, pgherd_controller::driver::Driver), StartError> {
    let cell = Arc::new(Cell::default());
    let registry = Arc::new(Registry::default());
    let settings = Arc::new(settings);
    let keeper = Arc::new(Keeper::new(settings.clone())?);
    let encryption = plan::Encryption::default();
    encryption.read(&settings)?;
    let gauges = Arc::new(pgherd_topology::gauge::Gauges::default());
    let (controller, driver) = pgherd_controller::driver::new(
        plan::controller(&settings),
        cell.clone(),
        gauges.clone(),
        encryption.connector(),
    )
    .map_err(|error| StartError::Io("state_dir".into(), error))?;
    let workers = workers::start(settings.server.workers, &registry)
        .map_err(|error| StartError::Io("worker threads".into(), error))?;
    let door = Arc::new(Door::new(keeper.door(&cell)?)?);
    let (hints, entry) = (controller.clone(), door.clone());
    let mut common = Common::new(
        workers.iter().map(|worker| worker.runtime.clone()).collect(),
        cell.clone(),
        gauges,
        Box::new(move |node, hint| {
            let seen = match hint {
                Hint::Refused => pgherd_failover::event::Hint::Refused,
                Hint::Lost => pgherd_failover::event::Hint::Reset,
            };
            hints.hint(node, seen);
        }),
    )
    .with_denied(Box::new(move |user| {
        if let Some(directory) = &entry.settings().directory {
            directory.doubt(user);
        }
    }));
    // One time for both wings: the age of what a replica has is reckoned from moments of the controller.
    common.clock = CoarseClock::since(controller.born());
    let pools = Pools::new(keeper.clone(), common, keeper::max_servers(&settings));
    let consoles =
        console::Consoles::start().map_err(|error| StartError::Io("console thread".into(), error))?;
    let random = Box::new(|bytes: &mut [u8]| {
        assert!(pgherd_login::random::fill(bytes), "the system has no random numbers");
    });
    let shared = Shared::new(cell, pools, keeper.clone(), random);
    let house = House {
        started,
        handover: handover::Handover::of(&settings)?,
        settings: RwLock::new(settings),
        path,
        keeper: RwLock::new(keeper),
        door,
        shared,
        encryption,
        reloads: reloads::Reloads::default(),
        logging,
        registry,
        controller,
        consoles,
        orders: orders::Orders::default(),
        history: console::statistics::History::begin(),
        workers,
    };
    Ok((Arc::new(house), driver))
}
