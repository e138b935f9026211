//! Connecting and logging in to a real PostgreSQL: each method, each `sslmode`, each refusal, and a cancel that arrives.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test: that is what it is for")]

mod server;

use pgherd_pool::connect::credentials::{Credentials, Md5Hash, Password};
use pgherd_pool::connect::error::{ConnectError, Fault};
use pgherd_pool::connect::{Connected, Target, connect, send_cancel};
use pgherd_pool::scram::Keys;
use pgherd_pool::sslmode::{ChannelBinding, SslMode};
use pgherd_topology::node::Address;
use server::Server;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn password(text: &str) -> Credentials {
    Credentials::Password(Password::new(text))
}

fn parameter<'a>(connected: &'a Connected, name: &str) -> Option<&'a str> {
    connected.parameters.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
}

/// Sends a query and returns everything up to ReadyForQuery.
async fn query(connected: &mut Connected, sql: &str) -> Vec<u8> {
    let length = (5 + sql.len()) as u32;
    let message = [b"Q", &length.to_be_bytes()[..], sql.as_bytes(), b"\0"].concat();
    connected.transport.write_all(&message).await.unwrap();
    connected.transport.flush().await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"Z\0\0\0\x05I") {
        assert_ne!(connected.transport.read_buf(&mut answer).await.unwrap(), 0);
    }
    answer
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_real_server_lets_us_in_or_says_why_not() {
    let server = Server::start();
    methods(&server).await;
    refusals(&server).await;
    encryption(&server).await;
    channel_binding(&server).await;
    cancel(&server).await;
}

async fn methods(server: &Server) {
    let settings = [("application_name".into(), "pgherd".into()), ("search_path".into(), "a,b".into())];
    for (user, credentials) in [
        ("trusting", Credentials::None),
        ("plain", password("secret")),
        ("hashed", password("secret")),
        ("salted", password("secret")),
    ] {
        let connected = connect(&server.target(user, credentials), &settings).await;
        let mut connected = connected.unwrap_or_else(|error| panic!("{user}: {error}"));
        assert_eq!(parameter(&connected, "application_name"), Some("pgherd"));
        assert!(parameter(&connected, "server_version").is_some());
        assert!(connected.pid > 0 && connected.secret.len() == 4 && connected.unread.is_empty());
        let answer = query(&mut connected, "select current_user, current_setting('search_path')").await;
        assert!(contains(&answer, user) && contains(&answer, "a,b"));
    }
    let unix = Target {
        address: Address::Unix(server.directory.to_str().unwrap().into(), server.port),
        ssl: server.ssl(SslMode::VerifyFull),
        ..server.target("postgres", Credentials::None)
    };
    let mut connected = connect(&unix, &[]).await.unwrap();
    assert!(!connected.transport.is_tls());

    // What the catalog stores is enough to log in: the md5 hash itself, and the keys behind the SCRAM verifier.
    let answer = query(&mut connected, "select rolpassword from pg_authid where rolname = 'hashed'").await;
    let stored = stored(&answer, "md5", 35);
    connect(&server.target("hashed", Credentials::Md5(Md5Hash(stored.into()))), &[]).await.unwrap();
    let sql = "select encode(decode(substring(rolpassword from ':([^$]*)\\$'), 'base64'), 'hex') || '.' \
               from pg_authid where rolname = 'salted'";
    let answer = query(&mut connected, sql).await;
    let end = answer.iter().position(|&byte| byte == b'.').unwrap();
    let salt: Vec<u8> = answer[end - 32..end]
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let keys = Keys::derive("secret", &salt, NonZeroU32::new(4096).unwrap());
    connect(&server.target("salted", Credentials::ScramKeys(keys)), &[]).await.unwrap();
    let wrong = Keys::derive("wrong", &salt, NonZeroU32::new(4096).unwrap());
    let error = connect(&server.target("salted", Credentials::ScramKeys(wrong)), &[]).await.unwrap_err();
    assert_eq!(error.sqlstate(), "28P01");
}

fn stored(answer: &[u8], prefix: &str, length: usize) -> String {
    let text = String::from_utf8_lossy(answer).into_owned();
    // The first hit is the value: neither the column's name nor the tag contains the prefix.
    let at = text.find(prefix).unwrap();
    text[at..at + length].to_owned()
}

