//! Settings as a whole: what the sample, the smallest file and the environment mean.

use pgherd::config::environment::Environment;
use pgherd::config::file::{Loaded, load, load_text};
use pgherd::config::settings::Settings;
use pgherd::config::words::{
    AuthMethod, FailoverStrategy, ListenerRouting, PoolMode, ReadPreference, SslMode,
};
use pgherd::config::{doc, reload, sample, show};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn env(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().copied().collect()
}

fn read(text: &str) -> Loaded {
    read_with(text, &[])
}

fn read_with(text: &str, pairs: &[(&str, &str)]) -> Loaded {
    load_text("t.toml", text, &env(pairs)).unwrap_or_else(|report| panic!("{}", report.render()))
}

fn refused(text: &str, pairs: &[(&str, &str)]) -> String {
    load_text("t.toml", text, &env(pairs)).err().map(|report| report.render()).expect("it should be refused")
}

const LEAST: &str = "[cluster]\nuser = 'u'\npassword = 'p'\n[[node]]\nhost = 'a'\n";

fn top(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name)
}

fn is_committed(path: &Path, generated: &str, by: &str) {
    if std::env::var_os("UPDATE_REPORTS").is_some() {
        std::fs::write(path, generated).expect("a place to write to");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == generated, "run `{by}`");
}

#[test]
fn the_committed_reference_page_is_the_generated_one() {
    let by = "pgherd config doc --markdown > docs/configuration.md";
    is_committed(&top("../docs/configuration.md"), &doc::page(), by);
}

#[test]
fn the_committed_sample_is_the_generated_one_and_has_no_fault() {
    is_committed(&top("pgherd.toml"), &sample::text(), "pgherd config sample > config/pgherd.toml");
    let loaded = read(&sample::text());
    assert_eq!(loaded.report.render(), "");
    assert_eq!(loaded.settings.nodes.len(), 1);
}

#[test]
fn the_sample_changes_nothing() {
    let text = "[cluster]\nuser = 'app_user'\npassword = 'change me'\n[[node]]\nname = 'pg1'\nhost = 'primary.db.example.com'\n";
    let (sample, plain) = (read(&sample::text()).settings, read(text).settings);
    assert_eq!(
        reload::compare(&plain, &sample),
        Vec::new(),
        "the sample says something else than the default"
    );
    assert_eq!(plain, sample);
}

#[test]
fn every_line_of_the_sample_can_be_used() {
    // Commented keys hold examples; each alone must be a value of its key. Files they name need not be there.
    let sample = sample::text();
    let mut section = String::new();
    let mut tried = 0;
    for line in sample.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if bare.starts_with('[') && bare.ends_with(']') {
            section = bare.to_string();
        } else if let Some((name, _)) = bare.split_once(" = ")
            && line.starts_with("# ")
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.')
            && !name.is_empty()
            && name != "include"
        {
            tried += 1;
            let text = format!("{section}\n{bare}\n");
            let codes = ["E001", "E01", "E02"];
            if let Err(report) = load_text("t.toml", &text, &Environment::default()) {
                let text = report.render();
                let bad = text.lines().find(|l| codes.iter().any(|c| l.contains(c)) && !l.contains("E012"));
                assert!(bad.is_none(), "{section} {line}: {text}");
            }
        }
    }
    assert!(tried > 40, "{tried}");
}

#[test]
fn the_smallest_file_starts_a_proxy() {
    let loaded = load(Some(&top("minimal.toml")), &Environment::default());
    let loaded = loaded.unwrap_or_else(|report| panic!("{}", report.render()));
    assert_eq!(loaded.report.render(), "");
    let s = loaded.settings;
    assert_eq!(s.nodes.len(), 2);
    assert_eq!(s.nodes[1].name, "replica1.db.example.com:5432");
    assert_eq!(s.nodes[0].database, "production");
    assert_eq!((s.users.len(), s.users[0].name.as_str()), (1, "app_user"));
    assert_eq!(s.users[0].server_password.as_ref().map(|p| p.expose()), Some("change me"));
    assert_eq!(s.auth.method, AuthMethod::ScramSha256);
    let ports: Vec<u16> = s.listeners.iter().map(|l| l.address.port).collect();
    assert_eq!(ports, [5000, 5001, 5002]);
    let lines = std::fs::read_to_string(top("minimal.toml")).expect("a text").lines().count();
    assert!(lines <= 11, "{lines} lines");
}

