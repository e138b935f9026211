//! The controller in front of real servers.

mod cluster;

use cluster::Cluster;
use pgherd_controller::connector::{Connector, Plain};
use pgherd_controller::driver;
use pgherd_controller::error::ControlError;
use pgherd_controller::handle::Handle;
use pgherd_controller::secure::{Binding, Secure, Tls};
use pgherd_controller::settings::{Login, NodeSettings, Settings, SslMode};
use pgherd_controller::view::View;
use pgherd_failover::event::{Change, Hint};
use pgherd_failover::journal::Kind;
use pgherd_failover::phase::Phase;
use pgherd_failover::policy::{Limits, Policy, Spec};
use pgherd_topology::cell::Cell;
use pgherd_topology::node::{Address, Ineligible, NodeId, Role};
use pgherd_topology::snapshot::Snapshot;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

struct Running {
    handle: Handle,
    cell: Arc<Cell>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

fn login() -> Login {
    Login { user: "watcher".into(), password: None, database: "postgres".into(), ssl: SslMode::Prefer }
}

fn policy() -> Policy {
    Policy {
        health_check_interval: Duration::from_millis(200),
        fast_check_interval: Duration::from_millis(100),
        lag_check_interval: Duration::from_millis(200),
        refresh_interval: Duration::from_millis(200),
        ..Policy::default()
    }
}

fn node(cluster: &Cluster, index: usize) -> NodeSettings {
    let server = &cluster.servers[index];
    let spec = Spec::new(&server.name, Address::Tcp("127.0.0.1".into(), server.port));
    NodeSettings { spec, login: login() }
}

fn run(nodes: Vec<NodeSettings>, policy: Policy, state_dir: Option<PathBuf>) -> Running {
    run_with(nodes, policy, state_dir, Arc::new(Plain))
}

fn run_with(
    nodes: Vec<NodeSettings>,
    policy: Policy,
    state_dir: Option<PathBuf>,
    connector: Arc<dyn Connector>,
) -> Running {
    let cell = Arc::new(Cell::default());
    let settings = Settings { nodes, login: login(), policy, state_dir };
    let (handle, driver) = driver::new(settings, cell.clone(), Arc::default(), connector).expect("it starts");
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(driver.run(async move {
        let _ = stopped.await;
    }));
    Running { handle, cell, stop: Some(stop), task }
}

impl Running {
    async fn stop(mut self) {
        let _ = self.stop.take().expect("running").send(());
        tokio::time::timeout(Duration::from_secs(5), self.task).await.expect("in time").expect("no panic");
    }

