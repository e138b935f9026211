//! Clients that are known without a password: by a certificate, by the user of the operating system.

use crate::house::House;
use pgherd_lab::directory::write_private;
use pgherd_lab::lab::Lab;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::time::Duration;

const WHO: &str = "SELECT current_user";

/// An authority, and where its certificates go.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority { params, key: KeyPair::generate().unwrap() }
    }

    fn pem(&self) -> String {
        self.params.self_signed(&self.key).unwrap().pem()
    }

    /// Writes NAME.crt and NAME.key for a common name.
    fn issue(&self, lab: &Lab, file: &str, common_name: &str, expired: bool) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        if expired {
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        write(lab, &format!("{file}.crt"), &leaf.pem());
        write(lab, &format!("{file}.key"), &key.serialize_pem());
    }
}

fn at(lab: &Lab, file: &str) -> PathBuf {
    lab.directory().join(file)
}

fn write(lab: &Lab, file: &str, text: &str) {
    write_private(&at(lab, file), text, lab.nursery().account()).unwrap();
}

const USERS: &str = r#"name = "carol"
server_password = "one"
[[user]]
name = "dave"
auth = "peer"
server_password = "one"
[[user]]
name = "other"
auth = "peer"
[[user]]
name = "full"
password = "two"
auth = "scram-sha-256"
clientcert = "verify-full"
server_user = "carol"
server_password = "one"
[[user]]
name = "any"
password = "two"
auth = "scram-sha-256"
clientcert = "verify-ca"
server_user = "carol"
server_password = "one""#;

fn settings(lab: &Lab, authority: &Authority) -> Vec<(&'static str, String)> {
    write(lab, "ca.crt", &authority.pem());
    authority.issue(lab, "server", "server", false);
    for (file, common_name, expired) in [
        ("carol", "carol", false),
        ("mapped", "Carol of Sales", false),
        ("dave", "dave", false),
        ("full", "full", false),
        ("late", "carol", true),
    ] {
        authority.issue(lab, file, common_name, expired);
    }
    Authority::new("foreign").issue(lab, "foreign", "carol", false);
    let system = lab.nursery().account().name();
    let maps = format!(
        "# map system user\ncerts carol carol\ncerts full full\ncerts \"Carol of Sales\" carol\nstaff {system} dave\n"
    );
    write(lab, "ident.conf", &maps);
    let path = |file: &str| toml::Value::from(at(lab, file).display().to_string()).to_string();
    let sockets = lab.nursery();
    std::fs::create_dir(at(lab, "doors")).unwrap();
    sockets.account().own(&at(lab, "doors")).unwrap();
    vec![
        ("listen", format!("certificate = {}", path("server.crt"))),
        ("listen", format!("key = {}", path("server.key"))),
        ("listen", format!("client_ca = {}", path("ca.crt"))),
        ("listen", format!("unix_socket_dir = {}", path("doors"))),
        ("auth", "method = \"cert\"".to_owned()),
        ("auth", format!("ident_file = {}", path("ident.conf"))),
        ("auth", "cert_map = \"certs\"".to_owned()),
        ("auth", "peer_map = \"staff\"".to_owned()),
        ("[user]", USERS.to_owned()),
    ]
}

/// psql with a certificate, or without one.
async fn show(house: &House, user: &str, badge: Option<&str>, password: &str) -> Result<String, String> {
    let port = house.front.ports().primary.to_string();
    let file = |ending: &str| {
        badge
            .map_or(String::new(), |badge| at(&house.lab, &format!("{badge}.{ending}")).display().to_string())
    };
    let (certificate, key) = (file("crt"), file("key"));
    let words = [
        ("PGHOST", "localhost"),
        ("PGPORT", &*port),
        ("PGUSER", user),
        ("PGPASSWORD", password),
        ("PGSSLMODE", "require"),
        ("PGSSLCERT", &*certificate),
        ("PGSSLKEY", &*key),
    ];
    house.psql_with(&words, WHO).await
}

#[tokio::test]
async fn a_certificate_or_the_system_says_who_somebody_is() {
    let authority = Authority::new("ours");
    let house = House::build(|lab| settings(lab, &authority)).await;
    certificates(&house).await;
    beside_a_password(&house).await;
    system_users(&house).await;
    version_one(&house, &authority).await;
    reload(&house).await;
    house.end().await;
}

