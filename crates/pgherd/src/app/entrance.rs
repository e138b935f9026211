//! Listening sockets, and the way of a new connection to a worker.

use crate::app::{House, StartError};
use crate::config::settings::Settings;
use crate::config::settings::front::HostPort;
use parking_lot::Mutex;
use pgherd_login::door::{Arrival, Peer};
use pgherd_net::transport::Transport;
use pgherd_proxy::cancel::{Cancels, cancel};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Pause after a failed accept: when descriptors are used up, trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where a listener is to be bound, and for whom.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    name: Arc<str>,
    at: At,
    backlog: u32,
}

#[derive(Clone, Debug, PartialEq)]
enum At {
    Tcp(SocketAddr),
    Unix(PathBuf, u32),
}

impl Place {
    /// True when both cannot be bound at once.
    fn is_where(&self, other: &Place) -> bool {
        match (&self.at, &other.at) {
            (At::Tcp(a), At::Tcp(b)) => a == b,
            (At::Unix(a, _), At::Unix(b, _)) => a == b,
            (At::Tcp(_), At::Unix(..)) | (At::Unix(..), At::Tcp(_)) => false,
        }
    }

    fn bind(&self) -> Result<Bound, StartError> {
        let fail = |what: String| {
            let what = format!("cannot listen on {what} ({})", self.name);
            move |error| StartError::Io(what, error)
        };
        let (socket, shown) = match &self.at {
            At::Tcp(address) => {
                let socket = tcp(*address, self.backlog).map_err(fail(address.to_string()))?;
                let shown = socket.local_addr().unwrap_or(*address).to_string();
                (Listening::Tcp(socket), shown)
            }
            At::Unix(path, mode) => {
                let shown = path.display().to_string();
                let (socket, file) = unix(path, *mode).map_err(fail(shown.clone()))?;
                (Listening::Unix(socket, file), shown)
            }
        };
        Ok(Bound { place: self.clone(), shown, socket })
    }
}

/// A bound listener nobody accepts on yet.
pub struct Bound {
    place: Place,
    /// Where it is bound, for the log.
    shown: String,
    socket: Listening,
}

enum Listening {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// Binds all listeners.
///
/// # Errors
/// The first that cannot be bound.
pub fn bind(settings: &Settings) -> Result<Vec<Bound>, StartError> {
    places(settings)?.iter().map(Place::bind).collect()
}

/// Where the settings want clients to be met.
pub(super) fn places(settings: &Settings) -> Result<Vec<Place>, StartError> {
    let mut places = Vec::new();
    let backlog = settings.listen.backlog;
    for listener in &settings.listeners {
        let name: Arc<str> = listener.name.as_str().into();
        let fail = |error| {
            StartError::Io(format!("cannot listen on {} ({})", listener.address, listener.name), error)
        };
        for address in resolve(&listener.address).map_err(fail)? {
            places.push(Place { name: name.clone(), at: At::Tcp(address), backlog });
        }
        if let Some(dir) = &settings.listen.unix_socket_dir {
            let path = dir.join(format!(".s.PGSQL.{}", listener.address.port));
            places.push(Place { name, at: At::Unix(path, settings.listen.unix_socket_mode), backlog });
        }
    }
    Ok(places)
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

/// A socket left behind by a process that is gone is replaced; one that somebody listens on is not.
fn unix(path: &Path, mode: u32) -> io::Result<(std::os::unix::net::UnixListener, SocketFile)> {
    if path.exists() {
        // Not to wait for a place in a full backlog.
        let visitor = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        visitor.set_nonblocking(true)?;
        match visitor.connect(&SockAddr::unix(path)?) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            // A full backlog or a lack of permission is no proof that nobody is there.
            Ok(_) | Err(_) => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    let socket = std::os::unix::net::UnixListener::bind(path)?;
    let file = SocketFile { path: path.to_path_buf(), identity: identity(path) };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    socket.set_nonblocking(true)?;
    Ok((socket, file))
}

/// What tells one file from another of the same name: its place on the disk, which may be given again, and its birth.
fn identity(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let about = std::fs::symlink_metadata(path).ok()?;
    Some((about.dev(), about.ino(), about.mtime(), about.mtime_nsec()))
}

/// The file of a Unix socket of ours; removed with it, unless another process has put its own there.
struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64, i64, i64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// All listeners, accepting on a thread of their own.
pub struct Entrance {
    house: Arc<House>,
    cancels: Arc<Cancels>,
    runtime: tokio::runtime::Handle,
    open: Mutex<Vec<(Place, JoinHandle<()>)>>,
}

impl Entrance {
    /// Closes every listener and removes its socket file; clients that are in stay.
    pub async fn close(&self) {
        let all: Vec<_> = self.open.lock().drain(..).collect();
        for (_, task) in all {
            task.abort();
            // Cancelled, or gone with its event loop: the listener is dropped either way.
            let _ = task.await;
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
        let entrance = Entrance { house, cancels: Arc::default(), runtime: handle, open: Mutex::default() };
        bound.into_iter().for_each(|bound| entrance.accept(bound));
        Ok(entrance)
    }

    fn accept(&self, bound: Bound) {
        tracing::info!(listener = %bound.place.name, at = bound.shown, "listening");
        let place = bound.place.clone();
        let task = accept(self.house.clone(), self.cancels.clone(), bound);
        let task = self.runtime.spawn(async move {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener failed");
            }
        });
        self.open.lock().push((place, task));
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
            task.abort();
            let _ = task.await;
        }
        fresh.into_iter().for_each(|bound| self.accept(bound));
        for place in again {
            self.accept(place.bind()?);
        }
        Ok(())
    }
}

async fn accept(house: Arc<House>, cancels: Arc<Cancels>, bound: Bound) -> io::Result<()> {
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
                        admit(&house, &cancels, &name, Peer::Tcp(peer), move || Transport::tcp(stream));
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
                        admit(&house, &cancels, &name, Peer::Unix(uid), move || {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_file_goes_with_its_listener_and_only_then() {
        let path = std::env::temp_dir().join(format!("pgherd-entrance-{}", std::process::id()));
        let (first, file) = unix(&path, 0o700).expect("a socket");
        assert_eq!(unix(&path, 0o700).err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
        // A full backlog: somebody lives there all the same.
        let mut crowd = Vec::new();
        let crowded = loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("a flag");
            match socket.connect(&SockAddr::unix(&path).expect("an address")) {
                Ok(()) => crowd.push(socket),
                Err(error) => break error,
            }
        };
        assert_eq!(crowded.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(unix(&path, 0o700).err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
        drop((crowd, first));
        assert!(path.exists(), "left behind, as by a crash");
        // File systems tell times apart by some milliseconds.
        std::thread::sleep(Duration::from_millis(50));
        let (_second, ours) = unix(&path, 0o700).expect("what a crash left is replaced");
        drop(file);
        assert!(path.exists(), "another's socket stays");
        drop(ours);
        assert!(!path.exists());
    }
}
