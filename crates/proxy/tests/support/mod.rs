//! A stage for sessions: fake nodes, real pools and sessions, fake clients; all in one thread, over in-memory pipes, on a clock that may stand still.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses its part of the stage")]

pub mod backend;
pub mod client;
pub mod message;
pub mod node;
pub mod random;
pub mod statement;

use bytes::BytesMut;
use node::{Network, Node};
use parking_lot::Mutex;
use pgherd_login::door::{Admitted, Peer, Protocol};
use pgherd_login::secret::ClientSecret;
use pgherd_metrics::registry::Registry;
use pgherd_net::keepalive::Keepalive;
use pgherd_net::transport::Transport;
use pgherd_pool::connect::Target;
use pgherd_pool::connect::credentials::Credentials;
use pgherd_pool::pool::{Common, Hint, Key, Pool};
use pgherd_pool::pools::{Blueprint, Pools};
use pgherd_pool::shape::Shape;
use pgherd_pool::sslmode::Ssl;
use pgherd_proxy::shared::{Carried, Shared, Worker};
use pgherd_proxy::terms::{Mode, Refused, Steward, Terms, Timeouts};
use pgherd_route::choose::Policy;
use pgherd_route::intent::Routing;
use pgherd_topology::cell::Cell;
use pgherd_topology::gauge::Position;
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::{Address, NodeId, Role, Tags};
use pgherd_topology::snapshot::Snapshot;
use random::Random;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Everything a test may want to be different.
#[derive(Clone, Debug)]
pub struct Settings {
    pub min_size: usize,
    pub max_size: usize,
    pub reserve_size: usize,
    pub reserve_after: Duration,
    pub connect_ramp: usize,
    pub lifetime: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    pub check_after: Option<Duration>,
    pub notice_after: Option<Duration>,
    pub connect_timeout: Duration,
    pub max_to_node: usize,
    pub routing: Routing,
    pub consistency: pgherd_route::floor::Consistency,
    pub fresh_wait: Duration,
    pub max_staleness: Option<Duration>,
    pub max_classified: usize,
    pub vouched: Vec<String>,
    pub shadow: bool,
    pub mode: Mode,
    pub timeouts: Timeouts,
    pub max_clients: usize,
    pub max_clients_of_user: usize,
    pub max_clients_of_database: usize,
    pub max_prepared_statements: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            min_size: 0,
            max_size: 2,
            reserve_size: 0,
            reserve_after: Duration::from_secs(5),
            connect_ramp: 10,
            lifetime: None,
            idle_timeout: None,
            check_after: None,
            notice_after: Some(Duration::from_secs(5)),
            connect_timeout: Duration::from_secs(5),
            max_to_node: 100,
            routing: Routing::Primary,
            consistency: Default::default(),
            fresh_wait: Duration::ZERO,
            max_staleness: None,
            max_classified: 64 * 1024,
            vouched: Vec::new(),
            shadow: false,
            mode: Mode::Transaction,
            timeouts: Timeouts {
                query_wait: Duration::from_secs(120),
                hold: Duration::from_secs(30),
                ..Timeouts::default()
            },
            max_clients: 1000,
            max_clients_of_user: 1000,
            max_clients_of_database: 1000,
            max_prepared_statements: 500,
        }
    }
}

#[derive(Debug)]
struct Keeper {
    settings: Settings,
    network: Arc<Network>,
}

impl Blueprint for Keeper {
    fn shape(&self, node: &pgherd_topology::node::Node, database: &Arc<str>, user: &Arc<str>) -> Shape {
        let settings = &self.settings;
        let target = Target {
            address: node.address.clone(),
            user: user.clone(),
            database: database.clone(),
            credentials: Credentials::None,
            ssl: Ssl::DISABLED,
            connect_timeout: settings.connect_timeout,
            keepalive: Keepalive::default(),
            dialer: Some(self.network.clone()),
        };
        Shape {
            target: Arc::new(target),
            min_size: settings.min_size,
            max_size: settings.max_size,
            reserve_size: settings.reserve_size,
            reserve_after: settings.reserve_after,
            connect_ramp: settings.connect_ramp,
            lifetime: settings.lifetime,
            idle_timeout: settings.idle_timeout,
            jitter_percent: 10,
            check_after: settings.check_after,
            notice_after: settings.notice_after,
        }
    }

