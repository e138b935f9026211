//! A small cluster and a pgherd without users of its own.

use pgherd_lab::front::{Front, FrontOptions, Ports};
use pgherd_lab::lab::Lab;
use pgherd_lab::options::{Auth, Options, Tls};
use pgherd_tests::stand::executable;
use std::time::Duration;

/// The page that has the function which looks users up, and the account that may call it.
const PAGE: &str = include_str!("../../../docs/authentication.md");

/// Users.
const USERS: &str = "
SET password_encryption = 'scram-sha-256';
CREATE ROLE carol LOGIN PASSWORD 'one';
CREATE ROLE dave LOGIN PASSWORD 'one';
CREATE ROLE late LOGIN PASSWORD 'one' VALID UNTIL '2001-01-01';
CREATE ROLE root_like SUPERUSER LOGIN PASSWORD 'one';
SET password_encryption = 'md5';
CREATE ROLE hashed LOGIN PASSWORD 'one';
";

pub(crate) struct House {
    // First, so that the proxy ends before its servers.
    pub(crate) front: Front,
    pub(crate) lab: Lab,
}

impl House {
    /// Builds everything; `settings` are for `pgherd.toml`, made when the cluster's directory is known.
    pub(crate) async fn build(settings: impl FnOnce(&Lab) -> Vec<(&'static str, String)>) -> House {
        // With TLS on the way to the servers, so that proofs are bound to it.
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let directory = std::env::temp_dir().join(format!(
            "pgherd-auth-tls-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&directory).unwrap();
        let (certificate, key) = (directory.join("crt"), directory.join("key"));
        std::fs::write(&certificate, issued.cert.pem()).unwrap();
        std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
        let options = Options {
            tls: Some(Tls { certificate, key }),
            prefix: "pgherd-auth".to_owned(),
            replicas: 1,
            // The servers take what is stored, hash or verifier.
            auth: Auth::Md5,
            ..Options::default()
        };
        let lab = Lab::start(options).await.unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        let lookup = PAGE.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let lookup = lookup.replace("PASSWORD '...'", "PASSWORD 'lookup'");
        lab.primary().sql("postgres", &format!("{lookup}{USERS}")).await.unwrap();
        let settings = settings(&lab).into_iter().map(|(section, line)| (section.to_owned(), line)).collect();
        let options = FrontOptions {
            executable: executable().unwrap(),
            ports: Ports::free().unwrap(),
            cluster: "house".to_owned(),
            users: Vec::new(),
            settings,
        };
        let front = Front::start(&lab, &options).await.unwrap();
        House { front, lab }
    }

    /// Runs one statement by psql through the primary's port; its answer, or what it said.
    pub(crate) async fn psql(&self, user: &str, password: &str, sql: &str) -> Result<String, String> {
        let port = self.front.ports().primary.to_string();
        let words = [("PGHOST", "127.0.0.1"), ("PGPORT", &*port), ("PGUSER", user), ("PGPASSWORD", password)];
        self.psql_with(&words, sql).await
    }

    /// The same with libpq's environment.
    pub(crate) async fn psql_with(&self, words: &[(&str, &str)], sql: &str) -> Result<String, String> {
        let nursery = self.lab.nursery();
        let mut command = nursery.command(&self.lab.binaries().tool("psql").unwrap());
        command.args(["-X", "-w", "-A", "-t", "-q", "-d", "postgres", "-c", sql]);
        command.envs(words.iter().copied()).env("PGCONNECT_TIMEOUT", "20");
        let answer = nursery.run("psql", command, Duration::from_secs(30)).await;
        answer.map(|text| text.trim().to_owned()).map_err(|error| error.to_string())
    }

    /// What pgherd wrote to its log.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.front.log()).unwrap()
    }

    pub(crate) async fn sql(&self, text: &str) -> String {
        self.lab.primary().sql("postgres", text).await.unwrap()
    }

    /// Ends the server connections of a user, so that the next statement needs a new one.
    pub(crate) async fn cut(&self, user: &str) {
        let text =
            format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{user}'");
        self.sql(&text).await;
    }

    pub(crate) async fn end(self) {
        self.front.shutdown().await.unwrap();
        self.lab.shutdown().await.unwrap();
    }
}
