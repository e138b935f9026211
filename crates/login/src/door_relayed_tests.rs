use super::encrypted::tls;
use super::*;
use pgherd_net::tls::client::{ClientFiles, ClientTls, Verify};
use pgherd_net::transport::Plain;

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 5555 5000\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xcb\0\x71\x09\x0a\0\0\x01\x15\xb3\x13\x88\x04\0\x04\0\0\0\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn balancer() -> SocketAddr {
    ([127, 0, 0, 1], 40_000).into()
}

/// As [`meet`], for a socket from a balancer.
async fn relay<T, F: Future<Output = T>>(
    settings: Settings,
    client: impl FnOnce(DuplexStream) -> F,
) -> (Arrival, T) {
    let door = Door::new(settings).unwrap();
    let (near, far) = tokio::io::duplex(256 * 1024);
    let met = tokio::join!(door.admit_relayed(Transport::pipe(far), balancer()), client(near));
    assert_eq!(door.unauthenticated(), 0);
    met
}

async fn say_through(settings: Settings, bytes: &[u8]) -> (Arrival, Vec<u8>) {
    relay(settings, |mut stream| async move {
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        stream
    })
    .await
    .drain()
    .await
}

#[tokio::test]
async fn the_client_behind_a_balancer_counts_wherever_its_bytes_were_cut() {
    for header in [V1, V2] {
        let bytes = [header, &hello("alice")].concat();
        for cut in 0..bytes.len() {
            let (before, behind) = bytes.split_at(cut);
            let (arrival, ()) = relay(trusting(), |mut stream| async move {
                stream.write_all(before).await.unwrap();
                tokio::task::yield_now().await;
                stream.write_all(behind).await.unwrap();
            })
            .await;
            assert_eq!(client(arrival).peer, Peer::Tcp(([203, 0, 113, 9], 5555).into()), "{cut}");
        }
    }
}

#[tokio::test]
async fn trust_is_for_the_client_and_not_for_its_balancer() {
    let settings = Settings { trusted: Trusted::local(), ..settings(Method::ScramSha256) };
    let unknown = b"PROXY UNKNOWN\r\n";
    let here = b"PROXY TCP4 127.0.0.1 127.0.0.1 5555 5000\r\n";
    for (header, trusted) in [(V1, false), (V2, false), (unknown, false), (here, true), (LOCAL, true)] {
        let (arrival, answer) = say_through(settings.clone(), &[header, &hello("plain")].concat()).await;
        assert_eq!(matches!(arrival, Arrival::Client(_)), trusted, "{:?}", String::from_utf8_lossy(header));
        assert_eq!(answer.is_empty(), trusted, "asked for a proof");
    }
}

#[tokio::test]
async fn a_balancer_that_says_nothing_or_something_else_gets_no_answer() {
    for bytes in [&hello("alice")[..], SSL, b"", LOCAL, b"PROXY TCP4", b"PROXY TCP4 x\r\n", &V2[..20]] {
        let (arrival, answer) = say_through(trusting(), bytes).await;
        assert!(matches!(arrival, Arrival::Gone) && answer.is_empty(), "{bytes:?}: {answer:?}");
    }
}

#[tokio::test]
async fn whoever_is_no_balancer_may_send_no_header() {
    for header in [V1, V2, LOCAL] {
        let (arrival, answer) = say(trusting(), remote(), &[header, &hello("alice")].concat()).await;
        assert!(matches!(arrival, Arrival::Gone));
        assert_eq!(refusal(&answer).0, "08P01");
    }
    // Nor a second one behind the first.
    let (arrival, answer) = say_through(trusting(), &[V1, V1, &hello("alice")].concat()).await;
    assert!(matches!(arrival, Arrival::Gone));
    assert_eq!(refusal(&answer).0, "08P01");
}

#[tokio::test(start_paused = true)]
async fn half_a_header_has_until_the_login_timeout() {
    let begin = tokio::time::Instant::now();
    let (arrival, ()) = relay(trusting(), |mut stream| async move {
        stream.write_all(&V2[..20]).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.is_empty());
    })
    .await;
    assert!(matches!(arrival, Arrival::Gone));
    assert_eq!(begin.elapsed(), crate::settings::LOGIN_TIMEOUT);
}

#[tokio::test]
async fn tls_begins_behind_the_header() {
    for header in [V1, V2] {
        let tls_client = ClientTls::load(Verify::Nothing, ClientFiles::default()).unwrap();
        let settings = Settings { tls: TlsPolicy::Require(tls()), ..trusting() };
        let (arrival, ()) = relay(settings, |mut stream| async move {
            stream.write_all(header).await.unwrap();
            stream.write_all(SSL).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'S');
            let mut transport = tls_client.connect(Plain::Pipe(stream), "localhost").await.unwrap();
            transport.write_all(&hello("alice")).await.unwrap();
            transport.flush().await.unwrap();
        })
        .await;
        let admitted = client(arrival);
        assert!(admitted.transport.is_tls());
        assert_eq!(admitted.peer, Peer::Tcp(([203, 0, 113, 9], 5555).into()));
    }
}