    fn max_to_node(&self, _: &pgherd_topology::node::Node) -> usize {
        self.settings.max_to_node
    }
}

impl Steward for Keeper {
    fn terms(&self, _: &str, database: &Arc<str>, user: &Arc<str>) -> Result<Terms, Refused> {
        let settings = &self.settings;
        Ok(Terms {
            name: database.clone(),
            database: database.clone(),
            user: user.clone(),
            routing: settings.routing,
            consistency: settings.consistency,
            monotonic: true,
            fresh_wait: settings.fresh_wait,
            shadow: settings.shadow,
            rerun: true,
            preference: None,
            mode: settings.mode,
            timeouts: settings.timeouts,
            max_clients_of_user: settings.max_clients_of_user,
            max_clients_of_database: settings.max_clients_of_database,
            max_prepared_statements: settings.max_prepared_statements,
            probing: Default::default(),
            unnamed: Default::default(),
        })
    }

    fn max_clients(&self) -> usize {
        self.settings.max_clients
    }

    fn visits(&self) -> pgherd_proxy::terms::Visits {
        pgherd_proxy::terms::Visits::default()
    }

    fn policy(&self) -> Policy {
        Policy {
            max_staleness: self.settings.max_staleness,
            max_classified: self.settings.max_classified,
            vouched: self.settings.vouched.clone().into(),
            ..Policy::default()
        }
    }
}

/// The stage.
pub struct Stage {
    pub nodes: Vec<Arc<Node>>,
    pub cell: Arc<Cell>,
    pub shared: Arc<Shared>,
    pub worker: Arc<Worker>,
    pub hints: Arc<Mutex<Vec<Hint>>>,
    pub cancels: Arc<pgherd_proxy::cancel::Cancels>,
    sessions: Mutex<Vec<JoinHandle<()>>>,
    sweep: JoinHandle<()>,
}

impl Stage {
    /// Nodes `n0`, `n1`...; `n0` is the primary, the others are replicas.
    pub fn new(settings: Settings, nodes: usize, random: &mut Random) -> Stage {
        let nodes: Vec<_> = (0..nodes).map(|at| Node::new(&format!("n{at}"), random.fork())).collect();
        let network = Arc::new(Network(nodes.clone()));
        let cell = Arc::new(Cell::default());
        let keeper = Arc::new(Keeper { settings, network });
        let hints = Arc::new(Mutex::new(Vec::new()));
        let heard = hints.clone();
        let homes = vec![tokio::runtime::Handle::current()];
        let common = Common::new(
            homes,
            cell.clone(),
            Arc::default(),
            Box::new(move |_, hint| heard.lock().push(hint)),
        );
        let pools = Pools::new(keeper.clone(), common, 1000);
        let secrets = Mutex::new(random.fork());
        let fill = move |bytes: &mut [u8]| bytes.fill_with(|| secrets.lock().next() as u8);
        let shared = Shared::new(cell.clone(), pools, keeper, Box::new(fill));
        let stage = Stage {
            nodes,
            cell,
            worker: Shared::worker(0, &Registry::default()),
            sweep: tokio::spawn(pgherd_proxy::sweep::run(shared.clone())),
            shared,
            hints,
            cancels: Arc::default(),
            sessions: Mutex::default(),
        };
        stage.publish(Some(0), &[]);
        stage
    }

    /// A new snapshot: this primary, and these nodes valid only from now on. Replicas are seen to have all that the primary has, if there is one.
    pub fn publish(&self, primary: Option<u16>, fenced: &[u16]) {
        let old = self.cell.load_full();
        let epoch = old.epoch + 1;
        let node = |at: u16| {
            let since = old.node(NodeId(at)).map_or(0, |node| node.valid_since);
            Arc::new(pgherd_topology::node::Node {
                id: NodeId(at),
                name: self.nodes[usize::from(at)].name.as_str().into(),
                address: Address::Tcp("fake".into(), at),
                role: if primary == Some(at) { Role::Primary } else { Role::Standby },
                valid_since: if fenced.contains(&at) { epoch } else { since },
                timeline: Timeline(1),
                received: Lsn(0),
                replayed: Lsn(0),
                lag_bytes: Some(0),
                lag_time: Some(Duration::ZERO),
                proven_at: match primary {
                    Some(primary) => (primary != at).then(|| self.now()),
                    None => old.node(NodeId(at)).and_then(|node| node.proven_at),
                },
                ineligible: None,
                weight: 1,
                region: "".into(),
                tags: Tags::default(),
                probe_time: None,
                version: 150_000,
            })
        };
        let snapshot = Snapshot {
            epoch,
            primary: primary.map(NodeId),
            timeline: Timeline(1),
            system: 1,
            nodes: (0..self.nodes.len() as u16).map(node).collect(),
            phase: "testing",
        };
        assert!(self.cell.publish(snapshot));
    }

