//! `pgherd demo` as a person meets it: it works, it ends when asked, and it leaves nothing behind however it ends.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
use pgherd_tests::stand::executable;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Mutex;

/// How long a demo may take to get where a test wants it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two demos started at the same moment may choose the same usual ports, as two people at once would; tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// A directory for temporary files of one test, so that demos of other tests are not its leftovers.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgherd-demotest-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        // The servers' account must be able to pass through it.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn entries(&self) -> usize {
        std::fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn demo(scratch: &Scratch, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = Command::new(executable().unwrap());
    command.arg("demo").args(arguments).env("TMPDIR", &scratch.0).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// Reads on to a line that contains the words; panics with all that was said when it does not come.
async fn until(lines: &mut Lines<BufReader<ChildStdout>>, words: &str) {
    let mut said = String::new();
    let search = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(words) {
                return true;
            }
            said = format!("{said}{line}\n");
        }
        false
    };
    let found = tokio::time::timeout(PATIENCE, search).await.unwrap_or(false);
    assert!(found, "\"{words}\" was not said:\n{said}");
}

async fn ended(mut child: Child) -> std::process::ExitStatus {
    tokio::time::timeout(PATIENCE, child.wait()).await.expect("the demo must end").unwrap()
}

/// Processes whose command line names the directory.
fn residents(directory: &Path) -> Vec<String> {
    let name = directory.to_string_lossy().into_owned();
    let output = std::process::Command::new("ps").args(["-eo", "pid=,args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains(&name)).map(str::to_owned).collect()
}

#[tokio::test]
async fn it_runs_for_a_while_and_accounts_for_every_row() {
    let _turn = TURN.lock().await;
    let scratch = Scratch::new("while");
    let (child, mut lines) = demo(&scratch, &["--seconds", "4"]);
    until(&mut lines, "pg1 primary").await;
    until(&mut lines, "rows found").await;
    until(&mut lines, "reads by replica: pg2").await;
    assert_eq!(ended(child).await.code(), Some(0));
    assert_eq!(scratch.entries(), 0);
}

#[tokio::test]
async fn it_ends_when_asked_at_any_moment() {
    let _turn = TURN.lock().await;
    let scratch = Scratch::new("asked");
    // During initdb, during the start of the servers, when idle.
    for words in ["", "pg1 primary", "Ctrl-C ends it"] {
        let (child, mut lines) = demo(&scratch, &["--no-load"]);
        if words.is_empty() {
            tokio::time::sleep(Duration::from_millis(300)).await;
        } else {
            until(&mut lines, words).await;
        }
        let pid = child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert_eq!(ended(child).await.code(), Some(0), "after \"{words}\"");
        assert_eq!(scratch.entries(), 0, "after \"{words}\"");
        assert_eq!(residents(&scratch.0), Vec::<String>::new(), "after \"{words}\"");
    }
}

#[tokio::test]
async fn killed_it_takes_its_servers_along_and_the_next_one_cleans_up() {
    let _turn = TURN.lock().await;
    let scratch = Scratch::new("killed");
    let (mut child, mut lines) = demo(&scratch, &["--no-load"]);
    until(&mut lines, "Ctrl-C ends it").await;
    assert!(residents(&scratch.0).len() >= 4, "three servers and a proxy");
    child.kill().await.unwrap();
    let begin = Instant::now();
    while !residents(&scratch.0).is_empty() {
        assert!(begin.elapsed() < PATIENCE, "still there: {:?}", residents(&scratch.0));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(scratch.entries(), 1, "a killed demo cannot remove its directory");
    let (child, mut lines) = demo(&scratch, &["--no-load", "--seconds", "1"]);
    until(&mut lines, "an earlier demo was killed and left").await;
    assert_eq!(ended(child).await.code(), Some(0));
    assert_eq!(scratch.entries(), 0);
}
