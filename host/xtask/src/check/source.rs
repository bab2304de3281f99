//! Rules for the text of tracked files.
//!
//! The forbidden words are composed from parts, so that this file does not violate its own rules.

/// Files with more lines are listed, and rejected above the second limit.
pub const LONG: usize = 400;
const TOO_LONG: usize = 800;

/// The entries of the top level, besides licences and dotfiles.
const TOP_LEVEL: [&str; 7] = [
    "Cargo.toml",
    "Cargo.lock",
    "host",
    "device-agent",
    "profiles",
    "tests",
    "README.md",
];

/// The most columns of a line that is a comment.
const COMMENT_COLUMNS: usize = 100;

/// Macros that mark unfinished work, searched with their exclamation mark.
const UNFINISHED_MACROS: [&str; 3] = ["todo", "dbg", "unimplemented"];

/// Words that mark unfinished work, searched in capitals.
const UNFINISHED_WORDS: [&str; 4] = ["tbd", "todo", "fixme", "xxx"];

/// Hosts of package registries and archives, in halves: this file names none either. The system's
/// settings select them, not the sources.
const REGISTRY_HOSTS: [(&str, &str); 8] = [
    ("pyp", "i.org"),
    ("pythonho", "sted.org"),
    ("static.cra", "tes.io"),
    ("index.cra", "tes.io"),
    ("deb.deb", "ian.org"),
    ("security.deb", "ian.org"),
    ("snapshot.deb", "ian.org"),
    ("download.pyt", "orch.org"),
];

/// Top-level folders of a particular machine; absolute paths into them are not portable.
const MACHINE_FOLDERS: [&str; 6] = ["work", "tmp", "root", "home", "Users", "mnt"];

/// Folders of the packages without unsafe code, files, sockets and processes.
const PURE: [&str; 5] = [
    "host/onnx-graph/",
    "host/channels/",
    "host/model-zoo/",
    "host/weight-codec/",
    "host/board-plan/",
];
const IMPURE_MODULES: [&str; 3] = ["std::fs", "std::net", "std::process"];

/// The driver of debug probes, and the only folder whose files name it.
const PROBES: (&str, &str) = ("probe_rs", "device-agent/src/board/");

/// The most lines between a justification and its unsafe block.
const JUSTIFICATION_LINES: usize = 8;

/// Unexpected entries of the top level.
pub fn top_level(files: &[String]) -> Vec<String> {
    let mut entries: Vec<&str> = files
        .iter()
        .filter_map(|path| path.split('/').next())
        .collect();
    entries.sort_unstable();
    entries.dedup();
    let is_expected = |entry: &str| {
        TOP_LEVEL.contains(&entry) || entry.starts_with('.') || entry.starts_with("LICENSE")
    };
    entries.retain(|entry| !is_expected(entry));
    entries
        .iter()
        .map(|entry| format!("{entry}: unexpected entry on the top level"))
        .collect()
}

/// The file with its number of lines, if it is long.
pub fn long(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (is_code(path) && lines > LONG).then(|| format!("{path}: {lines} lines"))
}

/// The violations in one file, as `path:line: violation`.
pub fn violations(path: &str, text: &str) -> Vec<String> {
    // The format of lock files includes registry hosts.
    if path.ends_with(".lock") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if is_code(path) && lines.len() > TOO_LONG {
        found.push(format!(
            "{path}: {} lines, more than {TOO_LONG}: split it",
            lines.len()
        ));
    }
    let pure = PURE.iter().any(|folder| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with("src/"))
    });
    if path.ends_with("src/lib.rs") {
        if !text.starts_with("//!") {
            found.push(format!("{path}:1: no description of the crate"));
        }
        if pure && !lines.contains(&"#![forbid(unsafe_code)]") {
            found.push(format!("{path}: a pure crate must forbid unsafe code"));
        }
    }
    let mut in_tests = false;
    for (index, line) in lines.iter().enumerate() {
        let mut report = |what: String| found.push(format!("{path}:{}: {what}", index + 1));
        if let Some(host) = registry_host(line) {
            report(format!(
                "names the registry host {host}, which the system's settings select"
            ));
        }
        if let Some(folder) = machine_path(line) {
            report(format!(
                "names a path in {folder}, which is specific to a machine"
            ));
        }
        if !is_code(path) {
            continue;
        }
        if let Some(word) = unfinished(line) {
            report(format!("has {word}"));
        }
        if path.ends_with(".rs") {
            if names_probes(path, line) {
                report(format!("{} outside of {}", PROBES.0, PROBES.1));
            }
            if is_wide_comment(line) {
                report(format!("a comment wider than {COMMENT_COLUMNS} columns"));
            }
            in_tests |= line.trim_start().starts_with("#[cfg(test)]");
            if opens_unsafe(line) && !justified(&lines[..=index]) {
                report("unsafe without a SAFETY comment above it".to_owned());
            }
            if pure && !in_tests {
                let module = IMPURE_MODULES.iter().find(|module| line.contains(*module));
                if let Some(module) = module {
                    report(format!("{module} in a pure crate"));
                }
            }
        }
    }
    found
}

