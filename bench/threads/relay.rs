//! The relay in its three arrangements.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use clap::ValueEnum;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::echo::{ANSWER, REQUEST};
use crate::shelf::{Policy, Server, Shelf};

/// A relay's buffer; larger than any message here, as a real relay's is.
const BUFFER: usize = 8192;

/// Who runs which task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrangement {
    /// One multi-thread runtime; tasks move between its threads.
    MultiThread,
    /// One current-thread runtime per worker and one queue that knows no homes.
    PerCoreFifo,
    /// One current-thread runtime per worker; servers stay at home when they can.
    PerCoreHomeFirst,
}

impl Arrangement {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 3] = [Self::MultiThread, Self::PerCoreFifo, Self::PerCoreHomeFirst];

    /// The word on the command line and in the table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::MultiThread => "multi-thread",
            Self::PerCoreFifo => "per-core-fifo",
            Self::PerCoreHomeFirst => "per-core-home-first",
        }
    }
}

/// Relays until it is killed.
pub(crate) fn serve(
    arrangement: Arrangement,
    port: u16,
    upstream: u16,
    servers: u32,
    workers: usize,
) -> io::Result<()> {
    let shelf = Arc::new(Shelf::new(match arrangement {
        Arrangement::MultiThread | Arrangement::PerCoreFifo => Policy::Fifo,
        Arrangement::PerCoreHomeFirst => Policy::HomeFirst,
    }));
    match arrangement {
        Arrangement::MultiThread => {
            let runtime = Builder::new_multi_thread().worker_threads(workers).enable_io().build()?;
            runtime.block_on(open(&shelf, upstream, servers, 0))?;
            runtime.block_on(accept(port, |_, client| drop(runtime.spawn(relay(shelf.clone(), client, 0)))))
        }
        Arrangement::PerCoreFifo | Arrangement::PerCoreHomeFirst => {
            per_core(&shelf, port, upstream, servers, workers)
        }
    }
}

fn per_core(shelf: &Arc<Shelf>, port: u16, upstream: u16, servers: u32, workers: usize) -> io::Result<()> {
    let mut doors = Vec::new();
    for home in 0..workers {
        let (door, mut clients) = mpsc::unbounded_channel::<std::net::TcpStream>();
        doors.push(door);
        let (shelf, share) = (shelf.clone(), share_of(servers, workers, home));
        let runtime = current_thread()?;
        runtime.block_on(open(&shelf, upstream, share, home))?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                while let Some(client) = clients.recv().await {
                    if let Ok(client) = TcpStream::from_std(client) {
                        drop(tokio::spawn(relay(shelf.clone(), client, home)));
                    }
                }
            });
        });
    }
    // The acceptor has a thread of its own and hands sockets out in turn.
    current_thread()?.block_on(accept(port, |number, client| {
        if let Ok(client) = client.into_std() {
            // A worker that has gone takes its clients with it.
            let _ = doors[number % doors.len()].send(client);
        }
    }))
}

fn current_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}

/// How many of `servers` belong to worker `home`.
fn share_of(servers: u32, workers: usize, home: usize) -> u32 {
    (0..servers as usize).filter(|server| server % workers == home).count() as u32
}

async fn accept(port: u16, mut take: impl FnMut(usize, TcpStream)) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    for number in 0.. {
        let (client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        take(number, client);
    }
    Ok(())
}

/// Opens `servers` connections that report to the runtime this runs on.
async fn open(shelf: &Shelf, upstream: u16, servers: u32, home: usize) -> io::Result<()> {
    for _ in 0..servers {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, upstream))).await?;
        stream.set_nodelay(true)?;
        shelf.release(Server { stream, home });
    }
    Ok(())
}

/// One client until it leaves. A request and an answer are one read each, because nothing else is under way on
/// the connection: whole messages are checked all the same.
async fn relay(shelf: Arc<Shelf>, mut client: TcpStream, home: usize) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut have = 0;
        while have < REQUEST.len() {
            have += some(client.read(&mut buffer[have..]).await?)?;
        }
        let mut server = shelf.checkout(home).await?;
        server.stream.write_all(&buffer[..have]).await?;
        let mut have = 0;
        while have < ANSWER.len() {
            have += some(server.stream.read(&mut buffer[have..]).await?)?;
        }
        // Released as soon as the end of the answer is seen, before the client has it.
        shelf.release(server);
        client.write_all(&buffer[..have]).await?;
    }
}

/// The end of a connection is an error here.
fn some(read: usize) -> io::Result<usize> {
    if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
}
