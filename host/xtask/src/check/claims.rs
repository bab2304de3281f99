//! The documents that claim a behaviour name its test; the test must exist.
//!
//! A claim is a path in backquotes whose last part is a test or `*`: `hostile/tls::a_test`,
//! `unit folder::tests::*`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;

/// The documents.
const DOCUMENTS: [&str; 3] = [
    "device-agent/THREATS.md",
    "device-agent/FAULTS.md",
    "device-agent/PROMISES.md",
];

/// The tests of a checkout: their names, and the names of the files and folders that have any.
#[derive(Default)]
struct Tests {
    /// From a test's name to the paths of the files with one of it.
    names: HashMap<String, Vec<String>>,
    paths: Vec<String>,
}

impl Tests {
    /// Adds those of a source file.
    fn add(&mut self, path: &str, text: &str) {
        if !text.contains("#[test]") {
            return;
        }
        self.paths.push(path.to_owned());
        let functions = text.split("fn ").skip(1);
        for name in functions.filter_map(|rest| rest.split_once("()")) {
            let files = self.names.entry(name.0.to_owned()).or_default();
            files.push(path.to_owned());
        }
    }

    fn confirms(&self, claim: &str) -> bool {
        let parts: Vec<&str> = claim.split("::").flat_map(|part| part.split('/')).collect();
        let Some((name, place)) = parts.split_last() else {
            return false;
        };
        let modules: Vec<&str> = place
            .iter()
            .copied()
            .filter(|part| !["…", "tests", "unit"].contains(part))
            .collect();
        let is_there = |path: &String| {
            let last = modules.last();
            last.is_none_or(|module| {
                let mut parts = path.split('/');
                parts.any(|part| part.trim_end_matches(".rs") == *module)
            })
        };
        match *name {
            "*" => !modules.is_empty() && self.paths.iter().any(is_there),
            name => self
                .names
                .get(name)
                .is_some_and(|files| files.iter().any(is_there)),
        }
    }
}

/// The claims of a document, with their lines.
fn claims(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // Every second part lies between backquotes.
        for token in line.split('`').skip(1).step_by(2) {
            let claim = token.trim_start_matches("unit ");
            let is_path = claim.contains("::") && !claim.contains(' ');
            if is_path && !claim.contains(char::is_uppercase) {
                found.push((number + 1, claim));
            }
        }
    }
    found
}

/// Claims whose test does not exist.
pub fn violations(root: &Path, files: &[String]) -> Result<Vec<String>> {
    let mut tests = Tests::default();
    for path in files.iter().filter(|path| path.ends_with(".rs")) {
        // A listed file may be about to be removed.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            tests.add(path, &text);
        }
    }
    let mut violations = Vec::new();
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(root.join(document))?;
        for (line, claim) in claims(&text) {
            if !tests.confirms(claim) {
                violations.push(format!("{document}:{line}: there is no test `{claim}`"));
            }
        }
    }
    Ok(violations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_needs_a_test_of_its_name_in_its_module() {
        let mut tests = Tests::default();
        let text = "#[test]\nfn a_key_is_refused() {}\n";
        tests.add("device-agent/tests/hostile/tls.rs", text);
        tests.add(
            "device-agent/src/folder.rs",
            "#[test]\nfn links_stay() {}\n",
        );
        tests.add("device-agent/src/gate.rs", "fn no_test() {}\n");
        let check =
            |claim: &str, expected: bool| assert_eq!(tests.confirms(claim), expected, "{claim}");
        check("hostile/tls::a_key_is_refused", true);
        check("…::a_key_is_refused", true);
        check("folder::tests::links_stay", true);
        check("hostile/tls::*", true);
        check("folder::tests::*", true);
        check("hostile/tls::another_key_is_refused", false);
        check("hostile/names::a_key_is_refused", false);
        check("gate::no_test", false);
        check("gate::tests::*", false);
        check("*", false);
    }

    #[test]
    fn claims_are_found_with_their_lines_and_other_code_is_not() {
        let text =
            "A `word`, `hostile/tls::x`\nand `unit a::b::*`; `Patience::retries` and `a b::c`.";
        assert_eq!(claims(text), [(1, "hostile/tls::x"), (2, "a::b::*")]);
    }
}