/// Whether a line names the driver of debug probes where it may not.
fn names_probes(path: &str, line: &str) -> bool {
    let (driver, within) = PROBES;
    let is_path = line.contains(&format!("{driver}::"));
    is_path && !path.starts_with(within)
}

/// Whether a line is a comment wider than the limit, which rustfmt does not wrap.
fn is_wide_comment(line: &str) -> bool {
    line.trim_start().starts_with("//") && line.chars().count() > COMMENT_COLUMNS
}

fn is_code(path: &str) -> bool {
    path.ends_with(".rs") || path.ends_with(".py")
}

fn registry_host(line: &str) -> Option<String> {
    REGISTRY_HOSTS
        .iter()
        .map(|(first, second)| format!("{first}{second}"))
        .find(|host| line.contains(host))
}

/// The top-level folder of an absolute path in the line.
fn machine_path(line: &str) -> Option<String> {
    MACHINE_FOLDERS
        .iter()
        .map(|name| format!("/{name}"))
        .find(|folder| {
            line.match_indices(folder.as_str()).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let absolute =
                    before.is_none_or(|c| !c.is_alphanumeric() && !"._-~/}*)>".contains(c));
                absolute && line[at + folder.len()..].starts_with('/')
            })
        })
}

fn unfinished(line: &str) -> Option<String> {
    let ignored = ["#[", "ignore"].concat();
    if line.contains(&ignored) {
        return Some("an ignored test".to_owned());
    }
    let is_macro = |name: &&&str| {
        let call = format!("{name}!");
        line.match_indices(&call)
            .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    if let Some(name) = UNFINISHED_MACROS.iter().find(is_macro) {
        return Some(format!("the macro {name}"));
    }
    let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    let capital = |word: &str| {
        UNFINISHED_WORDS
            .iter()
            .any(|unfinished| unfinished.to_uppercase() == word)
    };
    words
        .into_iter()
        .find(|word| capital(word))
        .map(|word| format!("the word {word}"))
}

/// Whether a line opens an unsafe block, implementation, function, attribute or block of external
/// items, outside of comments.
fn opens_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or(line);
    [" {", " impl ", " fn ", " extern ", "("]
        .iter()
        .any(|after| {
            let opening = format!("unsafe{after}");
            code.match_indices(&opening).any(|(at, _)| {
                let before = &code[..at];
                // The type of a function is no function.
                let is_item = before.trim().is_empty() || before.trim().starts_with("pub");
                let is_type = [" fn ", " extern "].contains(after) && !is_item;
                // Skip occurrences in string literals.
                before.matches('"').count().is_multiple_of(2)
                    && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
                    && !is_type
            })
        })
}

