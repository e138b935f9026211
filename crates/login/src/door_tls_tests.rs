use super::*;
use pgherd_net::tls::ServerTls;
use pgherd_net::tls::client::{ClientFiles, ClientTls, Verify};
use pgherd_net::transport::Plain;
use rustls::pki_types::{CertificateDer, ServerName};

pub(super) fn tls() -> Arc<ServerTls> {
    tls_and_certificate().0
}

/// TLS with a fresh certificate, and that certificate.
fn tls_and_certificate() -> (Arc<ServerTls>, CertificateDer<'static>) {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let directory = std::env::temp_dir().join(format!(
        "pgherd-door-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&directory).unwrap();
    let (certificate, key) = (directory.join("crt"), directory.join("key"));
    std::fs::write(&certificate, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let tls = ServerTls::load(&certificate, &key, None).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    (Arc::new(tls), issued.cert.der().clone())
}

async fn over_tls(
    policy: fn(Arc<ServerTls>) -> TlsPolicy,
    request: bool,
    first: &'static [u8],
) -> (Arrival, Vec<u8>) {
    let client = ClientTls::load(Verify::Nothing, ClientFiles::default()).unwrap();
    let settings = Settings { tls: policy(tls()), ..settings(Method::ScramSha256) };
    meet(settings, remote(), |mut stream| async move {
        if request {
            stream.write_all(SSL).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'S');
        }
        let mut transport = client.connect(Plain::Pipe(stream), "localhost").await.unwrap();
        transport.write_all(first).await.unwrap();
        transport.write_all(&hello("plain")).await.unwrap();
        transport.flush().await.unwrap();
        let mut answer = vec![0; 1024];
        let count = transport.read(&mut answer).await.unwrap();
        answer.truncate(count);
        answer
    })
    .await
}

#[tokio::test]
async fn tls_by_request_and_straight_away_offers_plus() {
    for policy in [TlsPolicy::Prefer, TlsPolicy::Require] {
        for request in [true, false] {
            let (_, answer) = over_tls(policy, request, b"").await;
            assert_eq!(&answer[9..], b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
        }
    }
    // Inside TLS there is no second TLS.
    let (_, answer) = over_tls(TlsPolicy::Prefer, true, SSL).await;
    assert_eq!(refusal(&answer[..]).0, "0A000");
}

#[tokio::test]
async fn without_tls_plus_is_not_offered() {
    let (_, answer) = say(settings(Method::ScramSha256), remote(), &hello("plain")).await;
    assert_eq!(&answer[9..], b"SCRAM-SHA-256\0\0");
    // Unix sockets get none, and are not refused for it.
    let required = Settings { tls: TlsPolicy::Require(tls()), ..trusting() };
    let (arrival, _) = say(required.clone(), Peer::Unix(None), &hello("alice")).await;
    client(arrival);
    let (_, answer) = say(required, Peer::Unix(None), SSL).await;
    assert_eq!(answer, b"N");
}

#[tokio::test]
async fn plaintext_behind_the_request_never_counts_as_encrypted() {
    let settings = Settings { tls: TlsPolicy::Prefer(tls()), ..trusting() };
    let (arrival, answer) = say(settings.clone(), remote(), &[SSL, &hello("alice")].concat()).await;
    assert!(matches!(arrival, Arrival::Gone));
    assert_eq!((answer[0], refusal(&answer).0.as_str()), (b'S', "08P01"));
    // The same bytes a moment later meet the handshake.
    let (arrival, ()) = meet(settings, remote(), |mut stream| async move {
        stream.write_all(SSL).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        stream.write_all(&hello("alice")).await.unwrap();
    })
    .await;
    assert!(matches!(arrival, Arrival::Gone));
}

#[tokio::test]
async fn direct_tls_must_name_the_protocol() {
    for (names, request, welcome) in [
        (&[][..], false, false),
        (&[&b"postgresql"[..]][..], false, true),
        (&[b"h2", b"postgresql"], false, true),
        (&[b"h2"], false, false),
        (&[], true, true),
        (&[b"h2"], true, false),
    ] {
        let (tls, certificate) = tls_and_certificate();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(pgherd_net::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let settings = Settings { tls: TlsPolicy::Prefer(tls), ..trusting() };
        let (arrival, ()) = meet(settings, remote(), |mut stream| async move {
            if request {
                stream.write_all(SSL).await.unwrap();
                assert_eq!(stream.read_u8().await.unwrap(), b'S');
            }
            let name = ServerName::try_from("localhost").unwrap();
            if let Ok(mut stream) = connector.connect(name, stream).await {
                let _ = stream.write_all(&hello("alice")).await;
                let _ = stream.flush().await;
            }
        })
        .await;
        assert_eq!(matches!(arrival, Arrival::Client(_)), welcome, "{names:?} {request}");
    }
}
