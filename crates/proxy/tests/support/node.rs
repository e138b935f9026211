//! A fake PostgreSQL node: what happens when somebody dials it.

use super::backend::Backend;
use super::random::Random;
use parking_lot::Mutex;
use pgherd_net::transport::Transport;
use pgherd_pool::connect::dialer::{Dialer, Dialing};
use pgherd_topology::node::Address;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;

/// How a node treats those who dial it.
#[derive(Clone, Copy, Debug, Default)]
pub enum Manner {
    /// As it should.
    #[default]
    Serves,
    /// The dial fails with this error of the operating system.
    Errno(i32),
    /// Nobody answers.
    Hangs,
    /// Refuses the login with this FATAL.
    Refuses(&'static str),
    /// Each login takes this long.
    Slow(Duration),
}

/// How connections end before their time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// One connection in so many dies after a random number of bytes; 0 is never.
    pub dies: u64,
    /// Largest such number.
    pub within: u64,
}

/// A live connection as the node sees it.
#[derive(Debug, Default)]
pub struct Line {
    /// A cancel request came.
    pub cancel: Notify,
    /// The connection is to break now.
    pub cut: Notify,
}

#[derive(Debug, Default)]
struct State {
    manner: Manner,
    fate: Fate,
    lines: BTreeMap<i32, (Vec<u8>, Arc<Line>)>,
    last: i32,
    most: usize,
    dials: u64,
    dialing: usize,
    most_dialing: usize,
    cancels: Vec<i32>,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    state: Mutex<State>,
    random: Mutex<Random>,
    /// Time a cancel request takes to arrive.
    pub cancel_delay: Mutex<Duration>,
    /// Answers `node`.
    pub name: String,
    /// What must not happen but did.
    pub alarms: Mutex<Vec<String>>,
}

impl Node {
    pub fn new(name: &str, random: Random) -> Arc<Node> {
        Arc::new(Node {
            state: Mutex::default(),
            random: Mutex::new(random),
            cancel_delay: Mutex::default(),
            name: name.into(),
            alarms: Mutex::default(),
        })
    }

    pub fn treats(&self, manner: Manner) {
        self.state.lock().manner = manner;
    }

    pub fn fates(&self, fate: Fate) {
        self.state.lock().fate = fate;
    }

    /// Live connections.
    pub fn live(&self) -> usize {
        self.state.lock().lines.len()
    }

    /// Most that lived at once.
    pub fn most(&self) -> usize {
        self.state.lock().most
    }

    pub fn dials(&self) -> u64 {
        self.state.lock().dials
    }

    pub fn most_dialing(&self) -> usize {
        self.state.lock().most_dialing
    }

    /// Process ids that were cancelled, in order.
    pub fn cancels(&self) -> Vec<i32> {
        self.state.lock().cancels.clone()
    }

    /// Breaks all connections.
    pub fn cut_all(&self) {
        self.state.lock().lines.values().for_each(|(_, line)| line.cut.notify_one());
    }

    async fn open(self: Arc<Self>) -> io::Result<Transport> {
        let manner = {
            let mut state = self.state.lock();
            state.dials += 1;
            state.manner
        };
        match manner {
            Manner::Errno(errno) => return Err(io::Error::from_raw_os_error(errno)),
            Manner::Hangs => std::future::pending().await,
            _ => {}
        }
        let size = 64 << self.random.lock().below(9);
        let (ours, theirs) = tokio::io::duplex(size as usize);
        let node = self.clone();
        let task = tokio::spawn(async move { drop(node.greet(ours, manner).await) });
        // A panic there is a finding of the test, not something to be lost with the task.
        tokio::spawn(async move {
            if let Err(error) = task.await {
                self.alarms.lock().push(error.to_string());
            }
        });
        Ok(Transport::pipe(theirs))
    }

    async fn greet(self: Arc<Self>, mut stream: DuplexStream, manner: Manner) -> io::Result<()> {
        let length = stream.read_u32().await? as usize;
        let mut packet = vec![0; length - 4];
        stream.read_exact(&mut packet).await?;
        if packet.starts_with(&80_877_102u32.to_be_bytes()) {
            return self.cancelled(&packet[4..]).await;
        }
        if let Manner::Refuses(code) = manner {
            return stream.write_all(&super::message::report(b'E', "FATAL", code, "refused")).await;
        }
        {
            let mut state = self.state.lock();
            state.dialing += 1;
            state.most_dialing = state.most_dialing.max(state.dialing);
        }
        if let Manner::Slow(time) = manner {
            tokio::time::sleep(time).await;
        }
        let (pid, secret, line, budget) = self.enlist();
        let backend = Backend::new(self.clone(), stream, pid, line, budget);
        let _ = backend.serve(&secret).await;
        let mut state = self.state.lock();
        state.lines.remove(&pid);
        Ok(())
    }

    fn enlist(&self) -> (i32, Vec<u8>, Arc<Line>, Option<u64>) {
        let mut random = self.random.lock();
        let mut state = self.state.lock();
        state.dialing -= 1;
        state.last += 1;
        let (pid, secret, line) =
            (state.last, (random.next() as u32).to_be_bytes(), Arc::new(Line::default()));
        state.lines.insert(pid, (secret.to_vec(), line.clone()));
        state.most = state.most.max(state.lines.len());
        // Not before the login is over, else nothing would ever work.
        let fate = state.fate;
        let budget = random.one_in(fate.dies).then(|| 400 + random.below(fate.within));
        (pid, secret.to_vec(), line, budget)
    }

    async fn cancelled(&self, key: &[u8]) -> io::Result<()> {
        let delay = *self.cancel_delay.lock();
        tokio::time::sleep(delay).await;
        let pid = i32::from_be_bytes(*key.first_chunk().expect("a process id"));
        let mut state = self.state.lock();
        state.cancels.push(pid);
        if let Some((secret, line)) = state.lines.get(&pid)
            && secret[..] == key[4..]
        {
            line.cancel.notify_waiters();
        }
        Ok(())
    }
}

/// All nodes, by the port of their address.
#[derive(Debug)]
pub struct Network(pub Vec<Arc<Node>>);

impl Dialer for Network {
    fn dial<'a>(&'a self, address: &'a Address) -> Dialing<'a> {
        let Address::Tcp(_, port) = address else { panic!("TCP addresses only") };
        Box::pin(self.0[usize::from(*port)].clone().open())
    }
}
