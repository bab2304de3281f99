//! The ARM board comes up, runs ARM programs, dies and comes back.

use std::process::Output;

use graphprune_boards::{Board, BoardConfig};

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn its_programs_are_arm_programs_that_see_an_arm_processor() {
    let board = Board::start(BoardConfig::default()).unwrap();
    assert_eq!(text(&board.run("uname -m").unwrap()), "aarch64");
    let processor = text(&board.run("grep part /proc/cpuinfo | head -n 1").unwrap());
    assert!(processor.ends_with("0xd08"), "a Cortex-A72: {processor}");
}

#[test]
fn a_pulled_cable_and_a_restart_leave_the_same_board() {
    let mut board = Board::start(BoardConfig::default()).unwrap();
    board.push("/proc/self/status".as_ref(), "file").unwrap();
    assert_eq!(text(&board.run("ls").unwrap()), "file");
    board.kill_connections();
    board.restart().unwrap();
    assert_eq!(text(&board.run("ls; uname -m").unwrap()), "aarch64");
}

#[test]
fn a_small_home_folder_runs_full() {
    let board = Board::start(BoardConfig {
        home_bytes: 1 << 20,
        ..BoardConfig::default()
    })
    .unwrap();
    let written = board
        .run("dd if=/dev/zero of=file bs=1k count=2000")
        .unwrap();
    assert!(String::from_utf8_lossy(&written.stderr).contains("No space left"));
}
