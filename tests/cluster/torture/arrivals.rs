//! Those who come to the door and mean no good, or have the wrong papers.
use crate::house::{House, PASSWORD, USER, value};
use pgherd_tests::raw::{Event, Raw, sqlstate, startup, tags};
use pgherd_tests::stand::executable;
use std::io::Read;
use std::time::{Duration, Instant};
use tokio_postgres::{Config, NoTls};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Startup packets that make no sense, each with the SQLSTATE PostgreSQL has for it, or none where it only closes.
fn nonsense() -> Vec<Vec<u8>> {
    let mut all = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0; 64],
        vec![255; 64],
        vec![0, 0, 0, 4],
        vec![0, 0, 0, 7, 0, 3, 0],
        vec![0, 0, 0, 8, 0, 3, 0, 0],
        vec![0, 0, 0, 9, 0, 3, 0, 0, 0],
        vec![0, 0, 0, 8, 0, 2, 0, 0],
        vec![0, 1, 0, 0, 0, 3, 0, 0],
        vec![0x7f, 255, 255, 255, 0, 3, 0, 0],
        // Names without values, and without an end.
        b"\0\0\0\x0d\0\x03\0\0user\0".to_vec(),
        b"\0\0\0\x0c\0\x03\0\0user".to_vec(),
        b"\0\0\0\x10\0\x03\0\0user\0a\0x".to_vec(),
        // A cancel request that is too short, and one that is too long.
        vec![0, 0, 0, 12, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 1],
        vec![0, 0, 2, 0, 0x04, 0xd2, 0x16, 0x2e],
        // A client hello of a TLS that nobody serves.
        vec![0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3],
    ];
    all.push([&SSL_REQUEST[..], &[0xde; 50]].concat());
    all.push([&SSL_REQUEST[..], &SSL_REQUEST, &SSL_REQUEST].concat());
    all.push(startup(&[("user", ""), ("database", USER)]));
    let many: Vec<(String, String)> = (0..2000).map(|n| (format!("my.s{n}"), "x".repeat(20))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.push(startup(&many));
    all
}

#[test]
fn nonsense_is_shown_the_door() {
    let house = House::start(&[("listen", "login_timeout = \"2s\""), ("pool", "max_pool_size = 2")]);
    let mut client = house.client();
    for packet in nonsense() {
        let mut raw = Raw::open(house.port()).unwrap();
        let _ = raw.send(&packet);
        let begin = Instant::now();
        let mut said = Vec::new();
        raw.stream().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let end = raw.stream().read_to_end(&mut said);
        let timed_out = end.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "{packet:?} is still there after {:?}: {said:?}", begin.elapsed());
        let told = said.strip_prefix(b"N").unwrap_or(&said);
        assert!(told.is_empty() || told[0] == b'E' || told[0] == b'N', "{packet:?}: {said:?}");
        assert_eq!(value(&mut client, "SELECT 1"), "1");
    }
    // One byte at a time, slower than the door is patient.
    let mut slow = Raw::open(house.port()).unwrap();
    let begin = Instant::now();
    for byte in startup(&[("user", USER), ("database", USER)]) {
        if slow.send(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(300));
        assert!(begin.elapsed() < Duration::from_secs(6), "a slow startup is waited for");
    }
    assert_eq!(value(&mut client, "SELECT 1"), "1");
    drop(client);
    house.nothing_left();
    house.close();
}

