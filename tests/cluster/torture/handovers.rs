//! One process replaces another on the same ports, and nobody is refused.
use crate::house::{House, PASSWORD, USER, last_words, value};
use pgherd_tests::raw::{Raw, query, sqlstate};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A second pgherd with the settings of the first, when it is ready.
fn second(house: &House, log: &Path) -> Child {
    let nursery = house.lab().nursery();
    let mut command = nursery.bound(&pgherd_tests::stand::executable().unwrap());
    command.env_remove("NOTIFY_SOCKET").arg("run").arg("-c").arg(house.front().settings_file());
    let file = std::fs::File::create(log).unwrap();
    command.stdout(Stdio::from(file.try_clone().unwrap())).stderr(Stdio::from(file));
    let child = house.wait(nursery.spawn(command)).unwrap();
    wait_until("the second is ready", || std::fs::read_to_string(log).unwrap().contains("ready in"));
    child
}

fn signal(pid: u32, name: &str) {
    assert!(std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

fn cancel(port: u16, key: &[u8]) {
    let length = u32::try_from(key.len() + 8).unwrap();
    let mut raw = Raw::open(port).unwrap();
    raw.send(&[&length.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), key].concat()).unwrap();
    drop(raw.until_ready());
}

/// Stops the visitors, also when the test fails: it would wait for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client that connects, asks and leaves, again and again; what went wrong.
fn come_and_go(port: u16, stop: &AtomicBool, visits: &AtomicUsize, faults: &Mutex<Vec<String>>) {
    while !stop.load(Ordering::Relaxed) {
        let asked = Raw::connect(port, &[("user", USER), ("database", USER)], PASSWORD).map(|mut raw| {
            let events = raw.query("SELECT 1");
            (raw.is_in() && sqlstate(&events).is_empty(), events, raw.login)
        });
        match asked {
            Ok((true, ..)) => drop(visits.fetch_add(1, Ordering::Relaxed)),
            other => faults.lock().unwrap().push(format!("{other:?}")),
        }
    }
}

#[test]
fn a_new_process_takes_over_and_nobody_is_refused() {
    let directory = std::env::temp_dir().join(format!("pgherd-handovers-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    // pgherd may run as another user than this test.
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    let (shared, sockets) = (directory.join("handover"), directory.display());
    let handover = format!("handover_dir = \"{}\"", shared.display());
    let unix = format!("unix_socket_dir = \"{sockets}\"");
    let grace = "shutdown_grace = \"20s\"";
    let mut house = House::start(&[
        ("server", handover.as_str()),
        ("server", grace),
        ("listen", unix.as_str()),
        ("pool", "max_pool_size = 8"),
    ]);
    let (port, log) = (house.port(), directory.join("second.log"));
    let (stop, visits, faults) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::default());
    let mut idle = house.client();
    let mut long = house.client();
    let long_key = long.key().unwrap();
    long.send(&query("SELECT pg_sleep(60)")).unwrap();
    let mut new = std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        for _ in 0..3 {
            scope.spawn(|| come_and_go(port, &stop, &visits, &faults));
        }
        let new = second(&house, &log);
        // Sessions of both, cancelled through whichever process the request reaches.
        for _ in 0..12 {
            let mut raw = house.client();
            raw.send(&query("SELECT pg_sleep(60)")).unwrap();
            // A request that comes before the query has a server hits nothing, as in PostgreSQL.
            raw.patience = Duration::from_millis(500);
            wait_until("a query is cancelled", || {
                cancel(port, &raw.key().unwrap());
                sqlstate(&raw.until_ready()) == "57014"
            });
            raw.patience = PATIENCE;
            assert_eq!(value(&mut raw, "SELECT 2"), "2");
        }
        house.signal("-TERM");
        assert_eq!(last_words(&mut idle), "57P01");
        // Only the new one listens now, and the session is the old one's.
        let mut front = house.front.take().unwrap();
        assert!(front.is_running());
        cancel(port, &long_key);
        assert_eq!(sqlstate(&long.until_ready()), "57014");
        wait_until("the old one ends", || !front.is_running());
        let so_far = visits.load(Ordering::Relaxed);
        wait_until("the new one serves", || visits.load(Ordering::Relaxed) > so_far + 20);
        let (status, _) = house.wait(front.get("/readiness")).unwrap();
        assert_eq!(status, 200);
        new
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} of {visits:?} visits: {faults:?}", faults.len());
    let socket = directory.join(format!(".s.PGSQL.{port}"));
    assert!(UnixStream::connect(&socket).is_ok(), "the Unix socket went over too");
    signal(new.id(), "-TERM");
    wait_until("the new one ends", || new.try_wait().unwrap().is_some());
    assert!(!socket.exists() && std::fs::read_dir(&shared).unwrap().next().is_none(), "nothing is left");
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("taken over") && !said.contains("panicked"), "{said}");
    let lab = house.lab.take().unwrap();
    house.wait(lab.shutdown()).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
}
