use super::client::{ClientFiles, ClientTls, Verify};
use super::verifier::covers;
use super::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pgherd-tls-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Issued {
    certificate: String,
    key: String,
}

fn self_signed(hosts: &[&str], common_name: &str, ca: bool) -> Issued {
    let (params, key) = (params(hosts, common_name, ca), KeyPair::generate().unwrap());
    Issued { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn params(hosts: &[&str], common_name: &str, ca: bool) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_string()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

/// A certificate issued by an authority, and the authority's own.
fn chain(hosts: &[&str]) -> (Issued, String) {
    let authority_key = KeyPair::generate().unwrap();
    let authority = params(&[], "authority", true);
    let root = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let leaf = params(hosts, "leaf", false).signed_by(&key, &issuer).unwrap();
    (Issued { certificate: leaf.pem(), key: key.serialize_pem() }, root)
}

fn server(dir: &Dir, issued: &Issued) -> ServerTls {
    let certificate = dir.write("server.crt", &issued.certificate);
    let key = dir.write("server.key", &issued.key);
    ServerTls::load(&certificate, &key, None).unwrap()
}

fn client(dir: &Dir, verify: Verify, roots: Option<&str>) -> ClientTls {
    let path = roots.map(|pem| dir.write("root.crt", pem));
    ClientTls::load(verify, ClientFiles { roots: path.as_deref(), identity: None }).unwrap()
}

/// One handshake and one byte each way; `read` bytes of the hello are read before the handshake begins.
async fn greet(server: &ServerTls, client: &ClientTls, host: &str, read: usize) -> io::Result<()> {
    let (near, far) = tokio::io::duplex(4096);
    let material = server.current();
    let serve = tokio::spawn(async move {
        let mut far = far;
        let mut hello = vec![0; read];
        far.read_exact(&mut hello).await?;
        let mut stream = material.accept(Plain::Pipe(far), &hello).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte + 1).await?;
        stream.flush().await
    });
    let mut stream = client.connect(Plain::Pipe(near), host).await?;
    assert!(stream.is_tls());
    stream.write_u8(41).await?;
    stream.flush().await?;
    assert_eq!(stream.read_u8().await?, 42);
    serve.await.unwrap()
}

#[tokio::test]
async fn no_verification_accepts_any_certificate() {
    let dir = Dir::new();
    let server = server(&dir, &self_signed(&["elsewhere"], "x", true));
    let client = client(&dir, Verify::Nothing, None);
    for read in [0, 1, 5, 8, 100] {
        greet(&server, &client, "localhost", read).await.unwrap();
    }
}

#[tokio::test]
async fn verifies_a_chain_and_the_host() {
    let dir = Dir::new();
    let (issued, root) = chain(&["db.example"]);
    let server = server(&dir, &issued);
    let by_issuer = client(&dir, Verify::Issuer, Some(&root));
    let by_host = client(&dir, Verify::IssuerAndHost, Some(&root));
    greet(&server, &by_issuer, "other.example", 0).await.unwrap();
    greet(&server, &by_host, "db.example", 0).await.unwrap();
    let error = greet(&server, &by_host, "other.example", 0).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    let (_, stranger) = chain(&["db.example"]);
    let distrustful = client(&dir, Verify::Issuer, Some(&stranger));
    assert!(greet(&server, &distrustful, "db.example", 0).await.is_err());
}

#[tokio::test]
async fn trusts_a_self_signed_authority_that_serves() {
    let dir = Dir::new();
    let issued = self_signed(&[], "db.example", true);
    let server = server(&dir, &issued);
    let client = client(&dir, Verify::IssuerAndHost, Some(&issued.certificate));
    greet(&server, &client, "DB.example", 0).await.unwrap();
    assert!(greet(&server, &client, "other.example", 0).await.is_err());
}

#[tokio::test]
async fn an_alternative_name_overrides_the_common_name() {
    let dir = Dir::new();
    let issued = self_signed(&["alternative.example"], "db.example", true);
    let server = server(&dir, &issued);
    let client = client(&dir, Verify::IssuerAndHost, Some(&issued.certificate));
    assert!(greet(&server, &client, "db.example", 0).await.is_err());
    greet(&server, &client, "alternative.example", 0).await.unwrap();
}

#[tokio::test]
async fn an_expired_certificate_is_refused_even_when_pinned() {
    let dir = Dir::new();
    let key = KeyPair::generate().unwrap();
    let mut old = params(&["localhost"], "localhost", false);
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let issued = Issued { certificate: old.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
    let server = server(&dir, &issued);
    let client = client(&dir, Verify::Issuer, Some(&issued.certificate));
    assert!(greet(&server, &client, "localhost", 0).await.is_err());
}

/// Version 1 certificates come from `openssl x509 -req` without extensions; the test is skipped where there is no openssl.
#[tokio::test]
async fn accepts_version_one_as_openssl_makes_it() {
    let dir = Dir::new();
    let at = |name: &str| dir.0.join(name).display().to_string();
    let run = |arguments: &[&str]| {
        std::process::Command::new("openssl").args(arguments).output().map(|done| done.status.success())
    };
    let (root, root_key, request) = (at("ca.crt"), at("ca.key"), at("req"));
    let (leaf, key) = (at("v1.crt"), at("v1.key"));
    let made = run(&[
        "req", "-new", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=root",
        "-keyout", &root_key, "-out", &root,
    ]);
    if !matches!(made, Ok(true)) {
        eprintln!("skipped: no openssl here");
        return;
    }
    let subject = ["req", "-new", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=db.example"];
    assert!(run(&[&subject[..], &["-keyout", &key, "-out", &request]].concat()).unwrap());
    let sign = ["x509", "-req", "-days", "2", "-CAcreateserial", "-in", &request, "-CA", &root];
    assert!(run(&[&sign[..], &["-CAkey", &root_key, "-out", &leaf]].concat()).unwrap());

    let server = ServerTls::load(leaf.as_ref(), key.as_ref(), None).unwrap();
    assert_eq!(server.current().end_point().map(<[u8]>::len), Some(32));
    let files = ClientFiles { roots: Some(root.as_ref()), identity: None };
    for (verify, host, good) in [
        (Verify::Nothing, "x", true),
        (Verify::Issuer, "x", true),
        (Verify::IssuerAndHost, "db.example", true),
        (Verify::IssuerAndHost, "x", false),
    ] {
        let client = ClientTls::load(verify, files).unwrap();
        assert_eq!(greet(&server, &client, host, 0).await.is_ok(), good, "{verify:?} {host}");
    }
    let (_, stranger) = chain(&[]);
    let client = client(&dir, Verify::Issuer, Some(&stranger));
    assert!(greet(&server, &client, "x", 0).await.is_err());
}

#[tokio::test]
async fn reload_takes_the_new_certificate_and_survives_a_bad_one() {
    let dir = Dir::new();
    let (old, new) = (self_signed(&["localhost"], "old", false), self_signed(&["localhost"], "new", false));
    let server = server(&dir, &old);
    let before = server.current();
    let trusts_new = client(&dir, Verify::IssuerAndHost, Some(&new.certificate));
    assert!(greet(&server, &trusts_new, "localhost", 0).await.is_err());
    dir.write("server.crt", &new.certificate);
    assert!(matches!(server.reload(), Err(TlsError::Identity(_))), "key and certificate do not match yet");
    assert_eq!(server.current().end_point(), before.end_point());
    dir.write("server.key", &new.key);
    server.reload().unwrap();
    assert_ne!(server.current().end_point(), before.end_point());
    greet(&server, &trusts_new, "localhost", 0).await.unwrap();
    dir.write("server.key", "nonsense");
    let error = server.reload().unwrap_err();
    assert!(error.to_string().contains("server.key"), "{error}");
    greet(&server, &trusts_new, "localhost", 0).await.unwrap();
}

#[tokio::test]
async fn asks_for_a_client_certificate_without_requiring_one() {
    let dir = Dir::new();
    let (issued, root) = chain(&["localhost"]);
    let (certificate, key) =
        (dir.write("server.crt", &issued.certificate), dir.write("server.key", &issued.key));
    let authority = dir.write("ca.crt", &root);
    let server = ServerTls::load(&certificate, &key, Some(&authority)).unwrap();
    let anonymous = ClientTls::load(Verify::Nothing, ClientFiles::default()).unwrap();
    greet(&server, &anonymous, "localhost", 0).await.unwrap();
    let stranger = self_signed(&["someone"], "someone", false);
    let identity = (dir.write("client.crt", &stranger.certificate), dir.write("client.key", &stranger.key));
    let files = ClientFiles { roots: None, identity: Some((&identity.0, &identity.1)) };
    let unknown = ClientTls::load(Verify::Nothing, files).unwrap();
    assert!(greet(&server, &unknown, "localhost", 0).await.is_err());
}

#[tokio::test]
async fn plaintext_is_no_handshake() {
    let dir = Dir::new();
    let server = server(&dir, &self_signed(&["localhost"], "x", false));
    for read in [0, 9] {
        let (mut near, mut far) = tokio::io::duplex(4096);
        near.write_all(b"\0\0\0\x21\0\x03\0\0user\0root\0database\0x\0\0").await.unwrap();
        let mut first = vec![0; read];
        far.read_exact(&mut first).await.unwrap();
        drop(near);
        assert!(server.current().accept(Plain::Pipe(far), &first).await.is_err());
    }
}

#[test]
fn faults_name_the_file() {
    let missing = PathBuf::from("/nonexistent/server.crt");
    let error = ServerTls::load(&missing, &missing, None).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/server.crt"), "{error}");
    let error = ClientTls::load(Verify::Issuer, ClientFiles::default()).unwrap_err();
    assert!(matches!(error, TlsError::NoRoots));
}

#[test]
fn a_star_is_one_label() {
    assert!(covers("*.example.com", "db.example.com"));
    assert!(covers("db.example.com", "DB.EXAMPLE.COM"));
    assert!(!covers("*.example.com", "a.db.example.com"));
    assert!(!covers("*.example.com", "example.com"));
    assert!(!covers("*.com", "example.com"));
    assert!(!covers("*", "localhost"));
}

#[tokio::test]
async fn older_versions_are_refused_where_told() {
    let dir = Dir::new();
    let (issued, root) = chain(&["localhost"]);
    let (certificate, key) =
        (dir.write("server.crt", &issued.certificate), dir.write("server.key", &issued.key));
    let roots = Arc::new(root_store(&dir.write("root.crt", &root)).unwrap());
    for (version, oldest, welcome) in [
        (&rustls::version::TLS12, Oldest::Tls12, true),
        (&rustls::version::TLS13, Oldest::Tls12, true),
        (&rustls::version::TLS12, Oldest::Tls13, false),
        (&rustls::version::TLS13, Oldest::Tls13, true),
    ] {
        let builder = rustls::ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let config = builder.with_root_certificates(Arc::clone(&roots)).with_no_client_auth();
        let server = ServerTls::load_since(oldest, &certificate, &key, None).unwrap();
        // What was told at first holds after a reload.
        server.reload().unwrap();
        let (near, far) = tokio::io::duplex(4096);
        let material = server.current();
        let serve = tokio::spawn(async move { material.accept(Plain::Pipe(far), &[]).await.is_ok() });
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let met = connector.connect("localhost".try_into().unwrap(), near).await.is_ok();
        assert_eq!((met, serve.await.unwrap()), (welcome, welcome), "{version:?} {oldest:?}");
    }
}

#[test]
fn the_first_common_name_counts_wherever_it_stands() {
    let part = |oid: u8, text: &str| {
        let inner = [&[6, 3, 0x55, 4, oid, 0x0c, text.len() as u8][..], text.as_bytes()].concat();
        [&[0x30, inner.len() as u8][..], &inner].concat()
    };
    let set = |parts: &[&[u8]]| {
        let inner = parts.concat();
        [&[0x31, inner.len() as u8][..], &inner].concat()
    };
    let name = |sets: &[Vec<u8>]| {
        let subject = sets.concat();
        let empty: &[u8] = &[];
        let certificate = der::Certificate {
            signed: empty,
            issuer: empty,
            not_before: 0,
            not_after: 0,
            subject: &subject,
            key_info: empty,
            key_algorithm: empty,
            key: empty,
            extensions: empty,
            signature_algorithm: empty,
            signature: empty,
        };
        certificate.common_name().map(str::to_owned)
    };
    let (organization, alice, bob) = (part(10, "us"), part(3, "alice"), part(3, "bob"));
    assert_eq!(name(&[set(&[&organization])]), None);
    assert_eq!(name(&[set(&[&organization]), set(&[&alice])]).as_deref(), Some("alice"));
    assert_eq!(name(&[set(&[&organization, &alice]), set(&[&bob])]).as_deref(), Some("alice"));
}