    /// Waits until the published snapshot is as wanted.
    async fn until(&self, what: &str, is: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let snapshot = self.cell.load_full();
            if is(&snapshot) {
                return snapshot;
            }
            assert!(
                Instant::now() < deadline,
                "not seen: {what}\n{snapshot:#?}\n{}",
                journal(&self.handle.status())
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn journal(view: &View) -> String {
    let lines = view.journal.iter().map(|line| &line.entry);
    lines
        .map(|entry| format!("{:?} {} {} {}\n", entry.at, entry.kind.word(), entry.name, entry.text))
        .collect()
}

fn has(view: &View, kind: Kind, text: &str) -> bool {
    view.journal.iter().any(|line| line.entry.kind == kind && line.entry.text.contains(text))
}

fn word(snapshot: &Snapshot, node: u16) -> Option<&'static str> {
    snapshot.node(NodeId(node)).and_then(|node| node.ineligible.as_ref()).map(Ineligible::word)
}

fn healthy(snapshot: &Snapshot, replicas: usize) -> bool {
    snapshot.primary == Some(NodeId(0)) && snapshot.eligible_replicas().count() == replicas
}

#[tokio::test]
async fn the_whole_life_of_a_cluster() {
    let mut cluster = Cluster::start(2);
    let state_dir = cluster.directory().join("state");
    let mut nodes: Vec<_> = (0..3).map(|index| node(&cluster, index)).collect();
    nodes[1].spec.limits = Limits { max_lag: None, max_lag_bytes: Some(1 << 20) };
    let running = run(nodes.clone(), policy(), Some(state_dir.clone()));
    running.handle.known(Duration::from_secs(10)).await.expect("a topology");
    let first = running.until("primary and two replicas", |snapshot| healthy(snapshot, 2)).await;
    assert_eq!((first.system != 0, first.timeline.0, first.phase), (true, 1, "steady"));
    let roles: Vec<_> = first.nodes.iter().map(|node| node.role).collect();
    assert_eq!(roles, [Role::Primary, Role::Standby, Role::Standby]);

    shows_everything(&running.handle.status());
    excludes_by_lag(&cluster, &running, first.epoch).await;
    survives_restarts(&mut cluster, &running).await;
    follows_a_promotion(cluster, running, nodes, state_dir).await;
}

/// What an operator sees, with the rights of pg_monitor alone.
fn shows_everything(view: &View) {
    let pg2 = view.named("pg2").expect("known");
    assert_eq!(view.upstream(pg2).as_deref(), Some("pg1"));
    assert_eq!(
        view.slot(pg2).map(|(name, kept)| (name.to_string(), kept.is_some())),
        Some(("pg2".into(), true))
    );
    let facts = view.named("pg1").expect("known").facts.as_ref().expect("seen");
    assert_eq!((facts.peers.len(), facts.slots.len()), (2, 2));
    assert!(facts.version >= 130_000 && facts.server_address.as_deref() == Some("127.0.0.1"));
    assert_eq!(view.place(NodeId(1)), Some(1));
    assert!(pg2.lag_time.expect("known") < Duration::from_secs(2), "{:?}", pg2.lag_time);
}

/// Replay stands still while the primary writes; it comes back by itself.
async fn excludes_by_lag(cluster: &Cluster, running: &Running, epoch: u64) {
    cluster.sql(1, "SELECT pg_wal_replay_pause()");
    cluster.sql(0, "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
    let lagging =
        running.until("pg2 excluded by bytes", |snapshot| word(snapshot, 1) == Some("lag_bytes")).await;
    assert_eq!(lagging.epoch, epoch + 1, "each position is not an epoch");
    assert!(running.handle.status().named("pg2").expect("known").facts.as_ref().expect("seen").replay_paused);
    cluster.sql(1, "SELECT pg_wal_replay_resume()");
    running.until("pg2 back", |snapshot| healthy(snapshot, 2)).await;
}

async fn survives_restarts(cluster: &mut Cluster, running: &Running) {
    // A replica restarts: out at once, back by itself; connections made since are left alone.
    let before = running.cell.load().node(NodeId(2)).expect("known").valid_since;
    cluster.stop_server(2, "KILL");
    running.until("pg3 down", |snapshot| word(snapshot, 2) == Some("down")).await;
    cluster.start_server(2);
    let after = running.until("pg3 back", |snapshot| healthy(snapshot, 2)).await;
    assert_eq!(after.node(NodeId(2)).expect("known").valid_since, before);

    // The primary restarts: clients park, then go on.
    let before = running.cell.load().node(NodeId(0)).expect("known").valid_since;
    cluster.stop_server(0, "KILL");
    let parked = running.until("no primary", |snapshot| snapshot.primary.is_none()).await;
    assert_eq!(parked.phase, "halted");
    assert!(
        has(&running.handle.status(), Kind::Advice, "would promote pg2"),
        "{}",
        journal(&running.handle.status())
    );
    cluster.start_server(0);
    let back = running.until("pg1 back", |snapshot| healthy(snapshot, 2)).await;
    assert_eq!(back.node(NodeId(0)).expect("known").valid_since, before);
}

async fn follows_a_promotion(
    mut cluster: Cluster,
    running: Running,
    nodes: Vec<NodeSettings>,
    state_dir: PathBuf,
) {
    // Somebody promotes a replica behind our back while the old primary lives.
    cluster.sql(1, "SELECT pg_promote()");
    let promoted = running.until("pg2 routed", |snapshot| snapshot.primary == Some(NodeId(1))).await;
    assert_eq!((promoted.timeline.0, word(&promoted, 0)), (2, Some("fenced")));
    assert!(running.handle.status().phase == Phase::Steady);

    // After a restart of pgherd the old primary, now alone, is still not taken for the current one.
    running.stop().await;
    cluster.stop_server(1, "INT");
    let running = run(nodes, policy(), Some(state_dir.clone()));
    let alone = running.until("a first snapshot", |snapshot| snapshot.epoch > 0).await;
    assert_eq!((alone.primary, word(&alone, 0)), (None, Some("fenced")));
    cluster.start_server(1);
    running.until("pg2 routed again", |snapshot| snapshot.primary == Some(NodeId(1))).await;

    // The old primary comes back as a standby of the new timeline.
    cluster.stop_server(0, "INT");
    cluster.follow(0, 1);
    cluster.rewind(0, 1);
    cluster.start_server(0);
    running
        .until("pg1 is an eligible replica", |snapshot| {
            word(snapshot, 0).is_none()
                && snapshot.node(NodeId(0)).is_some_and(|node| node.role == Role::Standby)
        })
        .await;
    running.stop().await;
    let text = std::fs::read_to_string(state_dir.join("journal.jsonl")).expect("a journal");
    assert!(text.lines().any(|line| line.contains("\"routed\"")));
}

#[tokio::test]
async fn an_operator_changes_the_cluster_at_run_time() {
    let cluster = Cluster::start(1);
    let running = run(vec![node(&cluster, 0)], policy(), None);
    running.until("the primary", |snapshot| healthy(snapshot, 0)).await;
    let handle = &running.handle;
    handle.add_node(node(&cluster, 1)).await.expect("joins");
    running.until("the replica", |snapshot| healthy(snapshot, 1)).await;
    assert!(matches!(handle.add_node(node(&cluster, 1)).await, Err(ControlError::Refused(_))));
    handle.drain("pg2").await.expect("drains");
    assert_eq!(word(&running.cell.load(), 1), Some("draining"));
    handle.undrain("pg2").await.expect("returns");
    handle.set_weight("pg2", 7).await.expect("changes");
    let snapshot = running.cell.load_full();
    assert_eq!((snapshot.nodes[1].weight, word(&snapshot, 1)), (7, None));
    assert_eq!(handle.drain("pg9").await, Err(ControlError::UnknownNode("pg9".to_owned())));

    // A wrong address makes it unknown, the right one known again.
    let elsewhere = Address::Tcp("127.0.0.1".into(), 1);
    handle.change("pg2", Change::Address(elsewhere)).await.expect("changes");
    running.until("pg2 down", |snapshot| word(snapshot, 1) == Some("down")).await;
    handle.change("pg2", Change::Address(node(&cluster, 1).spec.address)).await.expect("changes");
    running.until("pg2 back", |snapshot| healthy(snapshot, 1)).await;

    for _ in 0..10_000 {
        handle.hint(NodeId(0), Hint::Reset);
    }
    handle.remove_node("pg2").await.expect("leaves");
    let gone = running.until("pg2 gone", |snapshot| snapshot.nodes.len() == 1).await;
    assert_eq!(gone.primary, Some(NodeId(0)), "hints decide nothing");
    let handle = handle.clone();
    running.stop().await;
    assert_eq!(handle.drain("pg1").await, Err(ControlError::Stopped));
}

#[tokio::test]
async fn a_standby_is_discovered_at_the_primary() {
    let cluster = Cluster::start(1);
    let policy = Policy { auto_discover: true, discovery_port: cluster.servers[1].port, ..policy() };
    let running = run(vec![node(&cluster, 0)], policy, None);
    let found = running.until("both", |snapshot| healthy(snapshot, 1)).await;
    assert_eq!(&*found.nodes[1].name, "pg2");
    assert!(has(&running.handle.status(), Kind::Discovered, "joins at 127.0.0.1"));
    running.stop().await;
}

#[tokio::test]
async fn a_killed_probe_connection_is_no_failure_and_a_stopped_server_is_silent() {
    let cluster = Cluster::start(0);
    let policy = Policy { health_check_timeout: Duration::from_millis(300), ..policy() };
    let running = run(vec![node(&cluster, 0)], policy, None);
    let first = running.until("the primary", |snapshot| healthy(snapshot, 0)).await;
    for _ in 0..5 {
        cluster.sql(0, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'watcher'");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(running.cell.load().epoch, first.epoch, "{}", journal(&running.handle.status()));

    // SIGSTOP: connections are still accepted by the kernel, only a deadline notices.
    cluster.signal_all(0, "STOP");
    running.until("no primary", |snapshot| snapshot.primary.is_none()).await;
    cluster.signal_all(0, "CONT");
    let back = running.until("the primary again", |snapshot| healthy(snapshot, 0)).await;
    assert_eq!(
        back.nodes[0].valid_since, first.nodes[0].valid_since,
        "the same server, the same connections"
    );
    running.stop().await;
}

#[tokio::test]
async fn who_does_not_let_us_in_is_not_dead() {
    let cluster = Cluster::start(0);
    let mut stranger = node(&cluster, 0);
    stranger.login.user = "nobody_known".into();
    let running = run(vec![stranger], policy(), None);
    let snapshot = running.until("a snapshot", |snapshot| snapshot.epoch > 0).await;
    assert_eq!((snapshot.primary, word(&snapshot, 0)), (None, Some("down")));
    let view = running.handle.status();
    let text = view.named("pg1").expect("known").suspicion.text();
    assert!(text.contains("nobody_known"), "{text}");
    let mut strict = node(&cluster, 0);
    strict.login.ssl = SslMode::Require;
    strict.spec.name = "pg1_tls".into();
    strict.spec.address = Address::Tcp("localhost".into(), cluster.servers[0].port);
    running.handle.add_node(strict).await.expect("joins");
    running.until("TLS refused", |snapshot| word(snapshot, 1) == Some("down")).await;
    running.stop().await;
}

#[tokio::test]
async fn probes_speak_tls_and_refuse_a_stranger() {
    let cluster = Cluster::start(0);
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    cluster.enable_tls(0, &leaf.pem(), &key.serialize_pem());

    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let secure = Secure::new(Box::new(move |target| {
        let tls = || Tls { config: config.clone(), binding: Binding::Prefer, end_point: |_| None };
        target.login.ssl.insists().then(tls)
    }));

    let mut strict = node(&cluster, 0);
    strict.login.ssl = SslMode::VerifyFull;
    strict.spec.address = Address::Tcp("localhost".into(), cluster.servers[0].port);
    // The certificate does not name this address.
    let mut stranger = node(&cluster, 0);
    stranger.login.ssl = SslMode::VerifyFull;
    stranger.spec.name = "stranger".into();
    let running = run_with(vec![strict, stranger], policy(), None, Arc::new(secure));
    let snapshot = running.until("the primary by TLS", |snapshot| healthy(snapshot, 0)).await;
    assert_eq!(word(&snapshot, 1), Some("down"));
    let view = running.handle.status();
    let text = view.named("stranger").expect("known").suspicion.text();
    assert!(text.contains("certificate"), "{text}");
    let count = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND usename = 'watcher'";
    assert_eq!(cluster.sql(0, count), "1");
    running.stop().await;
}
