use super::credentials::{Credentials, Md5Hash, Password};
use super::error::{ConnectError, ServerError};
use super::*;
use crate::connect::stream::Stream;
use crate::scram::Keys;
use proptest::prelude::*;
use std::num::NonZeroU32;
use tokio::io::DuplexStream;

fn target(credentials: Credentials) -> Target {
    Target {
        address: Address::Tcp("localhost".into(), 5432),
        user: "alice".into(),
        database: "app".into(),
        credentials,
        ssl: Ssl::DISABLED,
        connect_timeout: Duration::from_secs(5),
        keepalive: Keepalive::default(),
        dialer: None,
    }
}

fn password(text: &str) -> Credentials {
    Credentials::Password(Password::new(text))
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(4 + body.len() as u32).to_be_bytes(), body].concat()
}

fn request(code: u32, data: &[u8]) -> Vec<u8> {
    frame(b'R', &[&code.to_be_bytes(), data].concat())
}

/// What a server says once it lets us in.
fn welcome() -> Vec<u8> {
    [
        request(0, b""),
        frame(b'S', b"server_version\x0015.4\0"),
        frame(b'S', b"TimeZone\0UTC\0"),
        frame(b'S', b"TimeZone\0Asia/Tokyo\0"),
        frame(b'N', b"SNOTICE\0C00000\0Mhello\0\0"),
        frame(b'K', &[0, 0, 0, 7, 1, 2, 3, 4]),
        frame(b'Z', b"I"),
    ]
    .concat()
}

/// A scripted server at the far end of a pipe.
struct Fake(DuplexStream);

impl Fake {
    async fn startup(&mut self) -> Vec<u8> {
        let length = self.0.read_u32().await.unwrap() as usize;
        let mut packet = vec![0; length - 4];
        self.0.read_exact(&mut packet).await.unwrap();
        packet
    }

    async fn message(&mut self) -> Vec<u8> {
        assert_eq!(self.0.read_u8().await.unwrap(), b'p');
        self.startup().await
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }
}

/// Logs in against a script.
async fn against<F: Future<Output = ()> + Send + 'static>(
    target: &Target,
    script: impl FnOnce(Fake) -> F,
) -> Result<Connected, ConnectError> {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let server = tokio::spawn(script(Fake(far)));
    let settings = [("application_name".into(), "test".into())];
    let done =
        within(target.connect_timeout, login::login(Stream::new(Transport::pipe(near)), target, &settings))
            .await;
    server.await.unwrap();
    done
}

#[tokio::test]
async fn trust_collects_what_the_server_tells() {
    let connected = against(&target(Credentials::None), async |mut fake| {
        let packet = fake.startup().await;
        assert_eq!(packet, b"\0\x03\0\0user\0alice\0database\0app\0application_name\0test\0\0");
        fake.say(&[welcome(), b"late".to_vec()].concat()).await;
    })
    .await
    .unwrap();
    assert_eq!(
        connected.parameters,
        [("server_version".into(), "15.4".into()), ("TimeZone".into(), "Asia/Tokyo".into())]
    );
    assert_eq!(
        (connected.pid, &*connected.secret, &connected.unread[..]),
        (7, &[1, 2, 3, 4][..], &b"late"[..])
    );
}

