//! Two processes at one door, while a new one replaces an old one: how they find each other, and what they ask.
//!
//! Each has a Unix socket of its own in a directory they share, and answers two requests there: for its listening sockets, and to
//! cancel. The sockets themselves go over, not their addresses (as `SO_REUSEPORT` would have it, where each process has a queue of
//! its own, and the kernel resets what waits in the queue of the one that closes): both accept from one queue, which is there as
//! long as one of them is. A request to cancel is passed on once, by the process a client sent it to, never by one it was passed to.

use crate::app::places::{SocketFile, unix};
use crate::app::{House, StartError};
use crate::config::settings::Settings;
use parking_lot::Mutex;
use pgherd_login::door::CancelRequest;
use pgherd_proxy::cancel::{Cancels, cancel};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::{SockAddr, SockRef};
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How the names of the processes' sockets end.
const SUFFIX: &str = ".peer";

/// Other processes asked at most; there is one, or for a moment two.
const MAX_PEERS: usize = 8;

/// Entries of the directory looked at for them.
const MAX_ENTRIES: usize = 256;

/// Listening sockets that go over at most.
const MAX_SOCKETS: usize = 64;

/// Requests to cancel passed on at a time, and requests of others answered at a time; what is above is dropped.
const MAX_AT_ONCE: usize = 32;

/// Time a peer has to answer: for a cancel request that is until the server has dealt with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time a new process waits for the old one's sockets.
const ASK_PATIENCE: Duration = Duration::from_secs(1);

/// Time those who were accepted just before the listeners went over to another process have to log in.
const ARRIVALS: Duration = Duration::from_secs(5);

/// Time they have then for what they came for, before they count as idle.
const FIRST_WORDS: Duration = Duration::from_millis(300);

/// How often is looked whether they are through.
const LOOK: Duration = Duration::from_millis(50);

/// The request for listening sockets. Its number is nobody's protocol version, nor one of PostgreSQL's request codes.
const GIVE: [u8; 8] = *b"\0\0\0\x08pgh1";

/// PostgreSQL's CancelRequest.
const CANCEL: u32 = 80_877_102;

/// Longest packet: a cancel request with the longest secret of protocol 3.2.
const MAX_PACKET: usize = 12 + 256;

/// What this process shares with the one before it and the one after it.
#[derive(Debug)]
pub struct Handover {
    directory: PathBuf,
    own: PathBuf,
    sockets: Mutex<Vec<Weak<OwnedFd>>>,
    given: Arc<AtomicBool>,
    forwarding: Semaphore,
}

impl Handover {
    /// As the settings want it.
    ///
    /// # Errors
    /// As [`Handover::new`].
    pub(super) fn of(settings: &Settings) -> Result<Option<Arc<Handover>>, StartError> {
        let directory = settings.server.handover_dir.as_deref();
        Ok(directory.map(Handover::new).transpose()?.map(Arc::new))
    }

