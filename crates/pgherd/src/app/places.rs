//! Where clients are met: the listening sockets, from settings to bound.

use crate::app::StartError;
use crate::app::handover::Inherited;
use crate::config::settings::Settings;
use crate::config::settings::front::HostPort;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a listener is to be bound, and for whom.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) name: Arc<str>,
    pub(super) at: At,
    backlog: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum At {
    Tcp(SocketAddr),
    Unix(PathBuf, u32),
}

impl At {
    fn sock_addr(&self) -> Result<SockAddr, StartError> {
        match self {
            At::Tcp(address) => Ok((*address).into()),
            At::Unix(path, _) => SockAddr::unix(path)
                .map_err(|error| StartError::Io(format!("cannot listen on {}", path.display()), error)),
        }
    }
}

impl Place {
    /// True when both cannot be bound at once.
    pub(super) fn is_where(&self, other: &Place) -> bool {
        match (&self.at, &other.at) {
            (At::Tcp(a), At::Tcp(b)) => a == b,
            (At::Unix(a, _), At::Unix(b, _)) => a == b,
            (At::Tcp(_), At::Unix(..)) | (At::Unix(..), At::Tcp(_)) => false,
        }
    }

    pub(super) fn bind(&self) -> Result<Bound, StartError> {
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

    /// As [`Place::bind`], with a socket that listens there already.
    fn take_over(self, socket: OwnedFd) -> Result<Bound, StartError> {
        let fail = |error: io::Error| StartError::Io(format!("cannot take {} over", self.name), error);
        rustix::net::listen(&socket, i32::try_from(self.backlog).unwrap_or(i32::MAX))
            .map_err(|error| fail(error.into()))?;
        let (socket, shown) = match &self.at {
            At::Tcp(address) => (Listening::Tcp(socket.into()), address.to_string()),
            At::Unix(path, mode) => {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode)).map_err(fail)?;
                (Listening::Unix(socket.into(), SocketFile::at(path)), path.display().to_string())
            }
        };
        let shown = format!("{shown}, taken over");
        Ok(Bound { place: self, shown, socket })
    }
}

/// A bound listener nobody accepts on yet.
pub struct Bound {
    pub(super) place: Place,
    /// Where it is bound, for the log.
    pub(super) shown: String,
    pub(super) socket: Listening,
}

pub(super) enum Listening {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

impl Listening {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Listening::Tcp(socket) => socket.as_fd(),
            Listening::Unix(socket, _) => socket.as_fd(),
        }
    }
}

/// Binds all listeners, or takes them over where another process has them.
///
/// # Errors
/// The first that cannot be bound.
pub fn bind(settings: &Settings, inherited: &mut Inherited) -> Result<Vec<Bound>, StartError> {
    let take = |place: Place| match inherited.take(&place.at.sock_addr()?) {
        Some(socket) => place.take_over(socket),
        None => place.bind(),
    };
    places(settings)?.into_iter().map(take).collect()
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

pub(super) fn resolve(address: &HostPort) -> io::Result<Vec<SocketAddr>> {
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
pub(super) fn unix(path: &Path, mode: u32) -> io::Result<(std::os::unix::net::UnixListener, SocketFile)> {
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
    let file = SocketFile::at(path);
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
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64, i64, i64)>,
    /// Another process listens on the same socket: the file is its own too.
    pub(super) shared: Arc<AtomicBool>,
}

impl SocketFile {
    fn at(path: &Path) -> SocketFile {
        SocketFile { path: path.to_path_buf(), identity: identity(path), shared: Arc::default() }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let shared = self.shared.load(Ordering::Acquire);
        if !shared && self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_socket_file_goes_with_its_listener_and_only_then() {
        let path = std::env::temp_dir().join(format!("pgherd-places-{}", std::process::id()));
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
