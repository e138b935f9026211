//! The front door as psql finds it, and the way through it: a proof given to us opens a connection to the server.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test: that is what it is for")]

mod server;

use pgherd_login::door::{Admitted, Arrival, Door, Peer};
use pgherd_login::secret::ClientSecret;
use pgherd_login::settings::{Method, Settings, TlsPolicy};
use pgherd_login::users::{Secret, Users};
use pgherd_net::tls::ServerTls;
use pgherd_net::transport::Transport;
use pgherd_pool::connect::connect;
use pgherd_pool::connect::credentials::{Credentials, Md5Hash, Password};
use pgherd_pool::scram::Keys;
use server::{Server, command};
use std::process::{Output, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Tells an admitted client that it is in, and answers one query with nothing.
async fn serve(mut admitted: Admitted) -> Admitted {
    let mut hello = std::mem::take(&mut admitted.unsent);
    hello.extend_from_slice(b"S\0\0\0\x18server_version\x0015.0\0");
    hello.extend_from_slice(b"S\0\0\0\x19client_encoding\0UTF8\0");
    hello.extend_from_slice(b"K\0\0\0\x0c\0\0\0\x07\x01\x02\x03\x04Z\0\0\0\x05I");
    admitted.transport.write_all(&hello).await.unwrap();
    admitted.transport.flush().await.unwrap();
    let mut query = [0; 256];
    if matches!(admitted.transport.read(&mut query).await, Ok(1..)) {
        let _ = admitted.transport.write_all(b"I\0\0\0\x04Z\0\0\0\x05I").await;
        let _ = admitted.transport.flush().await;
        let _ = admitted.transport.read(&mut query).await;
    }
    admitted
}

/// Runs psql against a door; `sets` are libpq's environment. psql may come twice when it is refused and tries without TLS.
async fn psql(server: &Server, door: Arc<Door>, sets: &[(&str, &str)]) -> (Output, Option<Admitted>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let accept = tokio::spawn(async move {
        loop {
            let (stream, address) = listener.accept().await.unwrap();
            if let Arrival::Client(admitted) =
                door.admit(Transport::tcp(stream.into_std().unwrap()).unwrap(), Peer::Tcp(address)).await
            {
                return serve(*admitted).await;
            }
        }
    });
    let mut client = command("psql", &server.directory);
    client.args(["-X", "-w", "-c", "select 1"]).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    client
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port)
        .env("PGDATABASE", "app")
        .env("HOME", "/nonexistent");
    client.envs(sets.iter().copied());
    let output = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
    if output.status.success() {
        return (output, Some(accept.await.unwrap()));
    }
    accept.abort();
    (output, None)
}

fn settings(server: &Server, method: Method, users: Arc<Users>) -> Settings {
    let data = server.directory.join("data");
    let tls = ServerTls::load(&data.join("server.crt"), &data.join("server.key"), None).unwrap();
    Settings { tls: TlsPolicy::Prefer(Arc::new(tls)), method, users, ..Settings::default() }
}

/// The users as the server stores them.
async fn stored(server: &Server) -> Arc<Users> {
    let file = server.directory.join("userlist.txt");
    let sql = format!(
        "copy (select '\"' || rolname || '\" \"' || rolpassword || '\"' from pg_authid where rolpassword is not null) to '{}'",
        file.display()
    );
    assert!(server.psql(&sql));
    Arc::new(Users::read(&file).unwrap())
}

#[tokio::test]
async fn psql_comes_through_the_door() {
    let server = Server::start();
    let users = stored(&server).await;
    passes(&server, &users).await;
    refusals(&server, &users).await;
}

async fn passes(server: &Server, users: &Arc<Users>) {
    use Method::{Md5, Password as Clear, ScramSha256};
    for (method, user, mode, binding, encrypted) in [
        (ScramSha256, "salted", "disable", "disable", false),
        (ScramSha256, "salted", "prefer", "prefer", true),
        (ScramSha256, "salted", "require", "require", true),
        (Md5, "hashed", "disable", "disable", false),
        (Md5, "salted", "disable", "disable", false),
        (Clear, "salted", "require", "disable", true),
    ] {
        let door = Arc::new(Door::new(settings(server, method, Arc::clone(users))).unwrap());
        let sets =
            [("PGUSER", user), ("PGPASSWORD", "secret"), ("PGSSLMODE", mode), ("PGCHANNELBINDING", binding)];
        let (output, admitted) = psql(server, door, &sets).await;
        let admitted = admitted.unwrap_or_else(|| panic!("{user} {mode} {method:?}: {output:?}"));
        assert_eq!((&*admitted.user, admitted.transport.is_tls()), (user, encrypted));
        assert!(admitted.settings.contains(&("application_name".into(), "psql".into())));
        // What it has shown opens the server, which has the same secret.
        let credentials = match admitted.secret {
            ClientSecret::None => Credentials::None,
            ClientSecret::Password(password) => Credentials::Password(Password::new(password)),
            ClientSecret::Md5(hash) => Credentials::Md5(Md5Hash(hash)),
            ClientSecret::ScramKeys { client_key, server_key } => {
                Credentials::ScramKeys(Keys { client_key, server_key })
            }
        };
        connect(&server.target(user, credentials), &[]).await.unwrap();
    }
    let mut plain = Users::default();
    plain.insert("alice", Secret::parse("pass word"));
    let door = Arc::new(Door::new(settings(server, ScramSha256, Arc::new(plain))).unwrap());
    for _ in 0..2 {
        let sets =
            [("PGUSER", "alice"), ("PGPASSWORD", "pass word"), ("PGOPTIONS", "-c geqo=off --work-mem=1MB")];
        let admitted = psql(server, Arc::clone(&door), &sets).await.1.unwrap();
        let options = [("geqo".into(), "off".into()), ("work_mem".into(), "1MB".into())];
        assert_eq!(admitted.settings[..2], options);
    }
}

async fn refusals(server: &Server, users: &Arc<Users>) {
    let door = Arc::new(Door::new(settings(server, Method::ScramSha256, Arc::clone(users))).unwrap());
    for (user, mode) in
        [("salted", "disable"), ("salted", "require"), ("nobody", "disable"), ("nobody", "require")]
    {
        let sets = [("PGUSER", user), ("PGPASSWORD", "wrong"), ("PGSSLMODE", mode)];
        let (output, admitted) = psql(server, Arc::clone(&door), &sets).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(admitted.is_none());
        assert!(
            told.contains(&format!("FATAL:  password authentication failed for user \"{user}\"")),
            "{told}"
        );
    }
    let TlsPolicy::Prefer(tls) = settings(server, Method::ScramSha256, Arc::clone(users)).tls else {
        unreachable!("made above")
    };
    let strict =
        Settings { tls: TlsPolicy::Require(tls), ..settings(server, Method::ScramSha256, Arc::clone(users)) };
    let door = Arc::new(Door::new(strict).unwrap());
    let sets = [("PGUSER", "salted"), ("PGPASSWORD", "secret"), ("PGSSLMODE", "disable")];
    let (output, _) = psql(server, door, &sets).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("requires TLS"), "{output:?}");
}