/// Whether the last line, or one of the lines shortly above it, has a justification, or says as
/// documentation what a caller must ensure.
fn justified(lines: &[&str]) -> bool {
    lines
        .iter()
        .rev()
        .take(JUSTIFICATION_LINES + 1)
        .any(|line| line.contains("SAFETY:") || line.trim() == "/// # Safety")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the violations of one line in a source file.
    fn check(line: &str, expected: &[&str]) {
        let found = violations("host/a/src/a.rs", line);
        let texts: Vec<_> = found
            .iter()
            .map(|violation| violation.splitn(3, ':').nth(2).unwrap().trim())
            .collect();
        assert_eq!(texts, expected, "{line}");
    }

    #[test]
    fn marks_of_unfinished_work_are_found_as_whole_words() {
        check(&["    to", "do!()"].concat(), &["has the macro todo"]);
        check(&["    std::db", "g!(x)"].concat(), &["has the macro dbg"]);
        check(&["#[ig", "nore]"].concat(), &["has an ignored test"]);
        check(
            &["// TO", "DO: later"].concat(),
            &[&["has the word TO", "DO"].concat()],
        );
        check("let method_todos = autodbg;", &[]);
    }

    #[test]
    fn registry_hosts_are_found_in_all_files() {
        let line = ["see files.pythonho", "sted.org/x"].concat();
        assert_eq!(violations("README.md", &line).len(), 1);
        assert_eq!(violations("Cargo.lock", &line).len(), 0);
        assert_eq!(violations("README.md", "see docs.rs/tch").len(), 0);
    }

    #[test]
    fn only_absolute_paths_of_a_machine_are_found() {
        let tmp = "tmp";
        check(
            &format!("let p = \"/{tmp}/x\";"),
            &["names a path in /tmp, which is specific to a machine"],
        );
        check(
            &format!("/{tmp}/x"),
            &["names a path in /tmp, which is specific to a machine"],
        );
        check(&format!("push to /data/local/{tmp}/agent"), &[]);
        check("the worker/home dilemma, ./work/a, /proc/self", &[]);
    }

    #[test]
    fn a_comment_has_at_most_100_columns_and_code_is_left_to_rustfmt() {
        let comment = format!("    /// {}", "a".repeat(92));
        check(&comment, &[]);
        check(
            &format!("{comment}b"),
            &["a comment wider than 100 columns"],
        );
        check(&format!("let word = \"{}\";", "a".repeat(120)), &[]);
    }

    #[test]
    fn unsafe_code_needs_a_justification_nearby() {
        let bare = ["unsa", "fe { f() }"].concat();
        check(&bare, &["unsafe without a SAFETY comment above it"]);
        check(
            &["unsa", "fe impl Send for A {}"].concat(),
            &["unsafe without a SAFETY comment above it"],
        );
        for opening in ["fn f() {", "extern \"C\" {", "extern \"C\" fn f() {"] {
            let bare = format!("{} {opening}", ["unsa", "fe"].concat());
            check(&bare, &["unsafe without a SAFETY comment above it"]);
            check(&format!("/// # Safety\n/// Once only.\n{bare}"), &[]);
        }
        let field = format!("handler: {} extern \"C\" fn(),", ["unsa", "fe"].concat());
        check(&field, &[]);
        let attribute = ["#[unsa", "fe(no_mangle)]"].concat();
        check(&attribute, &["unsafe without a SAFETY comment above it"]);
        check(&format!("// SAFETY: f has no preconditions\n{bare}"), &[]);
        check(
            &format!("// SAFETY: far away{}{bare}", "\n".repeat(20)),
            &["unsafe without a SAFETY comment above it"],
        );
        check("// no unsafe { here }", &[]);
        check("let word = \"unsafe { \";", &[]);
    }

    #[test]
    fn pure_crates_use_neither_files_nor_unsafe_code_outside_of_tests() {
        let whole = "//! For graphs.\n#![forbid(unsafe_code)]\n";
        let file = "host/onnx-graph/src/lib.rs";
        assert_eq!(violations(file, whole), Vec::<String>::new());
        assert_eq!(violations(file, "//! For graphs.\n").len(), 1);
        assert_eq!(violations(file, "#![forbid(unsafe_code)]\n").len(), 1);
        assert_eq!(violations(file, &format!("{whole}use std::fs;\n")).len(), 1);
        assert_eq!(
            violations(
                file,
                &format!("{whole}#[cfg(test)]\nmod tests {{ use std::fs; }}\n")
            )
            .len(),
            0
        );
        assert_eq!(
            violations("host/onnx-graph/tests/a.rs", "use std::fs;\n").len(),
            0
        );
    }

    #[test]
    fn long_files_are_listed_and_too_long_ones_rejected() {
        let lines = |count: usize| "x\n".repeat(count);
        assert_eq!(long("a.rs", &lines(LONG)), None);
        assert_eq!(
            long("a.rs", &lines(LONG + 1)),
            Some("a.rs: 401 lines".to_owned())
        );
        assert_eq!(long("a.csv", &lines(LONG + 1)), None);
        assert_eq!(violations("a.rs", &lines(TOO_LONG)).len(), 0);
        assert_eq!(violations("a.rs", &lines(TOO_LONG + 1)).len(), 1);
    }

    #[test]
    fn unexpected_entries_of_the_top_level_are_found() {
        let files = [
            "host/a.rs",
            "host/b.rs",
            ".ci/run",
            "LICENSE-MIT",
            "notes.txt",
            "scripts/x.py",
        ]
        .map(String::from);
        let expected = ["notes.txt", "scripts"]
            .map(|entry| format!("{entry}: unexpected entry on the top level"));
        assert_eq!(top_level(&files), expected);
    }
}
