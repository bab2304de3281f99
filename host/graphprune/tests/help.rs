//! The help of commands, as users read it.

use std::process::Command;

#[test]
fn the_help_is_the_reviewed_one() {
    for command in ["pack", "quantize", "unpack"] {
        let output = Command::new(env!("CARGO_BIN_EXE_graphprune"))
            .args([command, "--help"])
            .env("COLUMNS", "100")
            .output()
            .unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        insta::assert_snapshot!(command, help);
    }
}

#[test]
fn the_documentation_has_the_table_of_exit_codes_of_the_help() {
    let output = Command::new(env!("CARGO_BIN_EXE_graphprune"))
        .arg("--help")
        .env("COLUMNS", "1000")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, table) = help.split_once("Exit codes:\n").unwrap();
    let rows = table.lines().take_while(|line| !line.is_empty());
    let rows = rows.map(|line| {
        let (code, meaning) = line.trim().split_once("  ").unwrap();
        format!("| {code} | {meaning} |\n")
    });
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/exit-codes.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rows: String = rows.collect();
    assert!(page.contains(&rows), "{page}\nhas not\n{rows}");
}