/// The example of the manual for operators, word for word where it speaks of values.
#[test]
fn the_operators_example_is_understood() {
    let text = include_str!("operators.toml");
    let s = read_with(text, &[("APP", "secret")]).settings;
    assert_eq!(s.cluster.name, "email-cluster");
    assert_eq!(s.nodes.len(), 3);
    let pg3 = &s.nodes[2];
    assert_eq!((pg3.weight, pg3.max_lag_seconds), (80, Some(Duration::from_secs(10))));
    assert!(pg3.tags.nofailover);
    assert_eq!(pg3.tags.replicatefrom.as_deref(), Some("pg2"));
    assert_eq!(s.nodes[0].ssl, SslMode::VerifyFull);
    assert_eq!(s.pool.max_client_connections, 10_000);
    assert_eq!(s.failover.failover_strategy, FailoverStrategy::Supervised);
    assert_eq!(s.failover.maximum_lag_on_syncnode, None);
    assert_eq!(s.health.lag_alert_bytes, [1 << 20, 10 << 20, 100 << 20]);
    assert_eq!(s.routing.default_read_preference, ReadPreference::ReplicaPreferred);
    assert_eq!(s.api.admin_password.as_ref().map(|p| p.expose()), Some("secret"));
}

/// Bare numbers as Patroni and the requirement documents write them.
#[test]
fn numbers_of_the_seeds_are_understood() {
    let text = format!(
        "{LEAST}max_lag_seconds = 5.0\n[health]\nhealth_check_interval = 10.0\nlag_check_interval = 5\n[failover]\n\
         failover_timeout = 30.0\nttl = 30\nloop_wait = 10\nretry_timeout = 10\nmaximum_lag_on_failover = 1048576\n\
         maximum_lag_on_syncnode = -1\nmaster_start_timeout = 300\n"
    );
    let loaded = read(&text);
    let s = loaded.settings;
    assert_eq!(s.nodes[0].max_lag_seconds, Some(Duration::from_secs(5)));
    assert_eq!(s.health.health_check_interval, Duration::from_secs(10));
    assert_eq!(s.failover.maximum_lag_on_failover, Some(1 << 20));
    assert_eq!(s.failover.maximum_lag_on_syncnode, None);
    assert_eq!(s.failover.primary_start_timeout, Duration::from_secs(300));
    assert!(loaded.report.usable() && loaded.report.faults.len() == 1, "one warning, of the old spelling");
}

#[test]
fn pools_take_the_most_specific_word() {
    let text = format!(
        "{LEAST}name = 'n'\nmax_pool_size = 50\nmin_pool_size = 10\n[pool]\nreserve_pool_size = 3\n[[user]]\nname = 'a'\npassword = 'x'\n\
         max_pool_size = 5\npool_mode = 'session'\n[[database]]\nname = 'd'\nmax_pool_size = 7\npool_mode = 'statement'\n"
    );
    let s = read(&text).settings;
    let shape = |node, database, user| {
        let shape = s.pool_shape(node, database, user);
        (shape.mode, shape.min_size, shape.max_size, shape.reserve_size)
    };
    assert_eq!(shape("n", "d", "a"), (PoolMode::Session, 5, 5, 3));
    assert_eq!(shape("n", "d", "?"), (PoolMode::Statement, 7, 7, 3));
    assert_eq!(shape("n", "?", "?"), (PoolMode::Transaction, 10, 50, 3));
    assert_eq!(shape("?", "?", "?"), (PoolMode::Transaction, 1, 20, 3));
}