    /// Other settings from now on.
    pub fn reload(&self, settings: Settings) {
        let network = Arc::new(Network(self.nodes.clone()));
        self.shared.reload(Arc::new(Keeper { settings, network }));
    }

    /// Nodes are looked at, as the control plane would: this is how far they are.
    pub fn look(&self, lsns: &[u64]) {
        for (at, lsn) in lsns.iter().enumerate() {
            let gauge = self.shared.pools.common().gauges.of(NodeId(at as u16));
            let primary = at == 0;
            let timeline = Timeline(u32::from(primary));
            let number = gauge.begin();
            gauge.finish(
                number,
                self.now(),
                Position { primary, timeline, lsn: Lsn(*lsn), inserted: Lsn(*lsn) },
            );
        }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.shared.now())
    }

    /// Lets a client in; what it holds is its end of the connection.
    pub fn admit(&self, user: &str, settings: &[(&str, &str)], pipe: usize) -> tokio::io::DuplexStream {
        let (ours, theirs) = tokio::io::duplex(pipe);
        self.admit_over(user, settings, Transport::pipe(theirs));
        ours
    }

    pub fn admit_over(&self, user: &str, settings: &[(&str, &str)], transport: Transport) {
        let session = tokio::spawn(self.session(user, settings, transport));
        self.sessions.lock().push(session);
    }

    /// Ends every session's task where it stands, as a panic in it would.
    pub async fn abort_sessions(&self) {
        let sessions = std::mem::take(&mut *self.sessions.lock());
        for session in sessions {
            session.abort();
            assert!(session.await.is_err_and(|error| error.is_cancelled()));
        }
    }

    /// Nobody looks over the sessions any more, and the pools hear of no new snapshot.
    pub fn stop_sweep(&self) {
        self.sweep.abort();
    }

    /// The future of one session. The setting `database` is its database instead.
    pub fn session(
        &self,
        user: &str,
        settings: &[(&str, &str)],
        transport: Transport,
    ) -> impl Future<Output = ()> + Send + 'static {
        let database =
            settings.iter().find(|(name, _)| *name == "database").map_or("app", |(_, value)| value);
        let others = settings.iter().filter(|(name, _)| *name != "database");
        let admitted = Admitted {
            transport,
            peer: Peer::Unix(None),
            user: user.into(),
            database: database.into(),
            settings: others.map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            replication: None,
            protocol: Protocol::V3_0,
            secret: ClientSecret::None,
            unsent: BytesMut::from(&b"R\0\0\0\x08\0\0\0\0"[..]),
            unread: BytesMut::new(),
        };
        let (shared, worker) = (self.shared.clone(), self.worker.clone());
        pgherd_proxy::serve::serve(shared, worker, "main".into(), Box::new(admitted))
    }

    /// The pool of this user on a node.
    pub fn pool(&self, node: u16, user: &str) -> Arc<Pool<Carried>> {
        let key = Key { node: NodeId(node), database: "app".into(), user: user.into() };
        self.shared.pools.get(&key).expect("the node exists")
    }

    /// All sessions must have ended, without a panic, on either side.
    pub async fn assert_sound(&self) {
        let sessions = std::mem::take(&mut *self.sessions.lock());
        for session in sessions {
            let ended = tokio::time::timeout(Duration::from_secs(600), session).await;
            ended.expect("a session ends when its client leaves").expect("no panic");
        }
        assert_eq!(self.shared.cards.count(), 0);
        for node in &self.nodes {
            assert_eq!(*node.alarms.lock(), Vec::<String>::new());
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.sweep.abort();
    }
}

/// Runs a test on one thread with the clock standing still: it moves only when everybody waits.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(test);
}
