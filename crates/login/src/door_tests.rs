use super::*;
use crate::scram::Verifier;
use crate::settings::{Method, TlsPolicy, Trusted};
use crate::users::{Secret, Users};
use proptest::prelude::*;
use std::future::Future;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

#[path = "door_badge_tests.rs"]
mod badge;
#[path = "door_tls_tests.rs"]
mod encrypted;
#[path = "door_lookup_tests.rs"]
mod lookup;
#[path = "door_relayed_tests.rs"]
mod relayed;

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";

fn remote() -> Peer {
    Peer::Tcp(([203, 0, 113, 9], 5555).into())
}

fn users() -> Arc<Users> {
    let mut users = Users::default();
    let md5 = postgres_protocol::password::md5(b"secret", "hashed");
    let verifier = Verifier::derive("secret", b"0123456789abcdef", NonZeroU32::new(64).unwrap());
    users.insert("plain", Secret::Plain("secret".into()));
    users.insert("hashed", Secret::parse(&md5));
    users.insert("salted", Secret::Scram(verifier));
    users.insert("locked", Secret::None);
    Arc::new(users)
}

fn settings(method: Method) -> Settings {
    Settings { method, users: users(), cleartext_without_tls: true, ..Settings::default() }
}

fn trusting() -> Settings {
    Settings {
        trusted: Trusted { unix: true, networks: vec!["0.0.0.0/0".parse().unwrap()] },
        ..Settings::default()
    }
}

fn startup(version: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = version.to_be_bytes().to_vec();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        packet.extend_from_slice(text.as_bytes());
        packet.push(0);
    }
    packet.push(0);
    [&(packet.len() as u32 + 4).to_be_bytes()[..], &packet].concat()
}

fn hello(user: &str) -> Vec<u8> {
    startup(3 << 16, &[("user", user), ("database", "app")])
}

/// Runs a client against a door; gives what came through, and what the client made of it.
async fn meet<T, F: Future<Output = T>>(
    settings: Settings,
    peer: Peer,
    client: impl FnOnce(DuplexStream) -> F,
) -> (Arrival, T) {
    let door = Door::new(settings).unwrap();
    let (near, far) = tokio::io::duplex(256 * 1024);
    let met = tokio::join!(door.admit(Transport::pipe(far), peer), client(near));
    assert_eq!(door.unauthenticated(), 0);
    met
}

/// Sends bytes, hangs up that half, and gives what came through and everything that was answered.
async fn say(settings: Settings, peer: Peer, bytes: &[u8]) -> (Arrival, Vec<u8>) {
    meet(settings, peer, |mut stream| async move {
        // A door that has decided does not wait for the rest.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        stream
    })
    .await
    .drain()
    .await
}

trait Drain {
    async fn drain(self) -> (Arrival, Vec<u8>);
}

impl Drain for (Arrival, DuplexStream) {
    /// Reads what the door had answered by the time it was done.
    async fn drain(mut self) -> (Arrival, Vec<u8>) {
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_millis(20), self.1.read_to_end(&mut answer)).await;
        (self.0, answer)
    }
}

fn client(arrival: Arrival) -> Admitted {
    match arrival {
        Arrival::Client(admitted) => *admitted,
        other => panic!("{other:?}"),
    }
}

/// SQLSTATE and message of an ErrorResponse at the end of an answer.
fn refusal(answer: &[u8]) -> (String, String) {
    let at = answer.windows(7).position(|window| window == b"SFATAL\0").expect("an ErrorResponse") - 5;
    let body = &answer[at + 5..];
    assert_eq!(answer[at], b'E');
    assert_eq!(answer[at + 1..at + 5], (body.len() as u32 + 4).to_be_bytes(), "nothing follows it");
    let field = |kind: u8| {
        let field = body.split(|&byte| byte == 0).find(|field| field.first() == Some(&kind)).unwrap();
        String::from_utf8(field[1..].to_vec()).unwrap()
    };
    (field(b'C'), field(b'M'))
}

