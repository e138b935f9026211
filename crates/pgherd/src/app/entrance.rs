//! Listening sockets, and the way of a new connection to a worker.

use crate::app::{House, StartError};
use crate::config::settings::Settings;
use crate::config::settings::front::HostPort;
use pgherd_login::door::{Arrival, Peer};
use pgherd_net::transport::Transport;
use pgherd_proxy::cancel::{Cancels, cancel};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// Pause after a failed accept: when descriptors are used up, trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
pub struct Bound {
    name: Arc<str>,
    /// Where it is bound, for the log.
    pub place: String,
    socket: Listening,
}

enum Listening {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

/// Binds all listeners.
///
/// # Errors
/// The first that cannot be bound.
pub fn bind(settings: &Settings) -> Result<Vec<Bound>, StartError> {
    let mut bound = Vec::new();
    for listener in &settings.listeners {
        let name: Arc<str> = listener.name.as_str().into();
        let fail = |error| {
            StartError::Io(format!("cannot listen on {} ({})", listener.address, listener.name), error)
        };
        for address in resolve(&listener.address).map_err(fail)? {
            let socket = tcp(address, settings.listen.backlog).map_err(fail)?;
            let place = socket.local_addr().map_or_else(|_| address.to_string(), |local| local.to_string());
            bound.push(Bound { name: name.clone(), place, socket: Listening::Tcp(socket) });
        }
        if let Some(dir) = &settings.listen.unix_socket_dir {
            let path = dir.join(format!(".s.PGSQL.{}", listener.address.port));
            let fail = |error| StartError::Io(format!("cannot listen on {}", path.display()), error);
            let socket = unix(&path, settings.listen.unix_socket_mode).map_err(fail)?;
            let place = path.display().to_string();
            bound.push(Bound { name, place, socket: Listening::Unix(socket, path) });
        }
    }
    Ok(bound)
}

fn resolve(address: &HostPort) -> io::Result<Vec<SocketAddr>> {
    Ok((address.host.as_str(), address.port).to_socket_addrs()?.collect())
}

/// A listening TCP socket.
///
/// # Errors
/// Those of the system.
pub fn tcp(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// A socket left behind by a process that is gone is replaced; one that somebody answers on is not.
fn unix(path: &Path, mode: u32) -> io::Result<std::os::unix::net::UnixListener> {
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let socket = std::os::unix::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Accepts on all listeners, on a thread of its own, until `stop` says so; the sockets are closed then.
///
/// # Errors
/// When the thread or its event loop cannot be made.
pub fn open(
    house: Arc<House>,
    bound: Vec<Bound>,
    stop: tokio_util::sync::CancellationToken,
) -> io::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("acceptor".into()).spawn(move || {
        runtime.block_on(async {
            let cancels = Arc::new(Cancels::default());
            let mut tasks = tokio::task::JoinSet::new();
            for listener in bound {
                let (house, cancels) = (house.clone(), cancels.clone());
                tasks.spawn(async move {
                    if let Err(error) = accept(house, cancels, listener).await {
                        tracing::error!(%error, "a listener failed");
                    }
                });
            }
            stop.cancelled().await;
        });
    })
}

async fn accept(house: Arc<House>, cancels: Arc<Cancels>, bound: Bound) -> io::Result<()> {
    match bound.socket {
        Listening::Tcp(socket) => {
            let keepalive = keepalive(&house.settings.read().listen);
            let socket = TcpListener::from_std(socket)?;
            loop {
                match socket.accept().await {
                    Ok((stream, peer)) => {
                        if let Some(keepalive) = &keepalive {
                            let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(keepalive);
                        }
                        let stream = stream.into_std()?;
                        admit(&house, &cancels, &bound.name, Peer::Tcp(peer), move || Transport::tcp(stream));
                    }
                    Err(error) => pause(&error).await,
                }
            }
        }
        Listening::Unix(socket, path) => {
            let socket = UnixListener::from_std(socket)?;
            let _removed = Removed(path);
            loop {
                match socket.accept().await {
                    Ok((stream, _)) => {
                        let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                        let stream = stream.into_std()?;
                        admit(&house, &cancels, &bound.name, Peer::Unix(uid), move || {
                            Ok(Transport::unix(UnixStream::from_std(stream)?))
                        });
                    }
                    Err(error) => pause(&error).await,
                }
            }
        }
    }
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn keepalive(listen: &crate::config::settings::front::Listen) -> Option<TcpKeepalive> {
    let idle = listen.tcp_keepalive?;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(listen.tcp_keepalive_interval);
    Some(keepalive.with_retries(listen.tcp_keepalive_count))
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "could not accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Gives a connection to the worker with the fewest.
fn admit(
    house: &Arc<House>,
    cancels: &Arc<Cancels>,
    listener: &Arc<str>,
    peer: Peer,
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
        let arrival = Box::pin(house.door.admit(transport, peer)).await;
        match arrival {
            Arrival::Client(admitted) => {
                house.keeper.read().remember(&admitted.user, &admitted.secret);
                let shared = house.shared.clone();
                drop((house, cancels));
                pgherd_proxy::serve::serve(shared, own, listener, admitted).await;
            }
            Arrival::Cancel(request, transport) => {
                cancel(&house.shared, &own, &cancels, &request).await;
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