    /// In this directory, which is made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or there are no random numbers for a name.
    fn new(directory: &Path) -> Result<Handover, StartError> {
        let fail = |error| StartError::Io(format!("handover_dir {}", directory.display()), error);
        if !directory.is_dir() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
        }
        let mut id = [0; 8];
        if !pgherd_login::random::fill(&mut id) {
            return Err(fail(io::Error::other("no random numbers")));
        }
        Ok(Handover {
            own: directory.join(format!("{:016x}{SUFFIX}", u64::from_ne_bytes(id))),
            directory: directory.to_path_buf(),
            sockets: Mutex::default(),
            given: Arc::default(),
            forwarding: Semaphore::new(MAX_AT_ONCE),
        })
    }

    /// This socket is given to whoever asks, as long as somebody holds what is returned.
    pub(super) fn lend(&self, socket: BorrowedFd<'_>) -> Option<Arc<OwnedFd>> {
        let copy = Arc::new(socket.try_clone_to_owned().ok()?);
        let mut sockets = self.sockets.lock();
        sockets.retain(|lent| lent.strong_count() > 0);
        sockets.push(Arc::downgrade(&copy));
        Some(copy)
    }

    /// True once another process has our sockets: then what is theirs (the files of Unix sockets) stays when we go.
    pub(super) fn given(&self) -> &Arc<AtomicBool> {
        &self.given
    }

    /// The sockets of the others.
    pub(super) fn ask(&self) -> Inherited {
        let mut sockets = Vec::new();
        for peer in self.peers() {
            match take_from(&peer) {
                Ok(more) => sockets.extend(more),
                // Left by a process that is gone.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    let _ = std::fs::remove_file(&peer);
                }
                Err(error) => tracing::warn!(peer = %peer.display(), %error, "gave no listening sockets"),
            }
        }
        Inherited(sockets)
    }

    /// The sockets of other processes, living or not. Looks at the disk, which for a directory of two files is no wait.
    fn peers(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().take(MAX_ENTRIES).flatten();
        let others = entries
            .map(|entry| entry.path())
            .filter(|path| path.to_str().is_some_and(|path| path.ends_with(SUFFIX)) && *path != self.own);
        others.take(MAX_PEERS).collect()
    }

    /// Passes a client's cancel request on to the other processes, and waits until they have dealt with it.
    pub(super) async fn forward(&self, request: &CancelRequest) {
        let Ok(_permit) = self.forwarding.try_acquire() else { return };
        let packet: Arc<[u8]> = packet(request).into();
        let mut asked = JoinSet::new();
        for peer in self.peers() {
            let packet = packet.clone();
            asked.spawn(timeout(PATIENCE, async move {
                let mut stream = UnixStream::connect(peer).await.ok()?;
                stream.write_all(&packet).await.ok()?;
                // Closed when it is done.
                stream.read(&mut [0]).await.ok()
            }));
        }
        while asked.join_next().await.is_some() {}
    }

    /// Answers the other processes until what is returned is dropped or shut down; the socket's file goes with it.
    pub(super) fn spawn(house: &Arc<House>) -> JoinSet<()> {
        let mut task = JoinSet::new();
        if let Some(handover) = house.handover.clone() {
            let house = house.clone();
            task.spawn(async move {
                if let Err(error) = Handover::serve(house, handover).await {
                    tracing::error!(%error, "handover_dir: other processes cannot find this one");
                }
            });
        }
        task
    }

    async fn serve(house: Arc<House>, handover: Arc<Handover>) -> io::Result<()> {
        let (socket, _file): (_, SocketFile) = unix(&handover.own, 0o600)?;
        let socket = UnixListener::from_std(socket)?;
        let (cancels, places) = (Arc::<Cancels>::default(), Arc::new(Semaphore::new(MAX_AT_ONCE)));
        loop {
            let Ok((stream, _)) = socket.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let (house, handover, cancels) = (house.clone(), handover.clone(), cancels.clone());
            tokio::spawn(async move {
                let _place = place;
                let _ = timeout(PATIENCE, answer(stream, &house, &handover, &cancels)).await;
            });
        }
    }

    fn give(&self, to: impl AsFd) -> io::Result<()> {
        let held: Vec<Arc<OwnedFd>> =
            self.sockets.lock().iter().filter_map(Weak::upgrade).take(MAX_SOCKETS).collect();
        let sockets: Vec<BorrowedFd<'_>> = held.iter().map(|socket| socket.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&sockets));
        }
        sendmsg(to, &[IoSlice::new(b"1")], &mut control, SendFlags::NOSIGNAL)?;
        self.given.store(true, Ordering::Release);
        tracing::info!(sockets = sockets.len(), "gave the listening sockets to another process");
        Ok(())
    }
}

/// Sockets that were another process's alone.
#[derive(Debug, Default)]
pub struct Inherited(Vec<OwnedFd>);

impl Inherited {
    /// The one that is bound there, if there is one.
    pub(super) fn take(&mut self, at: &SockAddr) -> Option<OwnedFd> {
        let is_there =
            |socket: &OwnedFd| SockRef::from(socket).local_addr().is_ok_and(|own| is_same(&own, at));
        let found = self.0.iter().position(is_there)?;
        Some(self.0.swap_remove(found))
    }
}

fn is_same(a: &SockAddr, b: &SockAddr) -> bool {
    match (a.as_socket(), b.as_socket()) {
        (Some(a), Some(b)) => a == b,
        _ => a.as_pathname().is_some() && a.as_pathname() == b.as_pathname(),
    }
}