async fn refusals(server: &Server) {
    for user in ["plain", "hashed", "salted"] {
        let error = connect(&server.target(user, password("wrong")), &[]).await.unwrap_err();
        let ConnectError::Server(told) = &error else { panic!("{error}") };
        assert_eq!(&*told.message, format!("password authentication failed for user \"{user}\""));
        assert_eq!((error.sqlstate(), error.fault(), error.retryable()), ("28P01", Fault::Settings, false));
    }
    let missing = Target { database: "nowhere".into(), ..server.target("trusting", Credentials::None) };
    let error = connect(&missing, &[]).await.unwrap_err();
    assert_eq!(error.sqlstate(), "3D000", "{error}");
    let error = connect(&server.target("salted", Credentials::None), &[]).await.unwrap_err();
    assert!(matches!(error, ConnectError::Auth(_)), "{error}");
    let settings = [("no_such_setting".into(), "1".into())];
    let error = connect(&server.target("trusting", Credentials::None), &settings).await.unwrap_err();
    assert_eq!(error.sqlstate(), "42704", "{error}");
    let closed = Target {
        address: Address::Tcp("127.0.0.1".into(), 1),
        ..server.target("trusting", Credentials::None)
    };
    let error = connect(&closed, &[]).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
    let absent = Target {
        address: Address::Unix("/nonexistent".into(), 5432),
        ..server.target("trusting", Credentials::None)
    };
    assert!(matches!(connect(&absent, &[]).await, Err(ConnectError::Refused(_))));
}

async fn encryption(server: &Server) {
    use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
    // For each mode and role: whether it gets in, and if so whether encrypted.
    for (mode, host, user, expected) in [
        (Disable, "127.0.0.1", "trusting", Some(false)),
        (Disable, "127.0.0.1", "secure", None),
        (Allow, "127.0.0.1", "trusting", Some(false)),
        (Allow, "127.0.0.1", "secure", Some(true)),
        (Prefer, "127.0.0.1", "trusting", Some(true)),
        (Prefer, "127.0.0.1", "naked", Some(false)),
        (Require, "127.0.0.1", "secure", Some(true)),
        (Require, "127.0.0.1", "naked", None),
        (VerifyCa, "127.0.0.1", "secure", Some(true)),
        (VerifyFull, "127.0.0.1", "secure", None),
        (VerifyFull, "localhost", "secure", Some(true)),
    ] {
        let target = Target {
            address: Address::Tcp(host.into(), server.port),
            ssl: server.ssl(mode),
            ..server.target(user, password("secret"))
        };
        match (connect(&target, &[]).await, expected) {
            (Ok(connected), Some(encrypted)) => {
                assert_eq!(connected.transport.is_tls(), encrypted, "{mode} {user}")
            }
            (Err(ConnectError::Server(error)), None) => {
                assert_eq!(&*error.sqlstate, "28000", "{mode} {user}")
            }
            (Err(ConnectError::Tls(_)), None) => assert_eq!(mode, VerifyFull),
            (other, _) => panic!("{mode} {user}: {other:?}"),
        }
    }
}

/// The server itself refuses a proof that is bound to another certificate, and one that says "not offered" where it was.
async fn channel_binding(server: &Server) {
    use ChannelBinding::{Disable, Prefer, Require};
    for (binding, mode, user, good) in [
        (Disable, SslMode::Require, "salted", true),
        (Prefer, SslMode::Require, "salted", true),
        (Prefer, SslMode::Disable, "salted", true),
        (Require, SslMode::Require, "salted", true),
        (Require, SslMode::Disable, "salted", false),
        (Require, SslMode::Require, "plain", false),
        (Require, SslMode::Require, "hashed", false),
        (Require, SslMode::Require, "trusting", false),
    ] {
        let ssl = server.ssl(mode).with_binding(binding);
        match connect(&Target { ssl, ..server.target(user, password("secret")) }, &[]).await {
            Ok(_) => assert!(good, "{binding:?} {mode} {user}"),
            Err(ConnectError::Auth(why)) => assert!(!good && why.contains("channel binding"), "{why}"),
            Err(other) => panic!("{binding:?} {mode} {user}: {other}"),
        }
    }
}

async fn cancel(server: &Server) {
    for mode in [SslMode::Disable, SslMode::Prefer, SslMode::VerifyCa] {
        let target = Target { ssl: server.ssl(mode), ..server.target("trusting", Credentials::None) };
        let mut connected = connect(&target, &[]).await.unwrap();
        let (pid, secret) = (connected.pid, connected.secret.clone());
        let begun = Instant::now();
        let (answer, sent) = tokio::join!(query(&mut connected, "select pg_sleep(30)"), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            send_cancel(&target, pid, &secret).await
        });
        sent.unwrap();
        assert!(contains(&answer, "C57014") && begun.elapsed() < Duration::from_secs(10), "{mode}");
        // Delivered means delivered: the next statement is not hit by it.
        assert!(contains(&query(&mut connected, "select 'alive'").await, "alive"));
    }
    let closed = Target {
        address: Address::Tcp("127.0.0.1".into(), 1),
        ..server.target("trusting", Credentials::None)
    };
    assert!(matches!(send_cancel(&closed, 1, &[0; 4]).await, Err(ConnectError::Refused(_))));
}
