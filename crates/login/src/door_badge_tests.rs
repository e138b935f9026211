use super::*;
use crate::ident::Maps;
use crate::settings::{ClientCert, Names};
use pgherd_net::tls::ServerTls;
use pgherd_net::tls::client::{ClientFiles, ClientTls, Verify};
use pgherd_net::transport::Plain;
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A server that knows an authority, and a client with a certificate of it for this common name, or with none.
fn pair(common_name: Option<&str>) -> (Arc<ServerTls>, ClientTls) {
    let directory = std::env::temp_dir().join(format!(
        "pgherd-badge-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&directory).unwrap();
    let at = |name: &str| directory.join(name);
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    std::fs::write(at("ca"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    for (file, name) in [("server", "server"), ("client", common_name.unwrap_or_default())] {
        let (mut params, key) = (CertificateParams::new(Vec::new()).unwrap(), KeyPair::generate().unwrap());
        params.distinguished_name = rcgen::DistinguishedName::new();
        if !name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let leaf = params.signed_by(&key, &Issuer::from_params(&authority, &authority_key)).unwrap();
        std::fs::write(at(&format!("{file}.crt")), leaf.pem()).unwrap();
        std::fs::write(at(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }
    let server = ServerTls::load(&at("server.crt"), &at("server.key"), Some(&at("ca"))).unwrap();
    let (chain, key) = (at("client.crt"), at("client.key"));
    let identity = common_name.map(|_| (chain.as_path(), key.as_path()));
    let client = ClientTls::load(Verify::Nothing, ClientFiles { roots: None, identity }).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    (Arc::new(server), client)
}

/// What a client with this certificate hears when it says only who it is.
async fn knock(rules: Settings, common_name: Option<&str>, user: &str) -> (Arrival, Vec<u8>) {
    let (server, tls) = pair(common_name);
    let rules = Settings { tls: TlsPolicy::Prefer(server), ..rules };
    let hello = hello(user);
    meet(rules, remote(), |mut stream| async move {
        stream.write_all(SSL).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        let mut transport = tls.connect(Plain::Pipe(stream), "localhost").await.unwrap();
        transport.write_all(&hello).await.unwrap();
        transport.flush().await.unwrap();
        let mut answer = vec![0; 1024];
        // Who is let in is told by whoever serves it.
        let read = tokio::time::timeout(Duration::from_millis(300), transport.read(&mut answer)).await;
        answer.truncate(read.map_or(0, |read| read.unwrap_or(0)));
        answer
    })
    .await
}

fn by_certificate() -> Settings {
    Settings { method: Method::Cert, ..Settings::default() }
}

#[tokio::test]
async fn a_certificate_lets_in_whom_it_names() {
    let admitted = client(knock(by_certificate(), Some("alice"), "alice").await.0);
    assert_eq!((&*admitted.user, &admitted.secret), ("alice", &ClientSecret::None));
    for (common_name, words) in [
        (Some("bob"), "certificate authentication failed for user \"alice\""),
        (Some("Alice"), "certificate authentication failed for user \"alice\""),
        (Some(""), "certificate authentication failed for user \"alice\""),
        (Some("alice\0.example"), "certificate authentication failed for user \"alice\""),
        (None, "connection requires a valid client certificate"),
    ] {
        let (arrival, answer) = knock(by_certificate(), common_name, "alice").await;
        assert!(matches!(arrival, Arrival::Gone));
        assert_eq!(refusal(&answer), ("28000".into(), words.into()), "{common_name:?}");
    }
    let map = Maps::parse("m bob alice", "f").unwrap().named("m");
    let mapped = Settings { names: Names { cert: Some(map), peer: None }, ..by_certificate() };
    client(knock(mapped.clone(), Some("bob"), "alice").await.0);
    assert!(matches!(knock(mapped, Some("alice"), "alice").await.0, Arrival::Gone));
}

#[tokio::test]
async fn without_tls_there_is_no_certificate() {
    for peer in [remote(), Peer::Unix(None)] {
        let (_, answer) = say(by_certificate(), peer, &hello("alice")).await;
        assert_eq!(refusal(&answer).1, "connection requires a valid client certificate");
    }
    // What is asked besides is asked of those who come by TCP.
    let besides = Settings { clientcert: ClientCert::VerifyFull, ..trusting() };
    let (_, answer) = say(besides.clone(), remote(), &hello("alice")).await;
    assert_eq!(refusal(&answer).1, "connection requires a valid client certificate");
    client(say(besides, Peer::Unix(None), &hello("alice")).await.0);
}

#[tokio::test]
async fn a_certificate_besides_is_looked_at_with_any_method() {
    for (clientcert, common_name, welcome) in [
        (ClientCert::VerifyCa, Some("bob"), true),
        (ClientCert::VerifyCa, None, false),
        (ClientCert::VerifyFull, Some("alice"), true),
        (ClientCert::VerifyFull, Some("bob"), false),
    ] {
        let rules = Settings { clientcert, ..trusting() };
        let (arrival, _) = knock(rules, common_name, "alice").await;
        assert_eq!(matches!(arrival, Arrival::Client(_)), welcome, "{clientcert:?} {common_name:?}");
    }
}

#[tokio::test]
async fn the_kernel_says_who_is_at_a_unix_socket() {
    use std::os::unix::fs::MetadataExt;
    // Whoever made this file runs this test.
    let file = std::env::temp_dir().join(format!("pgherd-peer-{}", std::process::id()));
    std::fs::write(&file, "").unwrap();
    let uid = std::fs::metadata(&file).unwrap().uid();
    std::fs::remove_file(&file).unwrap();
    let me = uzers::get_user_by_uid(uid).unwrap().name().to_str().unwrap().to_owned();
    let rules = Settings { method: Method::Peer, ..Settings::default() };
    let here = Peer::Unix(Some(uid));
    client(say(rules.clone(), here.clone(), &hello(&me)).await.0);
    for peer in [here.clone(), Peer::Unix(None), Peer::Unix(Some(u32::MAX - 7))] {
        let (arrival, answer) = say(rules.clone(), peer, &hello("somebody else")).await;
        assert!(matches!(arrival, Arrival::Gone));
        let words = "peer authentication failed for user \"somebody else\"";
        assert_eq!(refusal(&answer), ("28000".into(), words.into()));
    }
    // From elsewhere there is nobody to ask.
    let (_, answer) = say(rules.clone(), remote(), &hello(&me)).await;
    assert_eq!(&answer[9..], b"SCRAM-SHA-256\0\0");
    let map = Maps::parse(&format!("m {me} app\nm {me} other"), "f").unwrap().named("m");
    let mapped = Settings { names: Names { cert: None, peer: Some(map) }, ..rules };
    client(say(mapped.clone(), here.clone(), &hello("app")).await.0);
    assert!(matches!(say(mapped, here, &hello(&me)).await.0, Arrival::Gone));
}
