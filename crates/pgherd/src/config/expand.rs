//! `${NAME}` and `${NAME:-default}` in texts of the file.

use crate::config::environment::Environment;

/// The text with its variables filled in; `None` when it has none. `$${` stands for `${` itself. The error is a sentence
/// that begins with what is wrong and never holds a value.
pub fn expand(text: &str, env: &Environment) -> Result<Option<String>, String> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let body = &rest[at + 2..];
        let end = body
            .find('}')
            .ok_or("`${` has no closing brace; write `$${` for the two characters themselves")?;
        let (name, default) = match body[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&body[..end], None),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(fits) {
            return Err("`${...}` must hold the name of an environment variable".to_string());
        }
        match (env.get(name).filter(|value| !value.is_empty() || default.is_none()), default) {
            (Some(value), _) => out.push_str(value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                return Err(format!(
                    "environment variable {name} is not set; ${{{name}:-...}} gives a default"
                ));
            }
        }
        rest = &body[end + 1..];
    }
    out.push_str(rest);
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in() {
        let env: Environment = [("A", "one"), ("E", "")].into_iter().collect();
        for (text, want) in [
            ("plain $ text", Ok(None)),
            ("${A}", Ok(Some("one"))),
            ("x${A}y${A:-z}", Ok(Some("xoneyone"))),
            ("${B:-two}", Ok(Some("two"))),
            ("${B:-}", Ok(Some(""))),
            ("${E:-two}", Ok(Some("two"))),
            ("${E}", Ok(Some(""))),
            ("$${A}", Ok(Some("${A}"))),
            ("${B}", Err("environment variable B is not set")),
            ("${A", Err("`${` has no closing brace")),
            ("${}", Err("`${...}` must hold")),
            ("${A-B}", Err("`${...}` must hold")),
        ] {
            match (expand(text, &env), want) {
                (Ok(got), Ok(want)) => assert_eq!(got.as_deref(), want, "{text}"),
                (Err(got), Err(want)) => assert!(got.starts_with(want), "{text}: {got}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }
}