#[tokio::test]
async fn byte_by_byte_is_the_same() {
    let connected = against(&target(Credentials::None), async |mut fake| {
        fake.startup().await;
        for byte in welcome() {
            fake.say(&[byte]).await;
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!((connected.parameters.len(), connected.pid), (2, 7));
}

#[tokio::test]
async fn answers_cleartext_and_md5() {
    for (credentials, code, salt, answer) in [
        (password("secret"), 3, &b""[..], &b"secret\0"[..]),
        (password("secret"), 5, b"\x01\x02\x03\x04", b""),
    ] {
        let answer = match code {
            5 => [
                postgres_protocol::authentication::md5_hash(b"alice", b"secret", [1, 2, 3, 4]).as_bytes(),
                b"\0",
            ]
            .concat(),
            _ => answer.to_vec(),
        };
        against(&target(credentials), async move |mut fake| {
            fake.startup().await;
            fake.say(&request(code, salt)).await;
            assert_eq!(fake.message().await, answer);
            fake.say(&welcome()).await;
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_stored_md5_hash_answers_as_its_password_does() {
    let stored = postgres_protocol::password::md5(b"secret", "alice");
    against(&target(Credentials::Md5(Md5Hash(stored.into()))), async |mut fake| {
        fake.startup().await;
        fake.say(&request(5, &[9, 8, 7, 6])).await;
        let expected = postgres_protocol::authentication::md5_hash(b"alice", b"secret", [9, 8, 7, 6]);
        assert_eq!(fake.message().await, [expected.as_bytes(), b"\0"].concat());
        fake.say(&welcome()).await;
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_is_not_known_is_said() {
    let keys = Keys { client_key: [0; 32], server_key: [0; 32] };
    for (credentials, ask) in [
        (Credentials::None, request(3, b"")),
        (Credentials::None, request(5, b"salt")),
        (Credentials::None, request(10, b"SCRAM-SHA-256\0\0")),
        (Credentials::ScramKeys(keys.clone()), request(3, b"")),
        (Credentials::ScramKeys(keys), request(5, b"salt")),
        (Credentials::Md5(Md5Hash("md5".into())), request(10, b"SCRAM-SHA-256\0\0")),
        (password("x"), request(10, b"SCRAM-SHA-1\0\0")),
        (password("x"), request(7, b"")),
    ] {
        let error = against(&target(credentials), async move |mut fake| {
            fake.startup().await;
            fake.say(&ask).await;
        })
        .await
        .unwrap_err();
        assert!(matches!(error, ConnectError::Auth(_)), "{error}");
    }
}

/// The server's side of SCRAM, enough to answer one client; `lie` makes its signature wrong.
async fn scram_server(fake: &mut Fake, keys: &Keys, salt: &str, lie: bool) {
    use aws_lc_rs::hmac;
    use base64::Engine;
    fake.say(&request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")).await;
    let first = String::from_utf8(fake.message().await.split_off(18)).unwrap();
    let client_first = first.strip_prefix("n,,").unwrap().to_string();
    let nonce = format!("{}abc", client_first.strip_prefix("n=,r=").unwrap());
    let server_first = format!("r={nonce},s={salt},i=32");
    fake.say(&request(11, server_first.as_bytes())).await;
    let last = String::from_utf8(fake.message().await).unwrap();
    let without_proof = last.rsplit_once(",p=").unwrap().0;
    let whole = format!("{client_first},{server_first},{without_proof}");
    let key = if lie { [0; 32] } else { keys.server_key };
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), whole.as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(signature);
    fake.say(&request(12, format!("v={signature}").as_bytes())).await;
}

#[tokio::test]
async fn scram_by_password_and_by_keys() {
    let keys = Keys::derive("secret", b"salt", NonZeroU32::new(32).unwrap());
    for credentials in [password("secret"), Credentials::ScramKeys(keys.clone())] {
        let keys = keys.clone();
        against(&target(credentials), async move |mut fake| {
            fake.startup().await;
            scram_server(&mut fake, &keys, "c2FsdA==", false).await;
            fake.say(&welcome()).await;
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn an_impostor_is_found_out() {
    let keys = Keys::derive("secret", b"salt", NonZeroU32::new(32).unwrap());
    let error = against(&target(password("secret")), async move |mut fake| {
        fake.startup().await;
        scram_server(&mut fake, &keys, "c2FsdA==", true).await;
    })
    .await
    .unwrap_err();
    assert_eq!(error, ConnectError::Auth("incorrect server signature".into()));
    let error = against(&target(password("secret")), async |mut fake| {
        fake.startup().await;
        fake.say(&request(10, b"SCRAM-SHA-256\0\0")).await;
        fake.message().await;
        fake.say(&welcome()).await;
    })
    .await
    .unwrap_err();
    assert!(matches!(error, ConnectError::Auth(_)), "{error}");
}

#[tokio::test]
async fn requests_out_of_order_are_refused() {
    for ask in
        [request(11, b""), request(12, b""), request(5, b"xxx"), frame(b'R', b"\0\0"), frame(b'Z', b"I")]
    {
        let error = against(&target(password("x")), async move |mut fake| {
            fake.startup().await;
            fake.say(&ask).await;
        })
        .await
        .unwrap_err();
        assert!(matches!(error, ConnectError::Protocol(_)), "{error}");
    }
}

#[tokio::test]
async fn the_servers_refusal_is_kept_whole() {
    let error = against(&target(Credentials::None), async |mut fake| {
        fake.startup().await;
        fake.say(&frame(b'E', b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0")).await;
    })
    .await
    .unwrap_err();
    let ConnectError::Server(server) = &error else { panic!("{error}") };
    assert_eq!(server.message, "sorry, too many clients already".into());
    assert_eq!((error.sqlstate(), error.retryable()), ("53300", true));
    assert_eq!(error.to_string(), "FATAL: sorry, too many clients already (SQLSTATE 53300)");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_the_timeout_and_no_more() {
    let begun = tokio::time::Instant::now();
    let (near, _far) = tokio::io::duplex(1024);
    let target = target(Credentials::None);
    let error =
        within(target.connect_timeout, login::login(Stream::new(Transport::pipe(near)), &target, &[])).await;
    assert_eq!(error.unwrap_err(), ConnectError::Timeout);
    assert_eq!(begun.elapsed(), target.connect_timeout);
}

#[tokio::test]
async fn nothing_grows_without_bound() {
    let flood =
        (0..2000).flat_map(|n| frame(b'S', format!("name{n}\0value\0").as_bytes())).collect::<Vec<_>>();
    for bytes in [
        frame(b'K', &[0; 4 + 257]),
        frame(b'K', &[0; 4 + 3]),
        frame(b'S', b"no end"),
        vec![b'S', 0x7f, 0xff, 0xff, 0xff],
        vec![b'S', 0xff, 0xff, 0xff, 0xff],
        vec![b'S', 0, 0, 0, 3],
        flood,
    ] {
        let error = against(&target(Credentials::None), async move |mut fake| {
            fake.startup().await;
            fake.say(&[request(0, b""), bytes].concat()).await;
        })
        .await
        .unwrap_err();
        assert!(matches!(error, ConnectError::Protocol(_)), "{error}");
    }
}

#[tokio::test]
async fn a_zero_byte_never_leaves() {
    let (near, _far) = tokio::io::duplex(1024);
    let settings = [("a".into(), "b\0user\0root".into())];
    let done = login::login(Stream::new(Transport::pipe(near)), &target(Credentials::None), &settings).await;
    assert!(matches!(done, Err(ConnectError::Protocol(_))));
}

#[tokio::test]
async fn a_refusal_of_tls_counts_by_mode() {
    let tls = pgherd_net::tls::client::ClientTls::load(
        pgherd_net::tls::client::Verify::Nothing,
        pgherd_net::tls::client::ClientFiles::default(),
    )
    .unwrap();
    for (answer, encryption, good) in [
        (b'N', Encryption::IfOffered, true),
        (b'N', Encryption::Always, false),
        (b'E', Encryption::IfOffered, false),
        (b'R', Encryption::IfOffered, false),
    ] {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(&[answer]).await.unwrap();
        let opened = dial::encrypt(Transport::pipe(near), &tls, "localhost", encryption).await;
        assert_eq!(opened.is_ok(), good, "{opened:?}");
        let mut request = [0; 8];
        far.read_exact(&mut request).await.unwrap();
        assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
    }
    // Bytes in clear behind the S are taken for the handshake, never for the conversation.
    let (near, mut far) = tokio::io::duplex(1024);
    far.write_all(&[&b"S"[..], &welcome()].concat()).await.unwrap();
    let opened = dial::encrypt(Transport::pipe(near), &tls, "localhost", Encryption::IfOffered).await;
    assert!(matches!(opened, Err(ConnectError::Tls(_))), "{opened:?}");
}

#[test]
fn secrets_do_not_show() {
    let keys = Keys { client_key: [77; 32], server_key: [78; 32] };
    for credentials in
        [password("topsecret"), Credentials::Md5(Md5Hash("topsecret".into())), Credentials::ScramKeys(keys)]
    {
        let shown = format!("{:?}", target(credentials));
        assert!(!shown.contains("topsecret") && !shown.contains("77"), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn garbage_ends_in_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300), framed in any::<bool>()) {
        let _ = ServerError::parse(&bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bytes = if framed { frame(b"RSKEZNv"[bytes.len() % 7], &bytes) } else { bytes };
            let (near, mut far) = tokio::io::duplex(64 * 1024);
            far.write_all(&bytes).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut far).await.unwrap();
            let target = target(password("x"));
            let done = login::login(Stream::new(Transport::pipe(near)), &target, &[]).await;
            assert!(done.is_err());
        });
    }
}
