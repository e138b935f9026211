//! Worker threads: one current-thread runtime each.

use pgherd_metrics::registry::Registry;
use pgherd_proxy::shared::Shared;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use tokio::runtime::{Builder, Handle};

/// One worker as the rest of the process sees it.
pub struct Worker {
    /// Its event loop.
    pub runtime: Handle,
    /// What its sessions share.
    pub own: Arc<pgherd_proxy::shared::Worker>,
    /// Connections it serves, from accept on.
    pub load: Arc<AtomicUsize>,
}

/// Starts `count` workers (`None`: one per processor). They run until the process ends.
///
/// # Errors
/// When a thread or its event loop cannot be made.
pub fn start(count: Option<u32>, registry: &Registry) -> io::Result<Vec<Worker>> {
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = count.map_or_else(processors, |count| count as usize).max(1);
    (0..count).map(|home| one(home, registry)).collect()
}

fn one(home: usize, registry: &Registry) -> io::Result<Worker> {
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new().name(format!("worker-{home}")).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = tell.send(Err(error));
                return;
            }
        };
        let _ = tell.send(Ok(runtime.handle().clone()));
        runtime.block_on(std::future::pending::<()>());
    })?;
    let runtime = told.recv().map_err(|_| io::Error::other("worker thread ended"))??;
    Ok(Worker { runtime, own: Shared::worker(home, registry), load: Arc::default() })
}
