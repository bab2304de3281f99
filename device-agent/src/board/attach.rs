//! The way to a board whose firmware runs: attaching, the choice of the firmware, its start.

use std::time::{Duration, Instant};

use agent_protocol::BoardSpec;
use probe_rs::rtt::{Rtt, ScanRegion};
use probe_rs::{Error, MemoryInterface as _, Permissions, Session};

use super::chip::Chip;
use super::firmware::Firmware;
use super::link::{PC, SP, check_running, core, lost, run};
use super::probe::chain;
use super::{BoardFault, clock};

/// How long the firmware may take to fill in its block after its start: an emulated board beside
/// other work takes seconds.
const START: Duration = Duration::from_secs(10);
/// The instructions of a core: whether it has those of the DSP extension (Armv8-M Architecture
/// Reference Manual, D1.2.104).
const ID_ISAR3: u64 = 0xe000_ed6c;
const ISAR3_SIMD: u32 = 0xf0;
const ISAR3_DSP: u32 = 0x30;
/// Whether it has the vector extension (D1.2.162); zero without an FPU.
const MVFR1: u64 = 0xe000_ef44;
const MVFR1_MVE: u32 = 0xf00;
/// Registers by which a program is started: the vector table's address.
const VTOR: u64 = 0xe000_ed08;

/// Attaches to the chip. A chip that does not answer under reset is attached to without.
pub fn attach(
    probe: probe_rs::probe::Probe,
    spec: &BoardSpec,
    chip: &Chip,
) -> Result<Session, BoardFault> {
    let permissions = if spec.allow_erase {
        Permissions::new().allow_erase_all()
    } else {
        Permissions::new()
    };
    let target = chip.target.clone();
    let attached = if spec.under_reset {
        probe.attach_under_reset_with_registry(target, permissions, &chip.registry)
    } else {
        probe.attach_with_registry(target, permissions, &chip.registry)
    };
    attached.map_err(|error| {
        let detail = chain(&error);
        let is_protected = [
            "lacked the permission",
            "MissingPermissions",
            "read protection",
        ]
        .iter()
        .any(|sign| detail.contains(sign));
        if is_protected {
            return BoardFault::Protected {
                chip: spec.chip.clone(),
            };
        }
        BoardFault::Attach {
            selector: spec.probe.clone(),
            chip: spec.chip.clone(),
            detail,
        }
    })
}

/// Returns the name of the firmware's file: that of the chip's core family, and of the extension
/// where it is the chip's choice.
pub fn family(session: &mut Session, chip: &Chip) -> Result<&'static str, BoardFault> {
    const DOING: &str = "reading what the core offers";
    if chip.family != "thumbv8m" {
        return Ok(chip.family);
    }
    let mut core = core(session, DOING)?;
    let mut read = |register| {
        core.read_word_32(register)
            .map_err(|error| lost(DOING, &error))
    };
    Ok(if read(MVFR1)? & MVFR1_MVE != 0 {
        "thumbv8m-helium"
    } else if read(ID_ISAR3)? & ISAR3_SIMD == ISAR3_DSP {
        "thumbv8m-dsp"
    } else {
        chip.family
    })
}

/// Starts the firmware on a core that is halted after a reset, and waits for its channel.
pub fn start(
    session: &mut Session,
    spec: &BoardSpec,
    firmware: &Firmware,
) -> Result<Rtt, BoardFault> {
    const DOING: &str = "starting the firmware";
    let mut core = core(session, DOING)?;
    let lost = |error: Error| lost(DOING, &error);
    clock::set(&mut core, &spec.clock.steps)?;
    let region = ScanRegion::Exact(u64::from(firmware.rtt));
    // A block of an earlier start would be taken for this one's.
    core.write_8(u64::from(firmware.rtt), &[0; 16])
        .map_err(lost)?;
    core.write_word_32(VTOR, firmware.origin).map_err(lost)?;
    core.write_core_reg(SP, firmware.stack_top).map_err(lost)?;
    core.write_core_reg(PC, firmware.entry & !1).map_err(lost)?;
    run(&mut core).map_err(lost)?;
    let begun = Instant::now();
    loop {
        match Rtt::attach_region(&mut core, &region) {
            Ok(rtt) => return Ok(rtt),
            Err(probe_rs::rtt::Error::Probe(error)) => return Err(lost(error)),
            Err(_) => check_running(&mut core, DOING)?,
        }
        if begun.elapsed() > START {
            return Err(BoardFault::Silent {
                doing: DOING,
                within: START,
            });
        }
    }
}