#[test]
fn a_thousand_silent_guests_keep_nobody_out_for_long() {
    let house = House::start(&[
        ("listen", "login_timeout = \"3s\""),
        ("listen", "max_unauthenticated_connections = 100"),
        ("pool", "max_pool_size = 2"),
    ]);
    let mut client = house.client();
    let before = house.resident();
    let mut silent = Vec::new();
    for n in 0..1000 {
        silent.push(Raw::open(house.port()).unwrap());
        if n % 50 == 0 {
            assert_eq!(value(&mut client, "SELECT 1"), "1");
        }
    }
    let grown = house.resident().saturating_sub(before);
    assert!(grown < 16_000, "grew by {grown} kB");
    // Those above the limit were told so and are gone.
    let mut turned_away = 0;
    for raw in silent.iter_mut().rev().take(800) {
        raw.patience = Duration::from_millis(200);
        let events = raw.until_ready();
        turned_away += usize::from(events.last() == Some(&Event::Closed));
        assert!(["", "53300"].contains(&sqlstate(&events).as_str()), "{events:?}");
    }
    assert!(turned_away >= 700, "only {turned_away} of 800 were turned away");
    let begin = Instant::now();
    while !house.knock().is_in() {
        assert!(begin.elapsed() < Duration::from_secs(6), "silent guests keep others out");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(value(&mut client, "SELECT 1"), "1");
    house.close();
}

#[test]
fn wrong_papers_get_postgresqls_answers() {
    let settings = [("pool", "max_pool_size = 2"), ("pool", "server_connect_timeout = \"2s\"")];
    let house = House::with(&settings, "scram-sha-256", executable().unwrap());
    let port = house.port();
    let knock = |user: &str, password: &str, database: &str, options: &str| {
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user(user).password(password).dbname(database).options(options);
        house.wait(async {
            let (client, connection) = config.connect(NoTls).await?;
            let driver = tokio::spawn(connection);
            let row = client.query_one("SELECT 1", &[]).await?;
            drop(client);
            let _ = driver.await;
            Ok::<i32, tokio_postgres::Error>(row.get(0))
        })
    };
    assert_eq!(knock(USER, PASSWORD, USER, "").unwrap(), 1);
    let mut words = Vec::new();
    for (user, password, database, options, code) in [
        (USER, "wrong", USER, "", "28P01"),
        (USER, "", USER, "", "28P01"),
        ("nobody", PASSWORD, USER, "", "28P01"),
        (USER, PASSWORD, "nowhere", "", "3D000"),
        (USER, PASSWORD, USER, "-c no_such=1", "42704"),
        (USER, PASSWORD, USER, "-c work_mem=1", "22023"),
    ] {
        let error = knock(user, password, database, options).unwrap_err();
        let told = error.as_db_error().unwrap_or_else(|| panic!("{user} {database} {options}: {error}"));
        assert_eq!(told.code().code(), code, "{told:?}");
        assert_eq!(told.severity(), "FATAL");
        words.push(told.message().replace(user, "?"));
    }
    assert_eq!(words[0], words[2], "an unknown user is told apart from a wrong password");
    assert_eq!(knock(USER, PASSWORD, USER, "").unwrap(), 1);
    // A user who is added later.
    house.direct("CREATE ROLE newcomer LOGIN");
    assert!(knock("newcomer", "new", USER, "").is_err());
    let file = house.front().settings_file().to_owned();
    let settings = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{settings}\n[[user]]\nname = \"newcomer\"\npassword = \"new\"\n"))
        .unwrap();
    house.signal("-HUP");
    let begin = Instant::now();
    while knock("newcomer", "new", USER, "").is_err() {
        assert!(begin.elapsed() < Duration::from_secs(8), "{}", house.front().log_tail());
        std::thread::sleep(Duration::from_millis(50));
    }
    // A client that answers SCRAM with silence or nonsense.
    let mut raw = Raw::open(port).unwrap();
    raw.send(&startup(&[("user", USER)])).unwrap();
    assert!(matches!(raw.receive(), Event::Message(message) if message.tag == b'R'));
    raw.send(b"p\0\0\0\x10SCRAM-SHA-256").unwrap();
    let events = raw.until_ready();
    assert!(
        tags(&events).ends_with('.') && ["08P01", "28P01", "28000"].contains(&sqlstate(&events).as_str()),
        "{events:?}"
    );
    house.nothing_left();
    house.close();
}
