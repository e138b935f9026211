//! Listening sockets, and the way of a new connection to a worker.

use crate::app::balancers::Balancers;
use crate::app::places::{Bound, Listening, Place, places};
use crate::app::{House, StartError};
use crate::config::settings::Settings;
use parking_lot::{Mutex, RwLock};
use pgherd_login::door::{Arrival, Peer};
use pgherd_net::transport::Transport;
use pgherd_proxy::cancel::{Cancels, cancel};
use socket2::TcpKeepalive;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Pause after a failed accept: when descriptors are used up, trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All listeners, accepting on a thread of their own.
pub struct Entrance {
    house: Arc<House>,
    cancels: Arc<Cancels>,
    balancers: Arc<RwLock<Balancers>>,
    runtime: tokio::runtime::Handle,
    open: Mutex<Vec<(Place, Task)>>,
}

/// Accepts on one listener.
struct Task {
    accepting: JoinHandle<()>,
    /// The socket, for a process that comes to replace this one.
    lent: Option<Arc<OwnedFd>>,
}

impl Task {
    async fn end(self) {
        drop(self.lent);
        self.accepting.abort();
        // Cancelled, or gone with its event loop: the listener is dropped either way.
        let _ = self.accepting.await;
    }
}

impl Entrance {
    /// Closes every listener and removes its socket file; clients that are in stay.
    pub async fn close(&self) {
        let all: Vec<_> = self.open.lock().drain(..).collect();
        for (_, task) in all {
            task.end().await;
        }
    }

    /// Accepts until `stop` says so; the sockets are closed then.
    ///
    /// # Errors
    /// When the thread or its event loop cannot be made.
    pub fn open(house: Arc<House>, bound: Vec<Bound>, stop: CancellationToken) -> io::Result<Entrance> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new().name("acceptor".into()).spawn(move || {
            runtime.block_on(stop.cancelled());
        })?;
        let balancers = Arc::new(RwLock::new(Balancers::new(&house.settings.read())));
        let (cancels, open) = (Arc::default(), Mutex::default());
        let entrance = Entrance { house, cancels, balancers, runtime: handle, open };
        bound.into_iter().for_each(|bound| entrance.accept(bound));
        Ok(entrance)
    }

    fn accept(&self, mut bound: Bound) {
        let mut lent = None;
        if let Some(handover) = &self.house.handover {
            lent = handover.lend(bound.socket.fd());
            if let Listening::Unix(_, file) = &mut bound.socket {
                file.shared = handover.given().clone();
            }
        }
        tracing::info!(listener = %bound.place.name, at = bound.shown, "listening");
        let place = bound.place.clone();
        let task = accept(self.house.clone(), self.cancels.clone(), self.balancers.clone(), bound);
        let accepting = self.runtime.spawn(async move {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener failed");
            }
        });
        self.open.lock().push((place, Task { accepting, lent }));
    }

    /// Opens what new settings want and closes what they do not; clients that are in stay. When something cannot be
    /// bound, all stays as it is.
    ///
    /// # Errors
    /// The first listener that cannot be bound.
    pub async fn follow(&self, settings: &Settings) -> Result<(), StartError> {
        let wanted = places(settings)?;
        let (mut fresh, mut again) = (Vec::new(), Vec::new());
        {
            let open = self.open.lock();
            for place in wanted.iter().filter(|place| !open.iter().any(|(known, _)| known == *place)) {
                // An address in use by ourselves, with another backlog or for another listener, must be freed first.
                match open.iter().any(|(known, _)| known.is_where(place)) {
                    true => again.push(place),
                    false => fresh.push(place.bind()?),
                }
            }
        }
        let closed: Vec<_> = self.open.lock().extract_if(.., |(place, _)| !wanted.contains(place)).collect();
        for (place, task) in closed {
            tracing::info!(listener = %place.name, at = ?place.at, "listener closed");
            task.end().await;
        }
        *self.balancers.write() = Balancers::new(settings);
        fresh.into_iter().for_each(|bound| self.accept(bound));
        for place in again {
            self.accept(place.bind()?);
        }
        Ok(())
    }
}