#[test]
fn the_environment_overrides() {
    let pairs = [
        ("PGHERD__POOL__MODE", "session"),
        ("PGHERD__POOL__MAX_NODE_CONNECTIONS", "off"),
        ("PGHERD__NODE__PG_1__WEIGHT", "7"),
        ("PGHERD__NODE__PG_1__TAGS__NOFAILOVER", "true"),
        ("PGHERD__NODE__1__HOST", "b"),
        ("PGHERD__FAILOVER__TTL", "40"),
        ("PGHERD__FAILOVER__FENCE_COMMAND", r#"["/bin/fence", "a, b"]"#),
        ("PGHERD__NOTIFY__0__KIND", "exec"),
        ("PGHERD__NOTIFY__0__COMMAND", "/bin/true, x"),
    ];
    let loaded = read_with(&format!("{LEAST}name = 'pg-1'\n"), &pairs);
    let s = &loaded.settings;
    assert_eq!(s.pool.mode, PoolMode::Session);
    assert_eq!((s.nodes[0].weight, s.nodes[0].tags.nofailover), (7, true));
    assert_eq!(s.nodes[1].host, "b");
    assert_eq!(s.failover.ttl, Duration::from_secs(40));
    assert_eq!(s.notify[0].command, ["/bin/true", "x"]);
    assert_eq!(s.failover.fence_command, ["/bin/fence", "a, b"]);
    let shown = show::text(&s.values, &loaded.report.sources, true);
    assert!(shown.contains("# $PGHERD__POOL__MODE"), "{shown}");
    assert!(shown.contains("# t.toml:5"), "{shown}");
    assert!(!shown.contains("'p'") && !shown.contains("\"p\""), "{shown}");
}

#[test]
fn a_wrong_environment_is_refused() {
    for (name, value, want) in [
        ("PGHERD__POL__MODE", "x", "did you mean PGHERD__POOL__"),
        ("PGHERD__POOL__MOD", "x", "did you mean `mode`?"),
        ("PGHERD__POOL__MODE", "x", "must be one of session"),
        ("PGHERD__NODE__5__HOST", "x", "no [[node]] of this name or number"),
        ("PGHERD__", "x", "there is no section"),
        ("PGHERD_PRIMARY_URL", "mysql://u:hunter2@h", "is not a URL"),
    ] {
        let text = refused(LEAST, &[(name, value)]);
        assert!(text.contains(want) && text.contains(&format!("${name}")), "{text}");
        assert!(!text.contains("hunter2"));
    }
}

#[test]
fn two_variables_are_enough_without_a_file() {
    let pairs = [
        ("PGHERD_PRIMARY_URL", "postgres://app:p%40ss@db1:6000/prod?sslmode=require"),
        ("PGHERD_REPLICA_URLS", "postgres://db2/prod, postgres://db3"),
    ];
    let loaded = load(None, &env(&pairs)).unwrap_or_else(|report| panic!("{}", report.render()));
    let s = loaded.settings;
    let nodes: Vec<_> =
        s.nodes.iter().map(|n| (n.name.as_str(), n.user.as_str(), n.database.as_str())).collect();
    assert_eq!(
        nodes,
        [("db1:6000", "app", "prod"), ("db2:5432", "app", "prod"), ("db3:5432", "app", "prod")]
    );
    assert_eq!(s.nodes[0].ssl, SslMode::Require);
    assert_eq!(s.nodes[2].password.as_ref().map(|p| p.expose()), Some("p@ss"));
    assert_eq!(s.users[0].name, "app");
    assert!(!format!("{s:?}").contains("p@ss"), "Debug shows a secret");
    assert!(!format!("{:?}", read(&LEAST.replace("'p'", "'p@ss'"))).contains("p@ss"), "Debug shows the file");
    assert!(!format!("{:?}", env(&pairs)).contains("p%40ss"), "Debug shows the environment");
}

#[test]
fn listeners_come_in_order() {
    let text = format!(
        "{LEAST}[listen]\nreplicas = 'off'\n[[listener]]\nname = 'reports'\naddress = '[::1]:6000'\nrouting = 'replicas'\nread_preference = 'replica'\n"
    );
    let s = read(&text).settings;
    let all: Vec<_> =
        s.listeners.iter().map(|l| (l.name.as_str(), l.address.to_string(), l.routing)).collect();
    let want = [
        ("primary", "0.0.0.0:5000".to_string(), ListenerRouting::Primary),
        ("any", "0.0.0.0:5002".to_string(), ListenerRouting::Any),
        ("reports", "[::1]:6000".to_string(), ListenerRouting::Replicas),
    ];
    assert_eq!(all, want);
    assert_eq!(s.listeners[2].read_preference, Some(ReadPreference::Replica));
}

#[test]
fn reloads_say_what_changed() {
    let old: Settings = read(&format!("{LEAST}name = 'n'\n[server]\nworkers = 2\n")).settings;
    let same = read(&format!("# a comment\n{LEAST}name = 'n'\n[server]\nworkers = 2\n")).settings;
    assert_eq!(reload::compare(&old, &same), Vec::new());
    let text = "[cluster]\nuser = 'u'\npassword = 'q'\n[[node]]\nhost = 'a'\nname = 'n'\nweight = 5\n[[node]]\nhost = 'b'\n\
                [server]\nworkers = 3\nlog_level = 'debug'\n[listen]\nany = 'off'\n";
    let changes = reload::compare(&old, &read(text).settings);
    let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let want = [
        "cluster.password: \"********\" -> \"********\" (for new connections)",
        "server.workers: 2 -> 3 (needs a restart)",
        "server.log_level: \"info\" -> \"debug\" (at once)",
        "listen.any: \"0.0.0.0:5002\" -> \"off\" (the old listener drains)",
        "node.n.weight: 100 -> 5 (at once)",
        "node.b:5432: not given -> there (at once)",
    ];
    assert_eq!(told, want);
    let notice = reload::restart_notice(&changes);
    assert_eq!(notice.as_deref(), Some("server.workers changed and needs a restart to take effect"));
}

/// A directory of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("pgherd-settings-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Folder(path)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("permissions");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn included_files_come_behind() {
    let folder = Folder::new("include");
    let main = folder.file(
        "p.toml",
        &format!("include = ['conf.d/*.toml', 'more.toml']\n{LEAST}[pool]\nmax_pool_size = 3\n"),
        0o600,
    );
    folder.file("conf.d/20.toml", "[pool]\nmax_pool_size = 5\n", 0o600);
    folder.file(
        "conf.d/10.toml",
        "[pool]\nmax_pool_size = 4\nmin_pool_size = 2\n[[node]]\nhost = 'b'\n",
        0o600,
    );
    folder.file("conf.d/x.toml~", "nonsense", 0o600);
    folder.file("more.toml", "include = ['p.toml']\n", 0o600);
    let report = load(Some(&main), &Environment::default()).expect_err("more.toml includes").render();
    assert!(report.contains("an included file cannot include others"), "{report}");
    folder.file("more.toml", "[cluster]\npassword_file = 'secret'\n", 0o600);
    folder.file("secret", "s3cret\n", 0o600);
    let report = load(Some(&main), &Environment::default()).expect_err("two passwords").render();
    assert!(report.contains("say the same thing"), "{report}");
    folder.file("more.toml", "[[user]]\nname = 'x'\npassword_file = 'secret'\n", 0o600);
    let loaded =
        load(Some(&main), &Environment::default()).unwrap_or_else(|report| panic!("{}", report.render()));
    let s = loaded.settings;
    assert_eq!((s.pool.max_pool_size, s.pool.min_pool_size, s.nodes.len()), (5, 2, 2));
    assert_eq!(
        s.users[0].password.as_ref().map(|p| p.expose()),
        Some("s3cret"),
        "relative to the file, one newline less"
    );
    assert!(show::text(&s.values, &loaded.report.sources, true).contains("20.toml:2"));
}

