//! The binary itself: where it prints, and how it exits.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

fn pgherd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgherd"));
    // Away from any settings file, and from the environment of whoever runs the tests.
    command.args(arguments).current_dir(std::env::temp_dir());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PGHERD") {
            command.env_remove(name);
        }
    }
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    done(pgherd(arguments).output().expect("the binary runs"))
}

fn done(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn config(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name);
    path.to_str().expect("UTF-8").to_string()
}

fn broken(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/broken").join(name);
    path.to_str().expect("UTF-8").to_string()
}

#[test]
fn config_check() {
    let (code, out, err) = run(&["config", "check", "-c", &config("minimal.toml")]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.ends_with("settings are valid\n"), "{err}");
    let (code, _, err) = run(&["config", "check", "-c", &config("pgherd.toml")]);
    assert_eq!(code, 0, "{err}");
    assert!(!err.contains("later version"), "defaults are nobody's wish: {err}");
    let mut wish = pgherd(&["config", "check", "-c", &config("minimal.toml")]);
    let (code, _, err) = done(wish.env("PGHERD__WEB__ACTIONS", "true").output().expect("the binary runs"));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("web.actions is understood, but takes effect in a later version"), "{err}");
    let (code, out, err) = run(&["config", "check", "-c", &broken("several.toml")]);
    assert_eq!((code, out.as_str()), (78, ""));
    assert!(err.contains("did you mean `health_check_interval`?"), "{err}");
    let (code, _, err) = run(&["run", "-c", &broken("several.toml")]);
    assert_eq!(code, 78);
    assert!(err.contains("E011"), "{err}");
    let mut missing = pgherd(&["config", "check", "-c", &config("minimal.toml")]);
    missing.env("PGHERD__NODE__0__SSL", "verify-full").env("PGHERD__NODE__0__SSL_ROOT_CERT", "/dev/null");
    let (code, _, err) = done(missing.output().expect("the binary runs"));
    assert_eq!(code, 78, "files are looked into: {err}");
    assert!(err.contains("no certificate found"), "{err}");
    assert!(err.contains("[E034] ssl_root_cert: node"), "the key is named: {err}");
    let (code, _, err) = run(&["config", "check", "-c", "/nonexistent.toml"]);
    assert_eq!(code, 78);
    assert!(err.contains("E002"), "{err}");
    let (code, _, err) = run(&["status", "-c", "/nonexistent.toml"]);
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("\"/nonexistent.toml\" cannot be read"), "{err}");
    assert_eq!(run(&["health", "-c", "/nonexistent.toml"]).0, 1);
}

#[test]
fn config_check_looks_into_the_user_list() {
    let list = std::env::temp_dir().join(format!("pgherd-users-{}.txt", std::process::id()));
    let check = |text: &str| {
        std::fs::write(&list, text).expect("a file");
        let mut command = pgherd(&["config", "check", "-c", &config("minimal.toml")]);
        done(command.env("PGHERD__AUTH__USERS_FILE", &list).output().expect("the binary runs"))
    };
    let (code, _, err) = check(&format!("\"bob\" \"md5{}\"\n", "0123456789abcdef".repeat(2)));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("[W008]") && err.contains("bob cannot log in"), "{err}");
    let (code, _, err) = check("\"bob\" \"secret\"\n\"eve\"\n");
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("[E034] users_file: ") && err.contains(".txt:2: expected"), "{err}");
    std::fs::remove_file(&list).expect("it was there");
}

#[test]
fn generated_texts() {
    let (code, out, err) = run(&["config", "sample"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let committed = std::fs::read_to_string(config("pgherd.toml")).expect("the sample");
    assert!(out == committed, "config/pgherd.toml is not what `config sample` prints");
    let (code, out, _) = run(&["config", "schema"]);
    assert_eq!(code, 0);
    assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
    let (code, out, _) = run(&["config", "doc", "query_wait_timeout"]);
    assert_eq!(code, 0);
    assert!(out.contains("default  \"30s\""), "{out}");
    let (code, _, err) = run(&["config", "doc", "query_wait_timout"]);
    assert_eq!(code, 2);
    assert!(err.contains("did you mean `query_wait_timeout`?"), "{err}");
}

#[test]
fn config_show_hides_secrets_and_tells_origins() {
    let mut command = pgherd(&["config", "show", "--origin", "-c", &config("minimal.toml")]);
    let output = command.env("PGHERD_PASSWORD", "hunter2").env("PGHERD__POOL__MODE", "session");
    let (code, out, err) = done(output.output().expect("the binary runs"));
    assert_eq!(code, 0, "{err}");
    assert!(!out.contains("hunter2") && out.contains("# $PGHERD__POOL__MODE"), "{out}");
    for format in ["json", "tsv"] {
        let (code, out, _) = run(&["config", "show", "-o", format, "-c", &config("minimal.toml")]);
        assert_eq!(code, 0);
        assert!(out.contains("max_pool_size") && !out.contains("change me"), "{out}");
    }
}

#[test]
fn an_unknown_verb_suggests_the_nearest() {
    let (code, _, err) = run(&["staus"]);
    assert_eq!(code, 2);
    assert!(err.contains("status"), "{err}");
}

#[test]
fn versions() {
    let (code, out, _) = run(&["version"]);
    assert_eq!((code, out.starts_with("pgherd 0.")), (0, true), "{out}");
    let (_, out, _) = run(&["version", "--json"]);
    assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok_and(|v| v["version"].is_string()), "{out}");
}

/// Answers each connection with the same bytes; ends with the process.
fn server(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0u8; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}

fn json(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn status_exits_as_the_cluster_is() {
    let leader = r#"{"name":"pg1","role":"leader","state":"running"}"#;
    for (members, code) in [
        (leader.to_string(), 0),
        (
            format!(
                r#"{leader},{{"name":"pg2","role":"replica","state":"streaming","read":"no","read_reason":"down"}}"#
            ),
            3,
        ),
        (String::new(), 4),
    ] {
        let url = server(json(&format!(r#"{{"scope":"c","members":[{members}]}}"#)));
        let (got, out, err) = run(&["status", "--api", &url]);
        assert_eq!(got, code, "{out}{err}");
        assert!(out.starts_with("c  "), "{out}");
        let (got, out, _) = run(&["list", "--api", &url, "-o", "json"]);
        assert_eq!(got, code);
        assert!(
            serde_json::from_str::<serde_json::Value>(&out).is_ok_and(|v| v["shape"] == "pgherd.status/1")
        );
    }
    let (code, out, err) = run(&["status", "--api", "127.0.0.1:1"]);
    assert_eq!((code, out.as_str()), (69, ""));
    assert!(err.contains("nobody listens on http://127.0.0.1:1"), "{err}");
    for body in ["[]", "{}", "nonsense"] {
        let (code, _, err) = run(&["status", "--api", &server(json(body))]);
        assert_eq!(code, 69, "{err}");
    }
}

#[test]
fn health_is_zero_or_one() {
    for (answer, code) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
        ("HTTP/1.0 200 OK\r\n\r\n", 0),
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", 1),
        ("garbage\r\n\r\n", 1),
    ] {
        let url = server(answer.to_string());
        let (got, out, err) = run(&["health", "--api", &url]);
        assert_eq!((got, out.as_str()), (code, ""), "{err}");
        assert_eq!(run(&["health", "--ready", "--api", &url]).0, code);
    }
    assert_eq!(run(&["health", "--api", "127.0.0.1:1"]).0, 1);
}
