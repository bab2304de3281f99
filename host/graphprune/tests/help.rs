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
