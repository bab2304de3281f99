//! Starts an emulated Cortex-M4 that counts instructions, and writes its profile: for trying
//! graphprune without a board. The board ends with standard input.
//!
//! ```sh
//! cargo run -p graphprune-boards --example mcu -- m4.toml
//! graphprune device add m4 --profile ./m4.toml --address ADDRESS
//! ```

use std::io::Read as _;

use graphprune_boards::{Mcu, McuConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let profile = std::env::args().nth(1).ok_or("name the profile's file")?;
    let mcu = Mcu::start(McuConfig {
        counts_instructions: true,
        ..McuConfig::default()
    })?;
    let (chip, description) = (mcu.chip(), mcu.description());
    let text = format!(
        r#"name = "emulated-m4"
transport = "probe"
[sampling]
warmup_ns = 0
warmup_runs = 0
min_rounds = 6
max_duration_ns = 20_000_000_000
ci_target_rel = 0.001
[limits]
time_ns = 60_000_000_000
[board]
chip = "{chip}"
simulated = true
description = '''
{description}'''
[board.clock]
hz = 25_000_000
tolerance_rel = 0.03
"#
    );
    std::fs::write(profile, text)?;
    println!("probe:1d50:6018:{}", mcu.address());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
