//! The ARM board starts, runs ARM programs, is killed and restarts.

use std::process::Output;

use graphprune_boards::{Board, BoardConfig};

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn its_programs_are_arm_programs_on_an_arm_processor() {
    let board = Board::start(BoardConfig::default()).unwrap();
    assert_eq!(text(&board.run("uname -m").unwrap()), "aarch64");
    let processor = text(&board.run("grep part /proc/cpuinfo | head -n 1").unwrap());
    assert!(processor.ends_with("0xd08"), "a Cortex-A72: {processor}");
}

#[test]
fn a_board_survives_lost_connections_and_a_restart() {
    let mut board = Board::start(BoardConfig::default()).unwrap();
    board.push("/proc/self/status".as_ref(), "file").unwrap();
    assert_eq!(text(&board.run("ls").unwrap()), "file");
    board.kill_connections();
    board.restart().unwrap();
    assert_eq!(text(&board.run("ls; uname -m").unwrap()), "aarch64");
}

#[test]
fn a_small_home_folder_fills_up() {
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
