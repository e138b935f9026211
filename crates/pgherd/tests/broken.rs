//! Files that are wrong, and what is said about them. `UPDATE_REPORTS=1` writes the reports anew; read the difference
//! before it is committed.

use pgherd::config::environment::Environment;
use pgherd::config::file::load_text;
use std::path::Path;

#[test]
fn broken_files_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut seen = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(&path).expect("a text");
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_string();
        let report = match load_text(&name, &text, &Environment::default()) {
            Ok(_) => panic!("{name} was accepted"),
            Err(report) => report.render(),
        };
        assert!(!report.contains("hunter2"), "{name}: a secret is shown\n{report}");
        assert!(!report.contains('\u{1b}'), "{name}: a control character is shown");
        let expected = path.with_extension("report");
        if std::env::var_os("UPDATE_REPORTS").is_some() {
            std::fs::write(&expected, &report).expect("a place to write to");
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != report {
            wrong.push(format!("--- {name}\n{report}"));
        }
    }
    assert!(seen >= 8, "only {seen} files");
    assert!(wrong.is_empty(), "other reports than expected:\n{}", wrong.join("\n"));
}
