//! The manual against the program: settings that are shown must be understood, commands must be commands, files must be
//! there. The README is what a newcomer has.

use clap::Parser;
use pgherd::cli::Cli;
use pgherd::config::environment::Environment;
use pgherd::config::file::load_text;
use pgherd::config::keys;
use pgherd_admin::console::command::{Asking, Command, parse};
use pgherd_admin::console::show::Show;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every page for people: Markdown that is not a result of a program.
fn pages() -> Vec<String> {
    let pages = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "bench/RESULTS.md",
        "docs/console.md",
        "docs/pooling.md",
        "docs/authentication.md",
        "docs/configuration.md",
        "docs/failover.md",
        "docs/routing.md",
        "tests/drivers/README.md",
    ];
    pages.iter().map(ToString::to_string).collect()
}

/// Fenced blocks of a page: (language, text).
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(language), false) => {
                blocks.push((language.trim().to_string(), String::new()));
                inside = true;
            }
            (Some(_), true) => inside = false,
            (None, true) => {
                if let Some((_, text)) = blocks.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            (None, false) => {}
        }
    }
    assert!(!inside, "a block does not end");
    blocks
}

fn shell(page: &str) -> Vec<String> {
    let lines = blocks(page).into_iter().filter(|(language, _)| language == "sh");
    lines.flat_map(|(_, text)| text.lines().map(str::to_string).collect::<Vec<_>>()).collect()
}

/// The arguments behind `pgherd` in a command line, when it runs it.
fn arguments(line: &str) -> Option<Vec<String>> {
    let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
    let at = match words.first()?.as_str() {
        "cargo" if words.get(1)? == "run" => words.iter().position(|word| word == "--")?,
        // What stands behind the image's name goes to its entry point.
        "docker" if words.get(1)? == "run" => words.iter().position(|word| word == "pgherd")?,
        program if program == "pgherd" || program.ends_with("/pgherd") => 0,
        _ => return None,
    };
    Some(words[at + 1..].to_vec())
}

#[test]
fn settings_on_a_page_are_understood() {
    let mut count = 0;
    for name in pages() {
        let speaks = |language: &String| matches!(&**language, "toml" | "conf");
        for (language, text) in blocks(&read(&name)).into_iter().filter(|(language, _)| speaks(language)) {
            // A piece needs the rest of a file around it.
            let rest = "\n[[node]]\nhost = \"h\"\n[cluster]\nuser = \"u\"\npassword = \"p\"\n";
            let whole = if text.contains("[[node]]") { text } else { format!("{text}{rest}") };
            let said = match load_text(&name, &whole, &Environment::default()) {
                Ok(loaded) => loaded.report.render(),
                Err(report) => report.render(),
            };
            let fault = |line: &&str| line.contains("error[") || line.contains("warn");
            // Where a piece is marked `conf`, the files it speaks of are the reader's.
            let absent = |line: &&str| language == "conf" && line.contains("no such file");
            let faults: Vec<&str> = said.lines().filter(|line| fault(line) && !absent(line)).collect();
            assert!(faults.is_empty(), "{name}:\n{whole}\n{faults:#?}");
            count += 1;
        }
    }
    assert!(count >= 2, "only {count} pieces of settings were found");
}

#[test]
fn every_setting_that_is_named_exists() {
    let mut count = 0;
    for page in pages().into_iter().filter(|name| name == "README.md" || name.starts_with("docs/")) {
        for span in read(&page).split('`').skip(1).step_by(2) {
            let name = span.split([' ', '=']).next().unwrap_or_default();
            let Some((section, key)) = name.split_once('.') else { continue };
            let plain = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.');
            if keys::section(section).is_some() && plain && key != "toml" {
                assert!(!keys::find(name).is_empty(), "{page}: there is no setting `{name}`");
                count += 1;
            }
        }
    }
    assert!(count > 40, "{count} names found");
}

#[test]
fn commands_on_a_page_are_commands() {
    let mut count = 0;
    for name in pages() {
        for line in shell(&read(&name)) {
            let Some(arguments) = arguments(&line).filter(|arguments| !arguments.is_empty()) else {
                continue;
            };
            let all = std::iter::once("pgherd".to_string()).chain(arguments);
            if let Err(error) = Cli::try_parse_from(all) {
                panic!("{name}: {line}\n{error}");
            }
            count += 1;
        }
    }
    assert!(count >= 9, "only {count} commands were found");
    for line in read("config/pgherd.service").lines() {
        let Some((key, line)) = line.split_once('=').filter(|(key, _)| key.starts_with("ExecStart")) else {
            continue;
        };
        let arguments = arguments(line).unwrap_or_else(|| panic!("{key} runs something else: {line}"));
        Cli::try_parse_from(std::iter::once("pgherd".to_string()).chain(arguments)).expect(line);
    }
}