#[tokio::test]
async fn a_trusted_client_comes_through_with_what_it_brought() {
    let bytes = [hello("alice"), b"Q\0\0\0\x0dselect 1\0".to_vec()].concat();
    let (arrival, answer) = say(trusting(), remote(), &bytes).await;
    let admitted = client(arrival);
    assert_eq!((&*admitted.user, &*admitted.database), ("alice", "app"));
    assert_eq!(&admitted.unread[..], b"Q\0\0\0\x0dselect 1\0");
    assert_eq!(&admitted.unsent[..], b"R\0\0\0\x08\0\0\0\0");
    assert_eq!((answer.len(), admitted.secret), (0, ClientSecret::None));
}

#[tokio::test]
async fn byte_by_byte_is_the_same() {
    let bytes = [GSS, SSL, &startup(3 << 16 | 2, &[("user", "alice"), ("options", "-c a=b")])].concat();
    let (arrival, ()) = meet(trusting(), remote(), |mut stream| async move {
        for (at, byte) in bytes.into_iter().enumerate() {
            stream.write_all(&[byte]).await.unwrap();
            if at == 7 || at == 15 {
                assert_eq!(stream.read_u8().await.unwrap(), b'N');
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let admitted = client(arrival);
    assert_eq!((admitted.protocol, admitted.unread.len()), (Protocol::V3_2, 0));
    assert_eq!(admitted.settings, [("a".into(), "b".into())]);
}

#[tokio::test]
async fn grease_is_negotiated_before_anything_else() {
    let packet = startup(3 << 16 | 9999, &[("user", "a"), ("_pq_.test_protocol_negotiation", "")]);
    let admitted = client(say(trusting(), remote(), &packet).await.0);
    assert_eq!((admitted.unsent[0], admitted.protocol), (b'v', Protocol::V3_2));
    assert!(admitted.unsent.ends_with(b"_pq_.test_protocol_negotiation\0R\0\0\0\x08\0\0\0\0"));
    let (_, answer) = say(settings(Method::ScramSha256), remote(), &packet).await;
    assert_eq!(answer[0], b'v', "it is sent with the first request");
}

#[tokio::test]
async fn cancel_requests_come_through() {
    let request = [&b"\0\0\0\x30\x04\xd2\x16\x2e\0\0\0\x07"[..], &[5; 36]].concat();
    for bytes in [request.clone(), [GSS, &request].concat()] {
        let gss = bytes.len() > request.len();
        let (arrival, _) = meet(settings(Method::ScramSha256), remote(), |mut stream| async move {
            if gss {
                stream.write_all(&bytes[..8]).await.unwrap();
                assert_eq!(stream.read_u8().await.unwrap(), b'N');
            }
            stream.write_all(&bytes[if gss { 8 } else { 0 }..]).await.unwrap();
        })
        .await;
        match arrival {
            Arrival::Cancel(request, _) => assert_eq!((request.pid, request.secret.len()), (7, 36)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn refusals_are_postgresqls_own() {
    let scram = || settings(Method::ScramSha256);
    let long = [&10_005u32.to_be_bytes()[..], &vec![b'x'; 10_001]].concat();
    for (settings, bytes, sqlstate) in [
        (scram(), startup(2 << 16, &[("user", "a")]), "0A000"),
        (scram(), startup(4 << 16, &[("user", "a")]), "0A000"),
        (scram(), startup(3 << 16, &[]), "28000"),
        (scram(), b"GET / HTTP/1.1\r\n\r\n".to_vec(), "08P01"),
        (scram(), long, "08P01"),
        (scram(), b"\0\0\0\x0c\0\x03\0\0user".to_vec(), "08P01"),
        (scram(), startup(3 << 16, &[("user", "a"), ("options", "-x")]), "42601"),
        (scram(), [SSL, b"early"].concat(), "08P01"),
        (scram(), [GSS, &hello("a")].concat(), "08P01"),
        (scram(), [hello("plain"), b"Q\0\0\0\x05\0".to_vec()].concat(), "08P01"),
        (scram(), [hello("plain"), b"p\0\0\x10\0".to_vec()].concat(), "08P01"),
        (scram(), [hello("plain"), b"p\0\0\0\x03".to_vec()].concat(), "08P01"),
        (scram(), [hello("plain"), b"p\0\0\0\x0aOTHER\0".to_vec()].concat(), "08P01"),
        (settings(Method::Password), [hello("plain"), b"p\0\0\0\x05\0".to_vec()].concat(), "28P01"),
        (settings(Method::Password), [hello("plain"), b"p\0\0\0\x06x!".to_vec()].concat(), "08P01"),
        (settings(Method::Password), [hello("plain"), b"p\0\0\0\x09secre".to_vec()].concat(), "08P01"),
        (Settings { cleartext_without_tls: false, ..settings(Method::Password) }, hello("plain"), "28000"),
        (Settings { tls: TlsPolicy::Require(encrypted::tls()), ..trusting() }, hello("plain"), "28000"),
        (Settings { max_unauthenticated: 0, ..trusting() }, hello("plain"), "none"),
    ] {
        let (arrival, answer) = say(settings, remote(), &bytes).await;
        assert!(matches!(arrival, Arrival::Gone), "{arrival:?}");
        match sqlstate {
            "none" => assert!(answer.is_empty()),
            sqlstate => assert_eq!(refusal(&answer).0, sqlstate, "{}", String::from_utf8_lossy(&answer)),
        }
    }
}

#[tokio::test]
async fn asking_for_encryption_twice_is_a_protocol_nobody_knows() {
    for request in [SSL, GSS] {
        let (arrival, answer) = meet(trusting(), remote(), |mut stream| async move {
            stream.write_all(request).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'N');
            stream.write_all(request).await.unwrap();
            stream
        })
        .await
        .drain()
        .await;
        assert!(matches!(arrival, Arrival::Gone));
        assert_eq!(refusal(&answer).0, "0A000");
    }
}

#[tokio::test]
async fn whoever_leaves_hears_nothing() {
    for bytes in [&b""[..], b"\0", b"\0\0\0\x08\x04", &hello("alice")[..12], b"\x16\x03\x01\0\x05hello"] {
        let (arrival, answer) = say(trusting(), remote(), bytes).await;
        assert!(matches!(arrival, Arrival::Gone) && answer.is_empty(), "{bytes:?}");
    }
    let terminated = [hello("plain"), b"X\0\0\0\x04".to_vec()].concat();
    let (arrival, answer) = say(settings(Method::ScramSha256), remote(), &terminated).await;
    assert!(matches!(arrival, Arrival::Gone) && !answer.contains(&b'E'));
}

/// Logs in with tokio-postgres; gives the arrival and the client's error, if it got one.
async fn log_in(settings: Settings, user: &str, password: &str) -> (Arrival, Option<tokio_postgres::Error>) {
    let mut config = tokio_postgres::Config::new();
    config.user(user).password(password).dbname("app");
    let (near, far) = tokio::io::duplex(64 * 1024);
    let door = Door::new(settings).unwrap();
    let serve = async {
        let mut arrival = door.admit(Transport::pipe(far), remote()).await;
        if let Arrival::Client(admitted) = &mut arrival {
            admitted.unsent.extend_from_slice(b"Z\0\0\0\x05I");
            admitted.transport.write_all(&admitted.unsent).await.unwrap();
        }
        arrival
    };
    let (arrival, done) = tokio::join!(serve, config.connect_raw(near, tokio_postgres::NoTls));
    (arrival, done.err())
}

#[tokio::test]
async fn every_secret_works_with_every_method_it_can() {
    use Method::{Md5, Password, ScramSha256};
    for (method, user, secret) in [
        (Password, "plain", "Password(..)"),
        (Password, "hashed", "Password(..)"),
        (Password, "salted", "Password(..)"),
        (Md5, "plain", "Password(..)"),
        (Md5, "hashed", "Md5(..)"),
        (Md5, "salted", "ScramKeys(..)"),
        (ScramSha256, "plain", "Password(..)"),
        (ScramSha256, "salted", "ScramKeys(..)"),
    ] {
        let (arrival, error) = log_in(settings(method), user, "secret").await;
        assert!(error.is_none(), "{method:?} {user}: {error:?}");
        assert_eq!(format!("{:?}", client(arrival).secret), secret, "{method:?} {user}");
    }
}

#[tokio::test]
async fn strangers_and_wrong_passwords_hear_the_same() {
    use Method::{Md5, Password, ScramSha256};
    for method in [Password, Md5, ScramSha256] {
        for (user, password) in [
            ("plain", "wrong"),
            ("hashed", "wrong"),
            ("salted", "wrong"),
            ("nobody", "secret"),
            ("locked", "secret"),
        ] {
            let (arrival, error) = log_in(settings(method), user, password).await;
            assert!(matches!(arrival, Arrival::Gone), "{method:?} {user}");
            let error = error.unwrap();
            let told = error.as_db_error().unwrap_or_else(|| panic!("{method:?} {user}: {error:?}"));
            assert_eq!((told.code().code(), told.severity()), ("28P01", "FATAL"));
            assert_eq!(told.message(), format!("password authentication failed for user \"{user}\""));
        }
    }
    // An md5 hash cannot be tested by SCRAM.
    let (arrival, _) = log_in(settings(ScramSha256), "hashed", "secret").await;
    assert!(matches!(arrival, Arrival::Gone));
    // Nor does the empty password open what has none.
    for method in [Md5, ScramSha256] {
        let (arrival, _) = log_in(settings(method), "locked", "").await;
        assert!(matches!(arrival, Arrival::Gone));
    }
}

#[tokio::test]
async fn a_query_behind_the_password_is_kept() {
    let bytes = [hello("plain"), b"p\0\0\0\x0bsecret\0Q\0\0\0\x05\0".to_vec()].concat();
    let (arrival, answer) = say(settings(Method::Password), remote(), &bytes).await;
    assert_eq!(answer, b"R\0\0\0\x08\0\0\0\x03");
    let admitted = client(arrival);
    assert_eq!(&admitted.unread[..], b"Q\0\0\0\x05\0");
    assert_eq!(admitted.secret, ClientSecret::Password("secret".into()));
}

#[tokio::test(start_paused = true)]
async fn the_whole_login_has_one_deadline() {
    for (bytes, sqlstate) in [(&b"\0\0"[..], None), (SSL, None), (&hello("plain"), Some("57014"))] {
        let begun = tokio::time::Instant::now();
        let (arrival, stream) = meet(settings(Method::ScramSha256), remote(), |mut stream| async move {
            stream.write_all(bytes).await.unwrap();
            stream
        })
        .await;
        assert!(begun.elapsed() >= Duration::from_secs(15) && begun.elapsed() <= Duration::from_secs(17));
        let (_, answer) = (arrival, stream).drain().await;
        match sqlstate {
            Some(sqlstate) => assert_eq!(refusal(&answer).0, sqlstate),
            None => assert!(!answer.contains(&b'E')),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_door_holds_so_many_and_tells_the_next() {
    let door = Door::new(Settings { max_unauthenticated: 2, ..trusting() }).unwrap();
    let (a, far_a) = tokio::io::duplex(64);
    let (b, far_b) = tokio::io::duplex(64);
    let (mut c, far_c) = tokio::io::duplex(1024);
    let crowd = async {
        tokio::join!(
            door.admit(Transport::pipe(far_a), remote()),
            door.admit(Transport::pipe(far_b), remote()),
            door.admit(Transport::pipe(far_c), remote())
        )
    };
    let visit = async {
        let mut answer = Vec::new();
        c.read_to_end(&mut answer).await.unwrap();
        assert_eq!(refusal(&answer), ("53300".into(), "sorry, too many clients already".into()));
        assert_eq!(door.unauthenticated(), 3);
        drop((a, b, c));
    };
    tokio::join!(crowd, visit);
    assert_eq!(door.unauthenticated(), 0);
}

#[tokio::test]
async fn reload_changes_who_may_come() {
    let door = Door::new(settings(Method::ScramSha256)).unwrap();
    for expected in [false, true] {
        let (near, far) = tokio::io::duplex(1024);
        let mut near = near;
        near.write_all(&hello("alice")).await.unwrap();
        near.shutdown().await.unwrap();
        let arrival = door.admit(Transport::pipe(far), remote()).await;
        assert_eq!(matches!(arrival, Arrival::Client(_)), expected);
        door.reload(trusting());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn garbage_is_never_admitted(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..3) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (prefix, method) = match kind {
            0 => (Vec::new(), Method::ScramSha256),
            1 => ([hello("plain"), b"p\0\0\0\x40".to_vec()].concat(), Method::ScramSha256),
            _ => ([hello("hashed"), b"p".to_vec()].concat(), Method::Md5),
        };
        let (arrival, _) = runtime.block_on(say(settings(method), remote(), &[prefix, bytes].concat()));
        prop_assert!(!matches!(arrival, Arrival::Client(_)));
    }
}