async fn certificates(house: &House) {
    for badge in ["carol", "mapped"] {
        assert_eq!(show(house, "carol", Some(badge), "").await.as_deref(), Ok("carol"), "{badge}");
    }
    for (user, badge, words) in [
        ("carol", None, "FATAL:  connection requires a valid client certificate"),
        ("carol", Some("dave"), "FATAL:  certificate authentication failed for user \"carol\""),
        // A map was named, so only the map counts.
        ("nobody", Some("carol"), "FATAL:  certificate authentication failed for user \"nobody\""),
        ("carol", Some("foreign"), "alert unknown ca"),
        ("carol", Some("late"), "certificate expired"),
    ] {
        let told = show(house, user, badge, "").await.unwrap_err();
        assert!(told.contains(words), "{user} {badge:?}: {told}");
    }
    let said = house.said();
    assert!(said.contains("the certificate is of \\\"dave\\\"") && said.contains("is not valid"), "{said}");
}

async fn beside_a_password(house: &House) {
    for (user, badge) in [("full", "full"), ("any", "full"), ("any", "dave")] {
        assert_eq!(show(house, user, Some(badge), "two").await.as_deref(), Ok("carol"), "{user} {badge}");
    }
    for (user, badge, password, words) in [
        ("full", Some("full"), "wrong", "password authentication failed for user \"full\""),
        ("full", Some("dave"), "two", "password authentication failed for user \"full\""),
        ("full", None, "two", "connection requires a valid client certificate"),
        ("any", None, "two", "connection requires a valid client certificate"),
    ] {
        let told = show(house, user, badge, password).await.unwrap_err();
        assert!(told.contains(words), "{user} {badge:?}: {told}");
    }
    assert!(house.said().contains("the certificate is another's"), "{}", house.said());
}

async fn system_users(house: &House) {
    let doors = at(&house.lab, "doors").display().to_string();
    let port = house.front.ports().primary.to_string();
    let words = |user: &'static str| {
        [("PGHOST", doors.clone()), ("PGPORT", port.clone()), ("PGUSER", user.to_owned())]
    };
    let knock = async |user| {
        let words = words(user);
        let words: Vec<(&str, &str)> = words.iter().map(|(name, value)| (*name, value.as_str())).collect();
        house.psql_with(&words, WHO).await
    };
    assert_eq!(knock("dave").await.as_deref(), Ok("dave"));
    let told = knock("other").await.unwrap_err();
    assert!(told.contains("FATAL:  peer authentication failed for user \"other\""), "{told}");
    assert!(house.said().contains("the process runs as"), "{}", house.said());
    let told = knock("carol").await.unwrap_err();
    assert!(told.contains("connection requires a valid client certificate"), "{told}");
    // By TCP nobody is believed to be whom the system says.
    let told = show(house, "dave", None, "one").await.unwrap_err();
    assert!(told.contains("password authentication failed for user \"dave\""), "{told}");
}

/// As PostgreSQL's own instructions make them; skipped where there is no openssl.
async fn version_one(house: &House, authority: &Authority) {
    write(&house.lab, "ca.key", &authority.key.serialize_pem());
    let path = |file: &str| at(&house.lab, file).display().to_string();
    let run = async |line: String| {
        let mut command = house.lab.nursery().command("openssl".as_ref());
        command.args(line.split(' '));
        house
            .lab
            .nursery()
            .run("openssl", command, Duration::from_secs(20))
            .await
            .map_err(|error| error.to_string())
    };
    let (key, request, leaf) = (path("old.key"), path("old.csr"), path("old.crt"));
    let made =
        run(format!("req -new -nodes -newkey rsa:2048 -subj /CN=carol -keyout {key} -out {request}")).await;
    if let Err(why) = made {
        eprintln!("skipped: {why}");
        return;
    }
    let (ca, ca_key) = (path("ca.crt"), path("ca.key"));
    run(format!("x509 -req -days 2 -in {request} -CA {ca} -CAkey {ca_key} -set_serial 7 -out {leaf}"))
        .await
        .unwrap();
    assert_eq!(show(house, "carol", Some("old"), "").await.as_deref(), Ok("carol"));
}

/// Another authority takes over under the same name of the file.
async fn reload(house: &House) {
    let next = Authority::new("next");
    write(&house.lab, "ca.crt", &next.pem());
    next.issue(&house.lab, "new", "carol", false);
    let told = show(house, "carol", Some("new"), "").await.unwrap_err();
    assert!(told.contains("unknown ca"), "{told}");
    let pid = i32::try_from(house.front.pid()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let begun = std::time::Instant::now();
    while show(house, "carol", Some("new"), "").await.as_deref() != Ok("carol") {
        assert!(begun.elapsed().as_secs() < 20, "{}", house.said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let told = show(house, "carol", Some("carol"), "").await.unwrap_err();
    assert!(told.contains("alert"), "{told}");
}
