//! `include = ["conf.d/*.toml"]`: which files a pattern names.

use std::path::{Path, PathBuf};

/// Included files, at most.
pub const MAX_FILES: usize = 256;

/// Files a pattern names, sorted by name. `*` stands for any characters and is understood in the last part of the path
/// only. A pattern without `*` names itself, whether or not the file is there.
pub fn files(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = base.join(pattern);
    if !pattern.contains('*') {
        return Ok(vec![path]);
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
    let directory = path.parent().unwrap_or(Path::new("")).to_path_buf();
    if directory.to_string_lossy().contains('*') {
        return Err("`*` is understood in the last part of a path only".to_string());
    }
    let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
    // A directory that is not there holds no files: conf.d is optional.
    let Ok(entries) = std::fs::read_dir(&directory) else { return Ok(Vec::new()) };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| {
            entry.file_name().to_str().is_some_and(|file| !file.starts_with('.') && fits(&name, file))
        })
        .map(|entry| entry.path())
        .take(MAX_FILES + 1)
        .collect();
    if found.len() > MAX_FILES {
        return Err(format!("names more than {MAX_FILES} files"));
    }
    found.sort();
    Ok(found)
}

/// True when `name` fits `pattern`, in which `*` stands for any characters.
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, want) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml~", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "ac", false),
            ("a*a", "a", false),
            ("plain", "plain", true),
            ("plain", "plainer", false),
        ] {
            assert_eq!(fits(pattern, name), want, "{pattern} {name}");
        }
    }
}
