//! What the documents tell a reader to type does what they say, on real servers.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pgherd_tests::stand::{PASSWORD, Stand, USER};
use std::path::Path;
use std::time::Duration;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All that stands between backquotes in the text of a page.
fn spans(page: &str) -> Vec<String> {
    let text: Vec<&str> = page.lines().filter(|line| !line.starts_with("```")).collect();
    text.join("\n").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The lines of all blocks for a shell.
fn shell(page: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(language) => inside = language == "sh",
            None if inside => found.push(line.to_owned()),
            None => {}
        }
    }
    found
}

struct Reader {
    stand: Stand,
}

impl Reader {
    async fn open() -> Reader {
        let admin = format!("admin_users = [\"{USER}\"]");
        Reader { stand: Stand::start(&[("auth", &admin)]).await.unwrap() }
    }

    async fn psql(&self, port: u16, database: &str, sql: &str, options: &str) -> Result<String, String> {
        let nursery = self.stand.lab().nursery();
        let mut command = nursery.command(&self.stand.lab().binaries().tool("psql").unwrap());
        command.args(["-X", "-w", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER]);
        command.args(["-p", &port.to_string(), "-d", database, "-c", sql]);
        command.env("PGPASSWORD", PASSWORD).env("PGOPTIONS", options);
        let answer = nursery.run("psql", command, Duration::from_secs(30)).await;
        answer.map(|text| text.trim().to_owned()).map_err(|error| error.to_string())
    }

    async fn any(&self, sql: &str) -> Result<String, String> {
        self.psql(self.stand.front().ports().any, USER, sql, "").await
    }

    /// What is shown of the console is there, in both of its databases.
    async fn reads_the_console_page(&self) {
        let page = page("docs/console.md");
        let mut count = 0;
        for command in spans(&page).into_iter().filter(|span| {
            let drivers_say =
                matches!(&**span, "BEGIN" | "COMMIT" | "DISCARD ALL" | "SELECT 1" | "SELECT version()");
            let sets = span.starts_with("SET ") && span != "SET key = value";
            drivers_say || sets || span.starts_with("SHOW ")
        }) {
            for database in ["pgherd", "pgbouncer"] {
                let answer = self.psql(self.stand.front().ports().primary, database, &command, "").await;
                assert!(answer.is_ok(), "{command} on {database}: {answer:?}");
            }
            count += 1;
        }
        assert!(count > 30, "{count} commands found");
        let mut count = 0;
        for line in shell(&page).iter().filter(|line| line.starts_with("psql ")) {
            let said = self.shell(line).await;
            assert!(said.is_ok(), "{line}: {said:?}");
            count += 1;
        }
        assert!(count > 2, "{count} lines found");
    }

    /// A line as it stands, with our port and user in the places of the example's.
    async fn shell(&self, line: &str) -> Result<String, String> {
        let (lab, ports) = (self.stand.lab(), self.stand.front().ports());
        let line = line
            .replace("-p 5000", &format!("-h 127.0.0.1 -p {}", ports.primary))
            .replace("-U ops", &format!("-U {USER}"));
        let mut command = lab.nursery().command(Path::new("/bin/sh"));
        let tools = lab.binaries().tool("psql").unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", tools.parent().unwrap().display()));
        command.env("PGPASSWORD", PASSWORD).args(["-c", &line]);
        lab.nursery().run("sh", command, Duration::from_secs(30)).await.map_err(|error| error.to_string())
    }

    /// Each way to ask is understood, and what it asks for is what happens.
    async fn reads_the_routing_page(&self) {
        let spans = spans(&page("docs/routing.md"));
        let about =
            |what: &str| spans.iter().filter(|span| span.starts_with(what)).cloned().collect::<Vec<_>>();
        let (sets, hints, options) = (about("SET pgherd."), about("/* pgherd: "), about("-c pgherd."));
        let options: Vec<String> = options
            .into_iter()
            .chain(about("options=-c").iter().map(|span| span["options=".len()..].to_owned()))
            .collect();
        assert!(sets.len() >= 4 && hints.len() >= 3 && options.len() >= 3, "{sets:?} {hints:?} {options:?}");
        for text in sets.iter().chain(&about("SHOW pgherd.")) {
            let answer = self.any(text).await;
            assert!(answer.is_ok(), "{text}: {answer:?}");
        }
        for hint in hints {
            let asked = format!("{hint} SELECT pg_is_in_recovery(), 1");
            let answer = self.any(&asked).await;
            assert!(answer.is_ok(), "{hint}: {answer:?}");
        }
        for option in options {
            let port = self.stand.front().ports().any;
            let answer = self.psql(port, USER, "SELECT 1", &option).await;
            assert_eq!(answer.as_deref(), Ok("1"), "{option}");
        }
        let wrong =
            self.psql(self.stand.front().ports().any, USER, "SELECT 1", "-c pgherd.consistency=some").await;
        assert!(wrong.is_err(), "nobody is let in with a value that does not exist");
    }

    /// The paths of the API that the tour names.
    async fn reads_the_readme(&self) {
        for path in ["/metrics", "/liveness", "/readiness", "/cluster", "/history"] {
            let (status, _) = self.stand.front().get(path).await.unwrap();
            assert_eq!(status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn what_the_documents_say_can_be_typed() {
    let reader = Reader::open().await;
    reader.reads_the_console_page().await;
    reader.reads_the_routing_page().await;
    reader.reads_the_readme().await;
    reader.stand.shutdown().await.unwrap();
}
