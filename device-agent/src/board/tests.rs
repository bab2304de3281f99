use std::path::Path;

use agent_protocol::{BoardClock, BoardSpec, FirmwarePlace};
use graphprune_boards::{Mcu, McuConfig, McuCore};

use super::session::Board;

fn spec(mcu: &Mcu) -> BoardSpec {
    BoardSpec {
        probe: format!("1d50:6018:{}", mcu.address()),
        chip: mcu.chip().to_owned(),
        description: mcu.description(),
        clock: BoardClock {
            hz: 25_000_000,
            tolerance_rel: 0.01,
            steps: Vec::new(),
        },
        firmware: FirmwarePlace::Flash,
        ram_bytes: 0,
        flash_bytes: 0,
        under_reset: false,
        allow_erase: false,
        simulated: false,
    }
}

fn firmware() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/firmware")
}

#[test]
fn the_firmware_answers_on_an_emulated_board() {
    let mcu = Mcu::start(McuConfig {
        core: McuCore::M4,
        ..McuConfig::default()
    })
    .unwrap();
    let locks = tempfile::tempdir().unwrap();
    let board = Board::open(&spec(&mcu), &firmware(), locks.path()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(board.facts().cpuid >> 4 & 0xfff, 0xc24);
}
