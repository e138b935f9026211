use super::*;
use crate::connect::Target;
use crate::connect::credentials::Credentials;
use crate::server::Identity;
use crate::sslmode::Ssl;
use pgherd_net::keepalive::Keepalive;
use pgherd_net::transport::Transport;
use pgherd_topology::node::{Address, NodeId};
use std::time::Duration;

#[derive(Debug, Default)]
struct Nothing;

impl Baggage for Nothing {
    fn digest(&self) -> u64 {
        0
    }

    fn is_dirty(&self) -> bool {
        false
    }

    fn is_spoiled(&self) -> bool {
        false
    }

    fn was_reset(&mut self) {}
}

fn server() -> Box<Server<Nothing>> {
    let target = Target {
        address: Address::Tcp("localhost".into(), 1),
        user: "alice".into(),
        database: "app".into(),
        credentials: Credentials::None,
        ssl: Ssl::DISABLED,
        connect_timeout: Duration::from_secs(1),
        keepalive: Keepalive::default(),
        dialer: None,
    };
    let identity = Identity {
        number: 1,
        node: NodeId(0),
        epoch: 1,
        opened: Default::default(),
        target: Arc::new(target),
        user: "alice".into(),
        local: None,
        encryption: None,
        generation: 0,
        since: 0,
        used: Default::default(),
        statements: Default::default(),
        pid: 1,
        secret: Box::default(),
    };
    Box::new(Server {
        transport: Transport::pipe(tokio::io::duplex(64).0),
        baggage: Box::default(),
        home: 0,
        identity: Arc::new(identity),
        expires: u64::MAX,
        idle_since: 0,
        _permit: Default::default(),
    })
}

#[test]
fn a_server_for_an_earlier_stay_comes_back() {
    let slot: Arc<Slot<Nothing>> = Arc::default();
    let now = Instant::now();
    let called = Line::stand(&slot, now, now);
    // The session leaves the line between being called and being served.
    *slot.state.lock() = State::Away;
    assert!(called.serve(server()).is_some());
    // It stands in another line: the first one's server is not for it, nor its refusal.
    let present = Line::stand(&slot, now, now);
    assert!(called.serve(server()).is_some());
    called.refuse(NoServer::Closed);
    called.notice()();
    assert!(matches!(*slot.state.lock(), State::Waiting(_)));
    assert!(present.serve(server()).is_none());
    assert!(matches!(*slot.state.lock(), State::Served(_)));
}
