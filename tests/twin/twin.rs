//! The same script played on a direct connection and through pgherd: the client must hear the same.
//!
//! Most scripts are written by hand (`scripts/*.txt`); `product` makes pipelines with each step failing, `random` makes what nobody would write. Where they
//! are played is the table `SETTINGS`. What cannot be the same in transaction mode is marked in the script, with the reason.
//!
//! | variable | |
//! |---|---|
//! | `TWIN_ONLY=words` | only scripts whose "file: title" has them |
//! | `TWIN_FILE=path` | only the scripts of this file |
//! | `TWIN_SEEDS=a..b` | only the random scripts of these seeds |
//! | `TWIN_ALL=1` | every script in every setting (some minutes) |
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod chance;
mod masks;
mod noise;
mod player;
mod product;
mod random;
mod script;

use noise::Noise;
use pgherd_lab::front::{Front, FrontOptions, Ports};
use pgherd_lab::lab::Lab;
use pgherd_lab::options::{Auth, Database, Options, Role};
use pgherd_tests::raw::Raw;
use pgherd_tests::stand::executable;
use player::{Stage, play};
use script::{Script, parse};

const USER: &str = "app";

/// Where pgherd is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Primary,
    Any,
}

/// One way to play all scripts, or some of them.
struct Setting {
    name: &'static str,
    port: Port,
    database: &'static str,
    byte_by_byte: bool,
    /// Sessions that disturb.
    noisy: usize,
    /// Every script that was written by hand is played so; else each script in one of those that are not for all.
    for_all: bool,
}

const ALONE: Setting = Setting {
    name: "alone",
    port: Port::Primary,
    database: USER,
    byte_by_byte: false,
    noisy: 0,
    for_all: true,
};

const SETTINGS: [Setting; 8] = [
    ALONE,
    Setting { name: "among noise", noisy: 3, ..ALONE },
    // Which server a session gets is chance: once more.
    Setting { name: "among noise again", noisy: 3, ..ALONE },
    Setting { name: "byte by byte", byte_by_byte: true, ..ALONE },
    Setting { name: "one server among noise", database: "single", noisy: 2, for_all: false, ..ALONE },
    Setting { name: "session mode", database: "kept", for_all: false, ..ALONE },
    Setting { name: "port any", port: Port::Any, for_all: false, ..ALONE },
    Setting { name: "port any among noise", port: Port::Any, noisy: 2, for_all: false, ..ALONE },
];

/// Other names of the one database, with pools of their own.
const DATABASES: &str = "name = \"single\"
dbname = \"app\"
max_pool_size = 1

[[database]]
name = \"kept\"
dbname = \"app\"
pool_mode = \"session\"";

const FILES: [(&str, &str); 8] = [
    ("login", include_str!("scripts/login.txt")),
    ("simple", include_str!("scripts/simple.txt")),
    ("extended", include_str!("scripts/extended.txt")),
    ("copy", include_str!("scripts/copy.txt")),
    ("state", include_str!("scripts/state.txt")),
    ("prepare", include_str!("scripts/prepare.txt")),
    ("large", include_str!("scripts/large.txt")),
    ("malformed", include_str!("scripts/malformed.txt")),
];