#[test]
fn a_password_others_can_read_is_warned_of() {
    let folder = Folder::new("exposed");
    let warned = |text: &str, mode| {
        let path = folder.file("p.toml", text, mode);
        let loaded =
            load(Some(&path), &env(&[("P", "x")])).unwrap_or_else(|report| panic!("{}", report.render()));
        loaded.report.render().contains("W002")
    };
    assert!(warned(LEAST, 0o644) && warned(LEAST, 0o604));
    // The group of a file of root's may read it, as PostgreSQL has it for private keys; root may run this test.
    use std::os::unix::fs::MetadataExt;
    let of_root = std::fs::metadata(&folder.0).expect("a directory").uid() == 0;
    assert_eq!(warned(LEAST, 0o640), !of_root);
    assert!(!warned(LEAST, 0o600));
    assert!(!warned(&LEAST.replace("'p'", "'${P}'"), 0o644));
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let folder = Folder::new("unreadable");
    let bad = folder.file("bad.toml", "", 0o600);
    std::fs::write(&bad, b"[pool]\nmode = \"\xff\"\n").expect("a file");
    let large = folder.file("large.toml", &"# filler\n".repeat(200_000), 0o600);
    for (path, want) in [
        (bad, "is not UTF-8 in line 2"),
        (large, "is larger than 1MB"),
        (folder.0.clone(), "is a directory"),
        (folder.0.join("none.toml"), "cannot be read: no such file or directory"),
    ] {
        let text = load(Some(&path), &Environment::default()).expect_err("refused").render();
        assert!(text.contains(want), "{text}");
    }
}
