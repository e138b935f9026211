//! What may differ in scripts that chance or a product made, and why. A script written by hand says it itself.

/// Where the two sides part, when nothing excuses it: how much of each was alike.
pub(crate) fn parting(direct: &[String], proxied: &[String]) -> Option<(usize, usize)> {
    let (mut here, mut there) = (0, 0);
    let mut failed = false;
    loop {
        match (direct.get(here), proxied.get(there)) {
            (None, None) => return None,
            (Some(one), Some(other)) if one == other => {
                if one.starts_with("Z ") {
                    failed = one == "Z E";
                }
                (here, there) = (here + 1, there + 1);
            }
            (Some(one), Some(other)) if failed && lacks_statement(one, other) => {
                let ready = |heard: &[String], from: usize| {
                    heard[from..].iter().position(|line| line.starts_with("Z ")).map(|at| from + at)
                };
                let (Some(next), Some(others)) = (ready(direct, here), ready(proxied, there)) else {
                    return Some((here, there));
                };
                (here, there) = (next, others);
            }
            _ => return Some((here, there)),
        }
    }
}

/// In a failed block a statement cannot be prepared on a server that lacks it, so that server refuses it for the block. One that has it looks at the number of
/// parameters first, and describes a statement that has no result.
fn lacks_statement(direct: &str, proxied: &str) -> bool {
    let refused = proxied.starts_with("E ") && proxied.contains("/ C25P02 /");
    let counted = direct.starts_with("E ") && direct.contains("/ C08P01 / Mbind message ");
    refused && (counted || direct.starts_with("t "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_block_excuses() {
        let lines = |all: &[&str]| all.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let counts = "E SERROR / VERROR / C08P01 / Mbind message supplies 0 parameters";
        let refuses = "E SERROR / VERROR / C25P02 / Mcurrent transaction is aborted";
        let direct = lines(&["Z E", counts, "Z E", "closed"]);
        assert_eq!(parting(&direct, &lines(&["Z E", refuses, "Z E", "closed"])), None);
        assert_eq!(parting(&direct, &lines(&["Z E", refuses, "Z I", "closed"])), Some((2, 2)));
        let direct = lines(&["Z T", counts, "Z E"]);
        assert_eq!(parting(&direct, &lines(&["Z T", refuses, "Z E"])), Some((1, 1)));
    }
}
