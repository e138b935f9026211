use super::*;

use crate::machine::Limits;
use crate::server::ServerState;
use bytes::BytesMut;
use pgherd_wire::backend::Status;
use std::sync::Arc;

#[derive(Default)]
struct Heard {
    sent: BytesMut,
    passed: usize,
}

impl Sink for Heard {
    fn pass(&mut self, n: usize) {
        self.passed += n;
    }
    fn skip(&mut self, _: usize) {}
    fn compose(&mut self, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.sent);
    }
}

struct Stage {
    machine: Machine,
    up: Heard,
    down: Heard,
}

fn row(values: &[&str]) -> BytesMut {
    let mut out = BytesMut::new();
    write::frame(&mut out, b'D', |out| {
        out.extend_from_slice(&(values.len() as u16).to_be_bytes());
        for value in values {
            out.extend_from_slice(&(value.len() as i32).to_be_bytes());
            out.extend_from_slice(value.as_bytes());
        }
    });
    out
}

impl Stage {
    fn new(probing: Probing) -> Stage {
        let limits = Limits {
            max_prepared_statements: 1,
            max_client_statements: 1,
            session_mode: false,
            probing,
            unnamed: Default::default(),
        };
        let mut machine = Machine::new(1, Arc::default(), Settings::default(), limits);
        machine.attach(Box::new(ServerState::default()), false);
        Stage { machine, up: Heard::default(), down: Heard::default() }
    }

    /// Runs one statement to its end.
    fn run(&mut self, text: &str, tag: &[u8]) {
        let mut bytes = BytesMut::new();
        write::query(&mut bytes, text.as_bytes());
        self.machine.client(&bytes, &mut self.up, &mut self.down).unwrap();
        self.hear(|out| write::command_complete(out, tag));
    }

    /// Prepares this in a batch of its own, which a driver does that wants to know its parameters first.
    fn prepare(&mut self, name: &[u8], text: &str) {
        let mut bytes = BytesMut::new();
        write::parse(&mut bytes, name, &[text.as_bytes(), b"\0\0\0"].concat());
        write::frame(&mut bytes, b'S', |_| {});
        self.machine.client(&bytes, &mut self.up, &mut self.down).unwrap();
        self.hear(|out| write::frame(out, b'1', |_| {}));
    }

    /// Runs what was prepared.
    fn execute(&mut self, name: &[u8], tag: &[u8]) {
        let mut bytes = BytesMut::new();
        write::bind_front(&mut bytes, b"", name, 6);
        bytes.extend_from_slice(&[0; 6]);
        write::frame(&mut bytes, b'E', |out| out.extend_from_slice(&[0; 5]));
        write::frame(&mut bytes, b'S', |_| {});
        self.machine.client(&bytes, &mut self.up, &mut self.down).unwrap();
        self.hear(|out| {
            if name.is_empty() {
                // The question to the server has taken its place, so it is prepared again.
                write::frame(out, b'1', |_| {});
            }
            write::frame(out, b'2', |_| {});
            write::command_complete(out, tag);
        });
    }

    /// The server says this, and is ready.
    fn hear(&mut self, say: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        say(&mut out);
        write::ready(&mut out, Status::Idle);
        self.machine.server(&out, &mut self.down).unwrap();
    }

    /// The server is asked, and finds these (of `LEAVES`), and these settings.
    fn probe(&mut self, left: [&str; 5], settings: &[[&str; 2]]) {
        assert!(self.machine.wants_probe() && !self.machine.is_free());
        self.up.sent.clear();
        let heard = self.down.passed;
        self.machine.ask_server(&mut self.up);
        let asks_for_settings = memchr::memmem::find(&self.up.sent, b"pg_settings").is_some();
        assert_eq!(asks_for_settings, !settings.is_empty());
        self.hear(|out| {
            out.extend_from_slice(&row(&left));
            write::command_complete(out, b"SELECT 1");
            settings.iter().for_each(|pair| out.extend_from_slice(&row(pair)));
            write::command_complete(out, b"SELECT 1");
        });
        assert_eq!(self.down.passed, heard, "the client hears nothing of it");
    }
}

const NOTHING: [&str; 5] = ["f"; 5];

