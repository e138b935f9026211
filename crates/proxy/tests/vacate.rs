//! A database that somebody wants for himself.
mod support;

use pgherd_pool::pool::Key;
use pgherd_topology::node::NodeId;
use std::time::Duration;
use support::client::Client;
use support::random::Random;
use support::{Settings, Stage, run};

const SELECT_X: [&str; 4] = ["T", "D:x", "C:SELECT 1", "Z:I"];

#[test]
fn a_database_is_vacated_once_its_clients_left() {
    run(async {
        let stage = Stage::new(Settings::default(), 1, &mut Random::new(1));
        let key = Key { node: NodeId(0), database: "other".into(), user: "alice".into() };
        let pool = stage.shared.pools.get(&key).expect("the node exists");
        let pause = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        let visit = async || {
            let mut visitor = Client::with(&stage, "alice", &[("database", "other")]).await.expect("let in");
            assert_eq!(visitor.ask("select 'x'").await, SELECT_X);
            visitor
        };
        let visitor = visit().await;
        let mut owner = Client::enter(&stage, "alice").await;
        owner.ask("drop database other").await;
        pause(1).await;
        assert_eq!(pool.stats().idle, 1, "a client is connected");
        visitor.leave().await;
        pause(1).await;
        assert_eq!((pool.stats().idle, stage.pool(0, "alice").stats().idle), (0, 1));
        // PostgreSQL waits no longer than this.
        pause(4).await;
        visit().await.leave().await;
        pause(1).await;
        assert_eq!(pool.stats().idle, 1);
        // Nobody is there: at once.
        owner.ask("drop database other").await;
        assert_eq!(pool.stats().idle, 0);
    });
}
