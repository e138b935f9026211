//! Every key that is not marked for later must change something: what is drawn from the settings for doors, pools, sessions
//! and the controller is compared with and without it.

use crate::app::balancers::Balancers;
use crate::app::keeper::{Keeper, max_servers};
use crate::app::{entrance, places, plan};
use crate::config::doc::variable;
use crate::config::environment::Environment;
use crate::config::file::load_text;
use crate::config::key::{Key, Kind, Section};
use crate::config::keys::SECTIONS;
use crate::config::settings::Settings;
use pgherd_pool::pools::Blueprint;
use pgherd_proxy::terms::Steward;
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::{Node, NodeId, Role};
use std::sync::Arc;

const BASE: &str = r#"
[cluster]
user = "own"
[listen]
unix_socket_dir = "/"
[[listener]]
name = "reports"
address = "127.0.0.1:5003"
[auth]
method = "trust"
query = "SELECT $1, NULL"
[[user]]
name = "u"
password = "p"
[[database]]
name = "d"
[[node]]
name = "n"
host = "h"
"#;

/// Keys that show elsewhere, and where.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cluster.name", "the API's scope"),
    ("server.workers", "threads"),
    ("server.log_level", "the log"),
    ("server.log_format", "the log"),
    ("server.shutdown_grace", "the drain"),
    ("server.handover_dir", "a socket there: the tests of restarts"),
    ("listen.client_tls", "needs certificates: the door's tests"),
    ("listen.certificate", "needs certificates: the door's tests"),
    ("listen.key", "needs certificates: the door's tests"),
    ("listen.client_ca", "needs certificates: the door's tests"),
    ("listen.tls_min_version", "needs certificates: the door's tests"),
    ("auth.clientcert", "needs certificates: the door's tests"),
    ("user.clientcert", "needs certificates: the door's tests"),
    ("node.ssl_root_cert", "needs certificates: the tests of connecting"),
    ("node.ssl_cert", "needs certificates: the tests of connecting"),
    ("node.ssl_key", "needs certificates: the tests of connecting"),
    ("api.listen", "bound by the control thread"),
    ("api.auth", "who may change something: app::change"),
    ("api.auth.admin.user", "who may change something: app::change"),
    ("api.auth.admin.password", "who may change something: app::change"),
    ("api.auth.admin.password_file", "who may change something: app::change"),
    ("api.auth.admin.password_env", "who may change something: app::change"),
    ("notify.kind", "names the section, all of which comes later"),
];

/// Values for any kind of key; the first that is allowed and another than the present one is taken.
const OTHERS: &[&str] = &[
    "7s",
    "7m",
    "3",
    "41",
    "300000",
    "true",
    "false",
    "3MB",
    "99KB",
    "off",
    "0700",
    "192.0.2.0/24",
    "127.0.0.1:5999",
    "/dev",
    "/dev/null",
    "10.0.0.0/8",
    "other",
];

fn with(section: &Section, key: &Key, value: &str) -> Option<Settings> {
    let env: Environment = [(variable(section, key).as_str(), value)].into_iter().collect();
    load_text("base.toml", BASE, &env).ok().map(|loaded| loaded.settings)
}

fn node(settings: &Settings) -> Node {
    let spec = plan::node(&settings.nodes[0]).spec;
    Node {
        id: NodeId(0),
        name: spec.name,
        address: spec.address,
        role: Role::Standby,
        valid_since: 1,
        timeline: Timeline(1),
        received: Lsn(1),
        replayed: Lsn(1),
        lag_bytes: None,
        lag_time: None,
        ineligible: None,
        weight: spec.weight,
        region: spec.region,
        tags: spec.tags,
        proven_at: None,
        probe_time: None,
        version: 0,
    }
}

/// Everything that is drawn from settings, as text.
fn drawn(settings: Settings) -> String {
    let settings = Arc::new(settings);
    let keeper = Keeper::new(settings.clone()).expect("no files are named");
    let node = node(&settings);
    let terms = |listener: &str, database: &str, user: &str| {
        format!("{:?}", keeper.terms(listener, &database.into(), &user.into()))
    };
    let known = (settings.databases[0].name.as_str(), settings.users[0].name.as_str());
    let shapes = ["d", "other"].map(|database| {
        ["u", "stranger"].map(|user| format!("{:?}", keeper.shape(&node, &database.into(), &user.into())))
    });
    format!(
        "{:?}",
        (
            shapes,
            [
                terms("reports", "d_ro", "u"),
                terms("reports", "nowhere", "u"),
                terms("reports", known.0, known.1)
            ],
            [terms("any", "d", "stranger"), terms("reports", "other", "other")],
            (
                keeper.max_to_node(&node),
                keeper.max_clients(),
                max_servers(&settings),
                keeper.visits(),
                keeper.standing("other")
            ),
            (
                keeper.policy(),
                keeper.door(&Arc::default()).expect("no files are named"),
                plan::controller(&settings)
            ),
            (places::places(&settings).expect("addresses"), entrance::keepalive(&settings.listen)),
            Balancers::new(&settings),
        )
    )
}

#[test]
fn every_key_that_is_not_for_later_changes_something() {
    let base = load_text("base.toml", BASE, &Environment::default()).expect("no faults").settings;
    let unchanged = drawn(base.clone());
    let (mut faults, mut proven) = (Vec::new(), 0);
    for section in SECTIONS {
        for key in section.keys {
            let name = format!("{}.{}", section.name, key.name);
            let told_otherwise = key.name.ends_with("_file") || key.name.ends_with("_env");
            // Secrets are not to be seen in any text; logging in proves them.
            let hidden = matches!(key.kind, Kind::Secret);
            if key.later || told_otherwise || hidden || ELSEWHERE.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let words: &[&str] = if let Kind::Word(words) = key.kind { words } else { OTHERS };
            let tried = words.iter().filter_map(|value| with(section, key, value));
            let others: Vec<Settings> = tried.filter(|settings| settings.values != base.values).collect();
            if others.is_empty() {
                faults.push(format!("{name}: no other value was allowed"));
            } else if others.into_iter().all(|settings| drawn(settings) == unchanged) {
                faults.push(format!("{name}: changes nothing; wire it or mark it for later"));
            }
            proven += 1;
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(proven > 80, "only {proven} keys were tried");
}