#[test]
fn a_pin_ends_with_what_it_is_for() {
    let mut stage = Stage::new(Probing::Auto);
    stage.run("select pg_try_advisory_lock(1)", b"SELECT 1");
    stage.probe(["f", "t", "f", "f", "f"], &[]);
    assert_eq!(stage.machine.pin(), Some(Pin::AdvisoryLock));
    stage.run("select 1", b"SELECT 1");
    assert!(!stage.machine.wants_probe());
    stage.run("select pg_advisory_unlock(1)", b"SELECT 1");
    stage.probe(NOTHING, &[]);
    assert_eq!((stage.machine.pin(), stage.machine.is_free()), (None, true));
    stage.run("create temp table t()", b"CREATE TABLE");
    stage.probe(["t", "f", "f", "f", "f"], &[]);
    stage.run("drop table t", b"DROP TABLE");
    stage.probe(NOTHING, &[]);
    assert!(stage.machine.is_free());
}

#[test]
fn what_was_prepared_pins_whenever_it_is_run() {
    for name in [&b""[..], b"lock"] {
        let mut stage = Stage::new(Probing::Auto);
        stage.prepare(name, "select pg_advisory_lock(1)");
        stage.probe(NOTHING, &[]);
        for _ in 0..2 {
            stage.execute(name, b"SELECT 1");
            assert_eq!(stage.machine.pin(), Some(Pin::AdvisoryLock));
            stage.probe(["f", "t", "f", "f", "f"], &[]);
            stage.run("select pg_advisory_unlock(1)", b"SELECT 1");
            stage.probe(NOTHING, &[]);
            assert!(stage.machine.is_free());
            if name.is_empty() {
                // A simple query forgets it.
                break;
            }
        }
    }
}

#[test]
fn an_unlock_is_heard_in_capitals_too() {
    let mut stage = Stage::new(Probing::Auto);
    stage.run("SELECT PG_ADVISORY_LOCK(1)", b"SELECT 1");
    stage.probe(["f", "t", "f", "f", "f"], &[]);
    stage.run("SELECT PG_ADVISORY_UNLOCK(1)", b"SELECT 1");
    stage.probe(NOTHING, &[]);
    assert!(stage.machine.is_free());
}

#[test]
fn what_was_prepared_ends_a_pin_whenever_it_is_run() {
    let mut stage = Stage::new(Probing::Auto);
    stage.prepare(b"unlock", "select pg_advisory_unlock(1)");
    for _ in 0..2 {
        stage.run("select pg_advisory_lock(1)", b"SELECT 1");
        stage.probe(["f", "t", "f", "f", "f"], &[]);
        stage.execute(b"unlock", b"SELECT 1");
        stage.probe(NOTHING, &[]);
        assert!(stage.machine.is_free());
    }
}

#[test]
fn a_notification_is_no_part_of_the_answer() {
    let mut stage = Stage::new(Probing::Auto);
    stage.run("listen news", b"LISTEN");
    let heard = stage.down.passed;
    stage.machine.ask_server(&mut stage.up);
    let mut news = BytesMut::new();
    write::frame(&mut news, b'A', |out| out.extend_from_slice(b"\0\0\0\x07news\0first\0"));
    stage.hear(|out| {
        out.extend_from_slice(&news);
        out.extend_from_slice(&row(&["f", "f", "f", "f", "t"]));
        out.extend_from_slice(&news);
        write::command_complete(out, b"SELECT 1");
    });
    assert_eq!(stage.down.passed, heard + 2 * news.len());
    assert_eq!(stage.machine.pin(), Some(Pin::Listen));
}

#[test]
fn what_cannot_be_asked_for_outlasts_what_can() {
    let mut stage = Stage::new(Probing::Auto);
    stage.run("select pg_advisory_lock(1)", b"SELECT 1");
    stage.probe(["f", "t", "f", "f", "f"], &[]);
    stage.run("select setseed(0.5)", b"SELECT 1");
    stage.run("select pg_advisory_unlock(1)", b"SELECT 1");
    assert_eq!(stage.machine.pin(), Some(Pin::Unprovable));
    stage.machine.ask_server(&mut stage.up);
    assert_eq!((stage.machine.pin(), stage.machine.is_free()), (Some(Pin::Unprovable), false));
}

