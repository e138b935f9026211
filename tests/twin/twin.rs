//! The same script played on a direct connection and through pgherd: the client must hear the same.
//!
//! Each script is played through pgherd in a pool of two servers: alone, twice among noisy neighbours, and with every message cut into bytes. What cannot
//! be the same in transaction mode is marked in the script, with the reason. `TWIN_ONLY=words` plays only the scripts whose "file: title" has them.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod noise;
mod player;
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
/// Sessions that disturb.
const NOISY: usize = 3;

const FILES: [(&str, &str); 7] = [
    ("login", include_str!("scripts/login.txt")),
    ("simple", include_str!("scripts/simple.txt")),
    ("extended", include_str!("scripts/extended.txt")),
    ("copy", include_str!("scripts/copy.txt")),
    ("state", include_str!("scripts/state.txt")),
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

fn scripts() -> Vec<(String, Script)> {
    let only = std::env::var("TWIN_ONLY").unwrap_or_default();
    let mut all = Vec::new();
    for (file, text) in FILES {
        for script in parse(text) {
            let name = format!("{file}: {}", script.title);
            if name.contains(&only) {
                all.push((name, script));
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
    let settings = [("pool", "max_pool_size = 2"), ("auth", "method = \"trust\"")];
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

/// Plays on a fresh fixture.
fn fresh(owner: &mut Raw, stage: Stage, script: &Script) -> Vec<String> {
    let made = owner.query(FIXTURE);
    assert_eq!(pgherd_tests::raw::sqlstate(&made), "", "{made:?}");
    play(stage, USER, script)
}

/// The first difference, with what was heard before it.
fn difference(direct: &[String], proxied: &[String]) -> Option<String> {
    let at = (0..direct.len().max(proxied.len())).find(|at| direct.get(*at) != proxied.get(*at))?;
    let side = |heard: &[String]| heard[at.min(heard.len())..heard.len().min(at + 4)].join("\n          ");
    let before = &direct[at.saturating_sub(2)..at.min(direct.len())];
    Some(format!(
        "  after   {}\n  direct  {}\n  pgherd  {}",
        before.join("\n          "),
        side(direct),
        side(proxied)
    ))
}

#[tokio::test]
async fn pgherd_sounds_like_postgresql() {
    let (lab, front) = stage().await;
    let (direct, proxied) = (lab.primary().port(), front.ports().primary);
    let failures = tokio::task::spawn_blocking(move || compare(direct, proxied)).await.unwrap();
    let log = front.log_tail();
    let ended = front.shutdown().await;
    lab.shutdown().await.unwrap();
    assert!(failures.is_empty(), "{} differences\n\n{}\n{log}", failures.len(), failures.join("\n\n"));
    ended.unwrap();
}

fn compare(direct: u16, proxied: u16) -> Vec<String> {
    let scripts = scripts();
    assert!(scripts.len() >= 120 || std::env::var("TWIN_ONLY").is_ok(), "only {} scripts", scripts.len());
    let mut owner = Raw::connect(direct, &[("user", "postgres"), ("database", USER)], "").unwrap();
    assert!(owner.is_in(), "{:?}", owner.login);
    let mut expected = Vec::new();
    for (name, script) in &scripts {
        let heard = fresh(&mut owner, Stage { port: direct, byte_by_byte: false }, script);
        let last = heard.last().map_or("", String::as_str);
        assert!(last.ends_with("closed"), "{name}: a direct connection did not end, but heard {heard:#?}");
        expected.push(heard);
    }
    let mut failures = Vec::new();
    let settings = [
        ("alone", false, 0),
        ("among noise", false, NOISY),
        // Which server a session gets is chance: once more.
        ("among noise again", false, NOISY),
        ("byte by byte", true, 0),
    ];
    for (setting, byte_by_byte, noisy) in settings {
        let noise = Noise::start(proxied, USER, noisy);
        for ((name, script), expected) in scripts.iter().zip(&expected) {
            let heard = fresh(&mut owner, Stage { port: proxied, byte_by_byte }, script);
            match (difference(expected, &heard), &script.differs) {
                (None, None) | (Some(_), Some(_)) => {}
                _ if script.may_differ => {}
                (Some(difference), None) => failures.push(format!("{name} ({setting})\n{difference}")),
                (None, Some(reason)) => {
                    failures.push(format!("{name} ({setting}): does not differ any more: {reason}"))
                }
            }
        }
        let said = noise.stop();
        assert!(said.iter().all(|count| *count > 0) && said.len() == noisy, "no noise: {said:?}");
    }
    failures
}