/// What every play finds.
const FIXTURE: &str = "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO public;
    CREATE TABLE item (id int PRIMARY KEY, name text);
    INSERT INTO item VALUES (1, 'one'), (2, 'two'), (3, 'three');
    CREATE SEQUENCE counter;
    CREATE FUNCTION say(what text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE 'said %', what; RETURN what; END$$;
    CREATE FUNCTION hidden_set(v text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'SET application_name TO ' || quote_literal(v); END$$;
    ALTER TABLE item OWNER TO app; ALTER SEQUENCE counter OWNER TO app;";

/// A script, the name it is reported by, and whether a machine wrote it.
struct Piece {
    name: String,
    script: Script,
    made: bool,
}

fn pieces() -> Vec<Piece> {
    let variable = |name: &str| std::env::var(name).ok();
    let mut texts: Vec<(&str, String)> = Vec::new();
    if let Some(path) = variable("TWIN_FILE") {
        texts.push(("file", std::fs::read_to_string(path).unwrap()));
    } else {
        if variable("TWIN_SEEDS").is_none() {
            texts.extend(FILES.map(|(file, text)| (file, text.to_owned())));
            texts.push(("product", product::products()));
        }
        texts.push(("random", random::scripts()));
    }
    let only = variable("TWIN_ONLY").unwrap_or_default();
    let mut all = Vec::new();
    for (file, text) in texts {
        for script in parse(&text) {
            let name = format!("{file}: {}", script.title);
            if name.contains(&only) {
                all.push(Piece { name, script, made: matches!(file, "product" | "random") });
            }
        }
    }
    all
}

async fn stage() -> (Lab, Front) {
    let role = |name: &str, attributes: &str| Role {
        name: name.to_owned(),
        password: None,
        attributes: attributes.to_owned(),
    };
    let lab = Lab::start(Options {
        prefix: "pgherd-twin".to_owned(),
        replicas: 0,
        auth: Auth::Trust,
        roles: vec![role("other", ""), role(USER, "IN ROLE other")],
        databases: vec![Database { name: USER.to_owned(), owner: USER.to_owned() }],
        ..Options::default()
    })
    .await
    .unwrap();
    let noise = "CREATE SCHEMA noise; CREATE TABLE noise.item (noise int); GRANT ALL ON SCHEMA noise TO public; GRANT ALL ON noise.item TO public";
    lab.primary().sql(USER, noise).await.unwrap();
    let settings = [("pool", "max_pool_size = 2"), ("auth", "method = \"trust\""), ("[database]", DATABASES)];
    let front = Front::start(
        &lab,
        &FrontOptions {
            executable: executable().unwrap(),
            ports: Ports::free().unwrap(),
            cluster: "twin".to_owned(),
            users: vec![(USER.to_owned(), "unused".to_owned())],
            settings: settings.map(|(section, line)| (section.to_owned(), line.to_owned())).to_vec(),
        },
    )
    .await
    .unwrap();
    (lab, front)
}

/// Whoever lays out the fixture.
struct Owner {
    raw: Raw,
    dirty: bool,
}

impl Owner {
    /// Plays on a fresh fixture.
    fn play(&mut self, stage: Stage, script: &Script) -> Vec<String> {
        if self.dirty {
            let made = self.raw.query(FIXTURE);
            assert_eq!(pgherd_tests::raw::sqlstate(&made), "", "{made:?}");
        }
        self.dirty = script.writes();
        play(stage, USER, script)
    }
}

/// The first difference, with what was heard before it.
fn difference(direct: &[String], proxied: &[String], made: bool) -> Option<String> {
    let (here, there) = if made {
        masks::parting(direct, proxied)?
    } else {
        let at = (0..direct.len().max(proxied.len())).find(|at| direct.get(*at) != proxied.get(*at))?;
        (at, at)
    };
    let side = |heard: &[String], at: usize| heard[at..heard.len().min(at + 4)].join("\n          ");
    let before = &direct[here.saturating_sub(2)..here];
    Some(format!(
        "  after   {}\n  direct  {}\n  pgherd  {}",
        before.join("\n          "),
        side(direct, here),
        side(proxied, there)
    ))
}

#[tokio::test]
async fn pgherd_sounds_like_postgresql() {
    let (lab, front) = stage().await;
    let (direct, ports) = (lab.primary().port(), front.ports());
    let failures = tokio::task::spawn_blocking(move || compare(direct, ports)).await.unwrap();
    let log = front.log_tail();
    let ended = front.shutdown().await;
    lab.shutdown().await.unwrap();
    assert!(failures.is_empty(), "{} differences\n\n{}\n{log}", failures.len(), failures.join("\n\n"));
    ended.unwrap();
}

/// Whether this script is played in this setting.
fn wanted(setting: usize, piece: usize, made: bool) -> bool {
    let whole = std::env::var("TWIN_ALL").is_ok();
    let some = SETTINGS.iter().filter(|setting| !setting.for_all).count();
    match (whole, made) {
        (true, _) => true,
        (false, true) => setting == piece % SETTINGS.len() || setting == (piece + 3) % SETTINGS.len(),
        (false, false) => SETTINGS[setting].for_all || setting == SETTINGS.len() - some + piece % some,
    }
}

fn compare(direct: u16, ports: Ports) -> Vec<String> {
    let pieces = pieces();
    let few = ["TWIN_ONLY", "TWIN_FILE", "TWIN_SEEDS"].iter().any(|name| std::env::var(name).is_ok());
    assert!(pieces.len() >= 400 || few, "only {} scripts", pieces.len());
    let raw = Raw::connect(direct, &[("user", "postgres"), ("database", USER)], "").unwrap();
    assert!(raw.is_in(), "{:?}", raw.login);
    let mut owner = Owner { raw, dirty: true };
    let mut expected = Vec::new();
    for Piece { name, script, .. } in &pieces {
        let heard = owner.play(Stage { port: direct, database: USER, byte_by_byte: false }, script);
        let last = heard.last().map_or("", String::as_str);
        assert!(last.ends_with("closed"), "{name}: a direct connection did not end, but heard {heard:#?}");
        expected.push(heard);
    }
    let mut failures = Vec::new();
    for (number, setting) in SETTINGS.iter().enumerate() {
        let Setting { database, byte_by_byte, .. } = *setting;
        let port = match setting.port {
            Port::Primary => ports.primary,
            Port::Any => ports.any,
        };
        let noise = Noise::start(port, USER, database, setting.noisy);
        for (at, (piece, expected)) in pieces.iter().zip(&expected).enumerate() {
            if wanted(number, at, piece.made) {
                let heard = owner.play(Stage { port, database, byte_by_byte }, &piece.script);
                failures.extend(judged(piece, setting, expected, &heard));
            }
        }
        let said = noise.stop();
        assert!(said.iter().all(|count| *count > 0) && said.len() == setting.noisy, "no noise: {said:?}");
    }
    failures
}

fn judged(piece: &Piece, setting: &Setting, expected: &[String], heard: &[String]) -> Option<String> {
    let (name, setting) = (&piece.name, setting.name);
    match (difference(expected, heard, piece.made), &piece.script.differs) {
        (None, None) | (Some(_), Some(_)) => None,
        _ if piece.script.may_differ => None,
        (Some(difference), None) if piece.made => {
            Some(format!("{name} ({setting})\n{difference}\n{}", piece.script.text))
        }
        (Some(difference), None) => Some(format!("{name} ({setting})\n{difference}")),
        (None, Some(reason)) => Some(format!("{name} ({setting}): does not differ any more: {reason}")),
    }
}
