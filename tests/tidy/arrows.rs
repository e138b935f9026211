//! Which crate may import which: the table of the design, as data.

use toml::{Table, Value};

/// Our crates, lowest floor first, and which of ours each may import.
const FLOORS: [(&str, &[&str]); 14] = [
    ("wire", &[]),
    ("sql", &[]),
    ("topology", &[]),
    ("metrics", &[]),
    ("net", &[]),
    ("lab", &[]),
    ("session", &["wire", "sql"]),
    ("route", &["topology", "sql"]),
    ("failover", &["topology"]),
    ("pool", &["wire", "net", "topology", "metrics"]),
    ("login", &["net"]),
    ("proxy", &["session", "route", "pool", "login", "wire", "net", "topology", "metrics"]),
    ("controller", &["failover", "topology"]),
    ("admin", &["wire", "sql", "pool", "controller", "metrics", "topology"]),
];

/// These three see everything below; only `tests` sees `pgherd` itself.
const ROOFS: [&str; 3] = ["pgherd", "tests", "bench"];

/// Crates that may take from outside only what is listed (and `thiserror`).
const FRUGAL: [(&str, &[&str]); 7] = [
    ("sql", &["memchr"]),
    ("wire", &["bytes", "memchr"]),
    ("topology", &["arc-swap", "tokio"]),
    ("metrics", &["hdrhistogram", "parking_lot"]),
    ("session", &["bytes", "memchr", "tracing"]),
    ("route", &["memchr", "tracing"]),
    ("failover", &["tracing"]),
];

/// Outside crates that only these of ours may have.
const RESERVED: [(&str, &[&str]); 11] = [
    ("toml", &["pgherd", "tests"]),
    ("clap", &["pgherd", "bench"]),
    ("tracing-subscriber", &["pgherd", "tests", "bench"]),
    ("sd-notify", &["pgherd"]),
    ("anyhow", &[]),
    ("serde", &["pgherd", "admin", "bench", "tests"]),
    ("serde_json", &["pgherd", "controller", "admin", "bench", "tests"]),
    ("axum", &["admin"]),
    ("pgwire", &["admin", "login"]),
    ("tokio-postgres", &["login", "controller", "bench", "tests"]),
    ("postgres-protocol", &["pool"]),
];

/// Outside crates that are for tests only, so never a plain dependency of what is shipped.
const TEST_TOOLS: [&str; 2] = ["proptest", "rcgen"];

/// Outside crates that a pure core may have while it is tested.
const PURE_TEST_TOOLS: [&str; 4] = ["proptest", "serde_json", "toml", "allocation-counter"];

/// Faults in the arrows of one Cargo.toml.
pub(crate) fn faults(path: &str, text: &str) -> Vec<String> {
    let Some((who, manifest)) = parse(path, text) else {
        return vec![format!("{path}: cannot be read as a crate's manifest")];
    };
    let mut faults = Vec::new();
    for (section, name, _) in dependencies(&manifest) {
        if let Some(why) = objection(&who, name, section == "dev-dependencies") {
            faults.push(format!("{path}: [{section}] {name}: {why}"));
        }
    }
    faults
}

/// Faults in what every manifest must say.
pub(crate) fn manifest_faults(path: &str, text: &str) -> Vec<String> {
    let Some((_, manifest)) = parse(path, text) else {
        return vec![format!("{path}: cannot be read as a crate's manifest")];
    };
    let inherits = |table: &str, key: Option<&str>| {
        let value = manifest.get(table).and_then(|value| key.map_or(Some(value), |key| value.get(key)));
        value.and_then(|value| value.get("workspace")).and_then(|value| value.as_bool()) == Some(true)
    };
    let mut faults = Vec::new();
    if !inherits("lints", None) {
        faults.push(format!("{path}: lacks `[lints] workspace = true`"));
    }
    for key in ["version", "edition", "rust-version", "license", "publish"] {
        if !inherits("package", Some(key)) {
            faults.push(format!("{path}: package.{key} is not the workspace's"));
        }
    }
    for (section, name, entry) in dependencies(&manifest) {
        if entry.get("workspace").and_then(Value::as_bool) != Some(true) {
            faults.push(format!("{path}: [{section}] {name}: versions stand in the workspace's Cargo.toml"));
        }
    }
    faults
}

/// All dependencies with their section, those for single targets included.
fn dependencies(manifest: &Table) -> Vec<(&'static str, &str, &Value)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = targets.filter_map(Value::as_table).chain([manifest]);
    let mut found = Vec::new();
    for table in tables {
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let entries = table.get(section).and_then(Value::as_table).into_iter().flatten();
            found.extend(entries.map(|(name, entry)| (section, name.as_str(), entry)));
        }
    }
    found
}