/// Asks one process for its sockets. It blocks: at start nothing else is to be done.
fn take_from(peer: &Path) -> io::Result<Vec<OwnedFd>> {
    let mut stream = std::os::unix::net::UnixStream::connect(peer)?;
    stream.set_read_timeout(Some(ASK_PATIENCE))?;
    stream.write_all(&GIVE)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(&stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            sockets.extend(some);
        }
    }
    Ok(sockets)
}

/// Lets those in who were accepted before the listeners closed, and do what they came for: nobody is to notice that there are two processes
/// who is not idle on this one.
pub(super) async fn finish_arrivals(house: &House) {
    let until = std::time::Instant::now() + ARRIVALS;
    while house.door.unauthenticated() > 0 && std::time::Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(FIRST_WORDS).await;
}

/// One request of another process. Whatever cannot be read as one ends the connection.
async fn answer(mut stream: UnixStream, house: &Arc<House>, handover: &Handover, cancels: &Arc<Cancels>) {
    let Ok(packet) = read_packet(&mut stream).await else { return };
    if packet == GIVE {
        if let Err(error) = handover.give(&stream) {
            tracing::warn!(%error, "could not give the listening sockets away");
        }
        return;
    }
    let (Some(request), Some(worker)) = (parse(&packet), house.workers.first()) else { return };
    let (house, own, cancels) = (house.clone(), worker.own.clone(), cancels.clone());
    let task = worker.runtime.spawn(async move { cancel(&house.shared, &own, &cancels, &request).await });
    // Held open until it is done: so does the client's process with the client.
    let _ = task.await;
}

async fn read_packet(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if !(8..=MAX_PACKET).contains(&size) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut packet = length.to_be_bytes().to_vec();
    packet.resize(size, 0);
    stream.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

/// A cancel request, length and all.
fn packet(request: &CancelRequest) -> Vec<u8> {
    let length = 12 + request.secret.len() as u32;
    let head = [length.to_be_bytes(), CANCEL.to_be_bytes(), request.pid.to_be_bytes()].concat();
    [&head, &request.secret[..]].concat()
}

fn parse(packet: &[u8]) -> Option<CancelRequest> {
    let (code, rest) = packet.get(4..)?.split_first_chunk::<4>()?;
    let (pid, secret) = rest.split_first_chunk::<4>()?;
    let request = CancelRequest { pid: i32::from_be_bytes(*pid), secret: secret.into() };
    (u32::from_be_bytes(*code) == CANCEL && secret.len() >= 4).then_some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written_and_nothing_else_is() {
        for length in [4, 32, 256] {
            let request = CancelRequest { pid: -7, secret: vec![9; length].into() };
            let packet = packet(&request);
            assert!(packet.len() <= MAX_PACKET);
            assert_eq!(parse(&packet), Some(request));
            assert_eq!(parse(&packet[..14]), None);
        }
        assert_eq!((parse(&GIVE), parse(b""), parse(&[0; 20])), (None, None, None));
    }

    #[test]
    fn a_socket_goes_over_with_its_queue() {
        let directory = std::env::temp_dir().join(format!("pgherd-handover-{}", std::process::id()));
        let old = Handover::new(&directory).expect("a directory");
        let new = Handover::new(&directory).expect("the same");
        let (inbox, _file) = unix(&old.own, 0o600).expect("a socket");
        inbox.set_nonblocking(false).expect("a flag");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        let lent = old.lend(listener.as_fd());
        let waiting = std::net::TcpStream::connect(at).expect("a place in the queue");
        let mut inherited = std::thread::scope(|scope| {
            let asked = scope.spawn(|| new.ask());
            let (stream, _) = inbox.accept().expect("a request");
            old.give(&stream).expect("given");
            asked.join().expect("no panic")
        });
        drop((listener, lent));
        assert!(old.given().load(Ordering::Acquire));
        assert!(inherited.take(&SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)))).is_none());
        let socket = inherited.take(&at.into()).expect("the same socket");
        let (_, peer) = std::net::TcpListener::from(socket).accept().expect("who waited is there");
        assert_eq!(Some(peer), waiting.local_addr().ok());
        drop((inbox, _file));
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