/// Debian 12 has systemd 252. The user of the unit is the one the README makes, and owns what the README installs.
#[test]
fn the_unit_runs_on_systemd_252_and_may_read_its_settings() {
    let unit = read("config/pgherd.service");
    let has = |line: &str| unit.lines().any(|found| found == line);
    assert!(has("Type=notify") && has("ExecReload=/bin/kill -HUP $MAINPID"), "{unit}");
    assert!(has("User=pgherd") && has("Group=pgherd") && !unit.contains("\nDynamicUser"), "{unit}");
    let readme = read("README.md");
    assert!(readme.contains("useradd --system --user-group") && readme.contains("-m 640 -o root -g pgherd"));
    assert!(readme.contains("65532") && read("Dockerfile").contains("USER 65532:65532"));
}

#[test]
fn two_commands_do_all() {
    let readme = read("README.md");
    let first: Vec<String> = shell(&readme).into_iter().take(2).collect();
    assert_eq!(first, ["cargo run --release -p pgherd -- demo", "tests/run"]);
    for (_, text) in blocks(&readme).into_iter().filter(|(language, _)| language == "sh").take(2) {
        assert_eq!(text.lines().count(), 1, "one command each: {text}");
    }
    let run = std::fs::metadata(root().join("tests/run")).expect("tests/run is there");
    assert_ne!(std::os::unix::fs::PermissionsExt::mode(&run.permissions()) & 0o111, 0, "it can be run");
    assert!(read(".ci/run").contains("exec tests/run"), "continuous integration runs the same");
}

#[test]
fn files_a_page_names_are_there() {
    for name in pages() {
        let text = read(&name);
        let here = root().join(Path::new(&name).parent().unwrap_or(Path::new("")));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let outside = target.contains("://") || target.starts_with('#');
            let file = target.split('#').next().unwrap_or_default();
            assert!(outside || here.join(file).exists(), "{name} points to {target}, which is not there");
        }
    }
}

#[test]
fn keys_and_metrics_a_page_names_are_known() {
    let text = read("README.md");
    let mut count = 0;
    for word in text.split('`').skip(1).step_by(2) {
        let Some((section, key)) = word.split_once('.') else { continue };
        let known = pgherd::config::keys::SECTIONS.iter().find(|known| known.name == section);
        if let Some(known) = known {
            assert!(known.key(key).is_some(), "README.md names `{word}`");
            count += 1;
        }
    }
    assert!(count >= 4, "only {count} keys were found");
}

/// The text of every command in the tables of docs/console.md.
fn console_commands(page: &str) -> Vec<String> {
    let first_cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    let commands =
        first_cells.flat_map(|(cell, _)| cell.split(", ").map(|one| one.trim_matches('`').to_string()));
    commands.collect()
}

/// A command without what stands in brackets.
fn without_options(command: &str) -> String {
    let mut parts = command.split(" [");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |text, part| text + part.split_once(']').map_or("", |(_, rest)| rest))
}

#[test]
fn the_consoles_page_names_every_command_and_no_other() {
    let page = read("docs/console.md");
    let asking = Asking { user: "u", database: "pgherd", version: "" };
    let (mut shown, mut acts) = (Vec::new(), 0);
    for command in console_commands(&page) {
        for text in [without_options(&command), command.replace(['[', ']'], "")] {
            let text = text.replace(" id", " 1");
            match parse(&text, asking) {
                Command::Show(show) => shown.push(show),
                Command::Act(_) => acts += 1,
                other => panic!("{text}: {other:?}"),
            }
        }
    }
    for show in Show::ALL {
        assert!(shown.contains(show), "{show:?} is not in docs/console.md");
    }
    assert!(acts >= 30, "{acts} of 15 commands, twice each");
    for column in ["sv_pinned", "nodes", "listener", "doing", "pin", "node", "epoch", "console"] {
        assert!(page.contains(&format!("`{column}`")), "the added column {column} is not in docs/console.md");
    }
}