async fn accept(
    house: Arc<House>,
    cancels: Arc<Cancels>,
    balancers: Arc<RwLock<Balancers>>,
    bound: Bound,
) -> io::Result<()> {
    let name = bound.place.name;
    match bound.socket {
        Listening::Tcp(socket) => {
            let socket = TcpListener::from_std(socket)?;
            loop {
                match socket.accept().await {
                    Ok((stream, peer)) => {
                        if let Some(keepalive) = keepalive(&house.settings.read().listen) {
                            let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                        }
                        let stream = stream.into_std()?;
                        let caller = match balancers.read().contains(&name, peer.ip()) {
                            true => Caller::Balancer(peer),
                            false => Caller::Client(Peer::Tcp(peer)),
                        };
                        admit(&house, &cancels, &name, caller, move || Transport::tcp(stream));
                    }
                    Err(error) => pause(&error).await,
                }
            }
        }
        Listening::Unix(socket, file) => {
            let socket = UnixListener::from_std(socket)?;
            let _file = file;
            loop {
                match socket.accept().await {
                    Ok((stream, _)) => {
                        let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                        let stream = stream.into_std()?;
                        let caller = Caller::Client(Peer::Unix(uid));
                        admit(&house, &cancels, &name, caller, move || {
                            Ok(Transport::unix(UnixStream::from_std(stream)?))
                        });
                    }
                    Err(error) => pause(&error).await,
                }
            }
        }
    }
}

pub(super) fn keepalive(listen: &crate::config::settings::front::Listen) -> Option<TcpKeepalive> {
    let idle = listen.tcp_keepalive?;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(listen.tcp_keepalive_interval);
    Some(keepalive.with_retries(listen.tcp_keepalive_count))
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "could not accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Who is at the other end of a socket.
enum Caller {
    /// A client.
    Client(Peer),
    /// A balancer at this address, that says for which client it speaks.
    Balancer(SocketAddr),
}

/// Gives a connection to the worker with the fewest.
fn admit(
    house: &Arc<House>,
    cancels: &Arc<Cancels>,
    listener: &Arc<str>,
    caller: Caller,
    transport: impl FnOnce() -> io::Result<Transport> + Send + 'static,
) {
    let Some(worker) = house.workers.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed)) else {
        return;
    };
    let counted = Counted::new(worker.load.clone());
    let (house, cancels, listener, own) =
        (house.clone(), cancels.clone(), listener.clone(), worker.own.clone());
    worker.runtime.spawn(async move {
        let _counted = counted;
        let Ok(transport) = transport() else { return };
        let arrival = match caller {
            Caller::Client(peer) => Box::pin(house.door.admit(transport, peer)).await,
            Caller::Balancer(at) => Box::pin(house.door.admit_relayed(transport, at)).await,
        };
        match arrival {
            Arrival::Client(admitted) if house.keeper.read().is_console(&admitted.database) => {
                crate::app::console::enter(house, listener, admitted).await;
            }
            Arrival::Client(admitted) => {
                let shared = house.shared.clone();
                if house.keeper.read().remember(&admitted.user, &admitted.secret) {
                    shared.pools.renew(&admitted.user);
                }
                drop((house, cancels));
                pgherd_proxy::serve::serve(shared, own, listener, admitted).await;
            }
            Arrival::Cancel(request, _transport) if house.consoles.cancel(request.pid, &request.secret) => {}
            Arrival::Cancel(request, transport) => {
                let found = cancel(&house.shared, &own, &cancels, &request).await;
                if let (false, Some(handover)) = (found, &house.handover) {
                    handover.forward(&request).await;
                }
                drop(transport);
            }
            Arrival::Gone => {}
        }
    });
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(load: Arc<AtomicUsize>) -> Counted {
        load.fetch_add(1, Ordering::Relaxed);
        Counted(load)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
