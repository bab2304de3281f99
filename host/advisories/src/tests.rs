use super::*;

const LOCK: &str = r#"version = 4

[[package]]
name = "arrow"
version = "1.2.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "0000000000000000000000000000000000000000000000000000000000000000"

[[package]]
name = "own"
version = "0.1.0"
"#;

/// A folder with a lock file and a database with one advisory for the crate `arrow`.
fn folder(informational: &str, patched: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Cargo.lock"), LOCK).unwrap();
    let crates = folder.path().join("db/crates/arrow");
    std::fs::create_dir_all(&crates).unwrap();
    let advisory = format!(
        "```toml\n[advisory]\nid = \"RUSTSEC-2024-0001\"\npackage = \"arrow\"\ndate = \"2024-01-02\"\n{informational}\n\
         [versions]\npatched = {patched}\n```\n\n# It misses\n\nA description.\n"
    );
    std::fs::write(crates.join("RUSTSEC-2024-0001.md"), advisory).unwrap();
    folder
}

fn found(folder: &Path, rules: &str) -> Result<Findings> {
    let rules = toml::from_str(rules).unwrap();
    find(&folder.join("Cargo.lock"), &folder.join("db"), &rules)
}

#[test]
fn a_vulnerable_or_unsound_crate_is_a_violation_and_an_unmaintained_one_a_remark() {
    let check = |informational: &str, patched: &str, violations: &[&str], remarks: &[&str]| {
        let folder = folder(informational, patched);
        let lines = |all: &[&str]| all.iter().map(|&line| line.to_owned()).collect();
        let expected = Findings {
            violations: lines(violations),
            remarks: lines(remarks),
        };
        assert_eq!(found(folder.path(), "").unwrap(), expected);
    };
    let line = "arrow 1.2.0 is vulnerable: It misses (RUSTSEC-2024-0001); patched in >=1.3.0";
    check("", "[\">= 1.3.0\"]", &[line], &[]);
    check("", "[\">= 1.1.0\"]", &[], &[]);
    let line = "arrow 1.2.0 is unsound: It misses (RUSTSEC-2024-0001); there is no patched version";
    check("informational = \"unsound\"", "[]", &[line], &[]);
    let line =
        "arrow 1.2.0 is unmaintained: It misses (RUSTSEC-2024-0001); there is no patched version";
    check("informational = \"unmaintained\"", "[]", &[], &[line]);
}

#[test]
fn an_advisory_that_the_rules_ignore_does_not_count_and_an_entry_without_use_does() {
    let rules = "advisories.ignore = [{ id = 'RUSTSEC-2024-0001', reason = 'not called' }]";
    let of = |patched| found(folder("", patched).path(), rules).unwrap();
    assert_eq!(of("[]"), Findings::default());
    let violations = of("[\">= 1.1.0\"]").violations;
    assert!(
        violations[0].contains("concerns no locked crate"),
        "{violations:?}"
    );
}

#[test]
fn an_empty_or_damaged_database_or_lock_file_is_an_error_that_names_it() {
    let check = |spoil: &dyn Fn(&Path), name: &str| {
        let folder = folder("", "[]");
        spoil(folder.path());
        let error = format!("{:#}", found(folder.path(), "").unwrap_err());
        assert!(error.contains(name), "{error}");
    };
    let advisory = "db/crates/arrow/RUSTSEC-2024-0001.md";
    check(
        &|at| std::fs::remove_file(at.join(advisory)).unwrap(),
        "no advisories",
    );
    check(
        &|at| std::fs::write(at.join(advisory), "```toml").unwrap(),
        "/db",
    );
    check(&|at| std::fs::remove_dir_all(at.join("db")).unwrap(), "/db");
    check(
        &|at| std::fs::write(at.join("Cargo.lock"), "version =").unwrap(),
        "Cargo.lock",
    );
}
