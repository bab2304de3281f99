//! Keeps a target running until Enter is pressed, for experiments without hardware: `cargo run
//! --package graphprune-boards --example target -- sshd`, `board`, `adbd` or `phone`. A second
//! word is the processor of the board: `board max` runs 32-bit programs, too.

use graphprune_boards::{Adbd, AdbdConfig, Board, BoardConfig, BoardError, Sshd, System};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kind = std::env::args().nth(1).unwrap_or_default();
    match kind.as_str() {
        "sshd" => hold(Sshd::start(), |server| {
            format!("ssh -F {} board", server.config().display())
        }),
        "board" => {
            let mut config = BoardConfig::default();
            if let Some(cpu) = std::env::args().nth(2) {
                config.cpu = cpu;
            }
            hold(Board::start(config), |board| {
                format!("ssh -F {} board", board.config().display())
            })
        }
        "adbd" => hold(Adbd::start(AdbdConfig::new(System::Host)), adb),
        "phone" => hold(Adbd::start(AdbdConfig::new(System::Bare)), adb),
        _ => Err("name a target: sshd, board, adbd or phone".into()),
    }
}

fn adb(device: &Adbd) -> String {
    format!("{} -s {} shell", device.client().display(), device.serial())
}

fn hold<T>(
    started: Result<T, BoardError>,
    words: impl Fn(&T) -> String,
) -> Result<(), Box<dyn std::error::Error>> {
    let target = started?;
    println!("{}\nEnter ends it", words(&target));
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}