fn parse(path: &str, text: &str) -> Option<(String, Table)> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    let who = folder.strip_prefix("crates/").unwrap_or(folder).to_string();
    text.parse::<Table>().ok().map(|manifest| (who, manifest))
}

/// Why `who` may not depend on `name`.
fn objection(who: &str, name: &str, is_dev: bool) -> Option<String> {
    match name.strip_prefix("pgherd-") {
        Some(ours) => own_objection(who, ours, is_dev),
        None if name == "pgherd" => (who != "tests").then(|| "nobody imports the binary".to_string()),
        None => outside_objection(who, name, is_dev),
    }
}

fn own_objection(who: &str, ours: &str, is_dev: bool) -> Option<String> {
    if ROOFS.contains(&who) {
        return ROOFS.contains(&ours).then(|| "a roof carries no other roof".to_string());
    }
    let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == who) else {
        return Some(format!("{who} is not in the table of floors"));
    };
    // A test may start a real cluster wherever one is needed, but the pure cores need none.
    let lab_in_test = is_dev && ours == "lab" && !is_frugal(who);
    (!allowed.contains(&ours) && !lab_in_test).then(|| format!("{who} may import only {allowed:?} of ours"))
}

fn outside_objection(who: &str, name: &str, is_dev: bool) -> Option<String> {
    let is_tool = TEST_TOOLS.contains(&name);
    if is_tool && !is_dev && !ROOFS.contains(&who) {
        return Some("is for tests only".to_string());
    }
    if let Some((_, allowed)) = FRUGAL.iter().find(|(crate_name, _)| *crate_name == who) {
        let in_test = is_dev && PURE_TEST_TOOLS.contains(&name);
        let fine = allowed.contains(&name) || name == "thiserror" || in_test;
        return (!fine).then(|| format!("{who} takes only {allowed:?} from outside"));
    }
    let reserved = RESERVED.iter().find(|(outside, _)| *outside == name);
    let (_, allowed) = reserved.filter(|(_, allowed)| !is_dev && !allowed.contains(&who))?;
    Some(format!("only {allowed:?} may have it"))
}

fn is_frugal(who: &str) -> bool {
    FRUGAL.iter().any(|(name, _)| *name == who)
}

#[test]
fn a_wrong_arrow_is_found() {
    let found = |who: &str, section: &str, name: &str| {
        let path = if ROOFS[1..].contains(&who) {
            format!("{who}/Cargo.toml")
        } else {
            format!("crates/{who}/Cargo.toml")
        };
        faults(&path, &format!("[{section}]\n{name}.workspace = true\n")).len() == 1
    };
    for (who, name) in [
        ("session", "tokio"),
        ("route", "tokio-util"),
        ("failover", "tokio"),
        ("failover", "rand"),
        ("wire", "tracing"),
        ("proxy", "pgherd-controller"),
        ("controller", "pgherd-proxy"),
        ("controller", "pgherd-pool"),
        ("session", "pgherd-net"),
        ("pool", "pgherd"),
        ("bench", "pgherd"),
        ("pool", "toml"),
        ("proxy", "clap"),
        ("proxy", "serde_json"),
        ("net", "proptest"),
        ("pgherd", "anyhow"),
        ("stranger", "pgherd-wire"),
    ] {
        assert!(found(who, "dependencies", name), "{who} -> {name} was not found");
    }
    assert!(found("session", "dev-dependencies", "tokio"));
    assert!(found("session", "dev-dependencies", "pgherd-lab"));
    assert!(found("wire", "build-dependencies", "cc"));
    assert!(found("wire", "target.'cfg(unix)'.dependencies", "rustix"));
    for (who, section, name) in [
        ("proxy", "dependencies", "pgherd-session"),
        ("session", "dev-dependencies", "proptest"),
        ("controller", "dev-dependencies", "pgherd-lab"),
        ("tests", "dependencies", "pgherd"),
        ("pgherd", "dependencies", "toml"),
        ("net", "dependencies", "tracing"),
    ] {
        assert!(!found(who, section, name), "{who} -> {name} is fine");
    }
}

#[test]
fn floors_only_rest_on_lower_floors() {
    for (floor, (who, below)) in FLOORS.iter().enumerate() {
        for name in *below {
            let lower = FLOORS.iter().position(|(other, _)| other == name).expect("a known crate");
            assert!(lower < floor, "{who} -> {name} does not point downwards");
        }
    }
}

#[test]
fn a_manifest_on_its_own_is_found() {
    let text = "[package]\nname = \"x\"\nversion = \"1.0.0\"\nedition.workspace = true\n[dependencies]\nbytes = \"1\"\n";
    // lints, version, rust-version, license, publish, bytes
    assert_eq!(manifest_faults("crates/x/Cargo.toml", text).len(), 6);
    assert_eq!(manifest_faults("crates/x/Cargo.toml", "not toml at all").len(), 1);
}