#[test]
fn unseen_code_is_asked_about() {
    let mut stage = Stage::new(Probing::Auto);
    stage.run("set a.b to '1'", b"SET");
    stage.run("call p()", b"CALL");
    stage.probe(NOTHING, &[["a.b", "1"], ["c.d", "2"], ["role", "bob"]]);
    assert!(stage.machine.is_free());
    assert_eq!(stage.machine.settings().get(b"role"), Some(&Value::Text(b"bob"[..].into())));
    stage.run("call p()", b"CALL");
    stage.probe(NOTHING, &[["a.b", "1"], ["c.d", "2"], ["role", "none"]]);
    assert_eq!(stage.machine.settings().get(b"role"), None);
    let settings = stage.machine.settings();
    assert_eq!(settings.get(b"a.b"), Some(&Value::Sql(b"'1'"[..].into())));
    assert_eq!(settings.get(b"c.d"), Some(&Value::Text(b"2"[..].into())));
    assert_eq!(stage.machine.detach().unwrap().applied.digest(), stage.machine.settings().digest());
    let mut never = Stage::new(Probing::Never);
    never.run("call p()", b"CALL");
    assert!(never.machine.is_free());
    let mut always = Stage::new(Probing::Always);
    always.run("select f()", b"SELECT 1");
    always.probe(["f", "f", "f", "f", "t"], &[["x.y", "1"]]);
    assert_eq!(always.machine.pin(), Some(Pin::Listen));
}

#[test]
fn who_leaves_before_the_answer_leaves_a_dirty_server() {
    let mut stage = Stage::new(Probing::Auto);
    stage.run("do ''", b"DO");
    assert_eq!(stage.machine.detach().unwrap().dirty, Some(Pin::Unprovable));
}

#[test]
fn an_answer_that_is_none_pins() {
    let mut stage = Stage::new(Probing::Auto);
    stage.run("do ''", b"DO");
    stage.machine.ask_server(&mut stage.up);
    stage.hear(|out| {
        write::Report::new(write::Severity::Error, "57014", "canceling statement").write(out);
    });
    assert_eq!(stage.machine.pin(), Some(Pin::Unprovable));
    assert!(!stage.machine.wants_probe());
}

#[test]
fn names_that_no_view_shows_are_asked_for() {
    let mut stage = Stage::new(Probing::Auto);
    stage.run("do $$ begin perform set_config('my.x', '1.5', false); end $$", b"DO");
    stage.machine.ask_server(&mut stage.up);
    let asks = |what: &[u8]| memchr::memmem::find(&stage.up.sent, what).is_some();
    assert!(asks(b"UNION ALL SELECT 'my.x', pg_catalog.current_setting('my.x', true)\0"));
    stage.hear(|out| {
        out.extend_from_slice(&row(&NOTHING));
        out.extend_from_slice(&row(&["my.x", "1.5"]));
    });
    assert_eq!(stage.machine.settings().get(b"my.x"), Some(&Value::Text(b"1.5"[..].into())));
    // Another session gets a server on which nothing of it is left.
    let server = stage.machine.detach().unwrap();
    let mut other = Stage::new(Probing::Auto);
    other.machine.detach();
    other.machine = Machine::new(2, Arc::default(), Settings::default(), other.machine.limits.clone());
    other.machine.attach(server, false);
    let mut bytes = BytesMut::new();
    write::query(&mut bytes, b"select 1");
    other.machine.client(&bytes, &mut other.up, &mut other.down).unwrap();
    assert!(memchr::memmem::find(&other.up.sent, b"RESET ROLE;RESET ALL;").is_some());
}

#[test]
fn names_have_two_parts() {
    let names = |text: &'static str| -> Vec<&[u8]> { dotted_names(text.as_bytes()).collect() };
    assert_eq!(names("set my.a to 1.5; 'b.c' x . y a.b.c"), [&b"my.a"[..], b"b.c", b"a.b", b"b.c"]);
    assert!(names(". .a a. 1.a a.1 é.a").is_empty());
}
