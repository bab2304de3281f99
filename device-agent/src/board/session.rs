//! A board whose firmware runs.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use agent_protocol::{BoardInfo, BoardSpec, FirmwarePlace};
use board_plan::FIRMWARE_CODE_IN_RAM_BYTES;
use nix::fcntl::Flock;
use probe_rs::rtt::Rtt;
use probe_rs::{MemoryInterface as _, Session};

use super::attach::{attach, family, start};
use super::chip::Chip;
use super::firmware::Firmware;
use super::layout::{Network, Placed};
use super::link::{core, lost};
use super::mailbox::{Command, Counter, PROTOCOL};
use super::runner::{Counted, Runner};
use super::talk::Talk;
use super::writing::{flash, write_firmware};
use super::{BoardFault, clock, identity, memory, probe, probe_log};

/// How long it may take to answer a command that computes nothing.
const ANSWER: Duration = Duration::from_secs(10);
/// Rounds of the loop that tells a core from an emulator.
const PACE_ROUNDS: u32 = 20_000;
/// The identity of the core.
const CPUID: u64 = 0xe000_ed00;

/// A board whose firmware runs.
pub struct Board {
    session: Session,
    spec: BoardSpec,
    chip: Chip,
    firmware: Firmware,
    rtt: Rtt,
    info: BoardInfo,
    counter: Counter,
    _lock: Flock<File>,
}

/// A chip that is attached to. Nothing is written yet.
pub struct Attached {
    session: Session,
    spec: BoardSpec,
    chip: Chip,
    firmware: Firmware,
    chip_id: Option<String>,
    probe: String,
    probe_firmware: Option<String>,
    lock: Flock<File>,
}

impl Attached {
    /// Opens the probe and reads the firmware.
    ///
    /// `firmware` is the folder of the firmware's files, `locks` that of the probes' locks.
    pub fn open(
        spec: &BoardSpec,
        chip: Chip,
        firmware: &Path,
        locks: &Path,
    ) -> Result<Self, BoardFault> {
        let opened = probe::open(&spec.probe, locks)?;
        // Some drivers read it only when they attach.
        let (attached, logged) = probe_log::listen(|| attach(opened.probe, spec, &chip));
        let mut session = attached?;
        let origins = chip.origins(spec.firmware, FIRMWARE_CODE_IN_RAM_BYTES);
        let cpuid = core(&mut session, "reading the core's identity")?
            .read_word_32(CPUID)
            .map_err(|error| lost("reading the core's identity", &error))?;
        chip.check_core(cpuid)?;
        let family = family(&mut session, &chip)?;
        let chip_id = identity::serial_number(&mut session, &spec.id)?;
        Ok(Self {
            firmware: Firmware::load(firmware, family, origins)?,
            chip_id,
            session,
            spec: spec.clone(),
            chip,
            probe: opened.name,
            probe_firmware: opened.firmware.or(logged).or(opened.release),
            lock: opened.lock,
        })
    }

    /// Checks that a network fits.
    ///
    /// # Errors
    /// [`BoardFault::TooLarge`] with the part that does not.
    pub fn check_fit(&self, network: &Network<'_>) -> Result<(), BoardFault> {
        Placed::of(network, &self.chip, &self.firmware, self.spec.firmware).map(drop)
    }

    /// Writes the firmware unless it is there, and starts it.
    pub fn start(mut self) -> Result<Board, BoardFault> {
        write_firmware(&mut self.session, &self.spec, &self.firmware)?;
        let rtt = start(&mut self.session, &self.spec, &self.firmware)?;
        let mut board = Board {
            info: BoardInfo {
                chip: self.chip.target.name.clone(),
                chip_id: self.chip_id,
                probe: self.probe,
                probe_firmware: self.probe_firmware,
                cpuid: 0,
                firmware_sha256: self.firmware.sha256,
                counter: String::new(),
                declared_hz: self.spec.clock.hz,
                measured_hz: None,
                simulated: self.spec.simulated,
            },
            counter: Counter::Cycles,
            session: self.session,
            spec: self.spec,
            chip: self.chip,
            firmware: self.firmware,
            rtt,
            _lock: self.lock,
        };
        board.greet()?;
        Ok(board)
    }
}

impl Board {
    /// Returns what its times rest on.
    pub fn info(&self) -> BoardInfo {
        self.info.clone()
    }

    /// Checks that the core's counter counts cycles at the declared clock. Without it no time of
    /// this board is a latency.
    pub fn check_clock(&mut self) -> Result<(), BoardFault> {
        let counter = self.counter;
        let rounds = PACE_ROUNDS;
        let pace = Command::Pace { counter, rounds };
        let [ticks, ..] = self.talk("checking the counter")?.ask(pace, ANSWER)?;
        if ticks == 0 {
            return Err(BoardFault::StandsStill);
        }
        if self.spec.simulated {
            return Ok(());
        }
        if ticks < PACE_ROUNDS {
            return Err(BoardFault::TooFast {
                rounds: PACE_ROUNDS,
                ticks,
            });
        }
        let hz = self.spec.clock.hz;
        let mut talk = self.talk("checking the clock")?;
        talk.ask(Command::Count { counter }, ANSWER)?;
        let measured = clock::measure(&mut talk.core, counter, hz)?;
        drop(talk);
        clock::check(measured, &self.spec.clock)?;
        self.info.measured_hz = Some(measured);
        Ok(())
    }

    /// Says how fast the chip's memory is: its core's caches and its flash's wait states.
    pub fn memory(&mut self) -> Result<Vec<String>, BoardFault> {
        memory::in_words(&mut self.session, self.spec.clock.wait_states)
    }

    /// Puts a network on the board, where [`Placed::of`] says.
    pub fn place(&mut self, network: &Network<'_>) -> Result<Placed, BoardFault> {
        let place = self.spec.firmware;
        let placed = Placed::of(network, &self.chip, &self.firmware, place)?;
        if let Some(bytes) = network.weights {
            match place {
                FirmwarePlace::Flash => self.write_weights(placed.weights.0, bytes)?,
                FirmwarePlace::Ram => {
                    self.write(placed.weights.0, bytes, "writing the weights")?;
                }
            }
        }
        self.write(placed.plan.0, network.plan, "writing the plan")?;
        Ok(placed)
    }

    fn write_weights(&mut self, address: u32, bytes: &[u8]) -> Result<(), BoardFault> {
        flash(&mut self.session, &[(address, bytes)])?;
        // The firmware was stopped for it, and its RAM holds the algorithm of the flash.
        self.rtt = start(&mut self.session, &self.spec, &self.firmware)?;
        self.greet()
    }

    /// Writes the network's input, at this offset of its arena.
    pub fn write_input(
        &mut self,
        placed: &Placed,
        offset: u32,
        bytes: &[u8],
    ) -> Result<(), BoardFault> {
        self.write(placed.arena.0 + offset, bytes, "writing the input")
    }

    /// Reads the network's output, at this offset of its arena.
    pub fn read_output(
        &mut self,
        placed: &Placed,
        offset: u32,
        length: usize,
    ) -> Result<Vec<u8>, BoardFault> {
        let mut bytes = vec![0; length];
        let mut core = core(&mut self.session, "reading the output")?;
        core.read_8(u64::from(placed.arena.0 + offset), &mut bytes)
            .map_err(|error| lost("reading the output", &error))?;
        Ok(bytes)
    }

    /// Runs a placed network once.
    pub fn run(&mut self, placed: &Placed, within: Duration) -> Result<Counted, BoardFault> {
        self.runner(placed, within)?.run()
    }

    /// Prepares repeated runs of a placed network. `within` is the time limit of each command.
    pub fn runner(&mut self, placed: &Placed, within: Duration) -> Result<Runner<'_>, BoardFault> {
        let counter = self.counter;
        Ok(Runner {
            talk: self.talk("running the network")?,
            counter,
            placed: *placed,
            within,
        })
    }

    /// Checks that time does not depend on the weights' values, on which every measurement without
    /// its own weights rests: a placed network takes as long with the bytes of the firmware as
    /// weights.
    ///
    /// # Errors
    /// [`BoardFault::ValuesMatter`] if it does not.
    pub fn check_values(&mut self, placed: &Placed, within: Duration) -> Result<(), BoardFault> {
        let own = self.run(placed, within)?.ticks;
        let (from, bytes) = match self.spec.firmware {
            FirmwarePlace::Flash => (self.chip.flash.from, self.chip.flash.bytes),
            FirmwarePlace::Ram => (self.chip.ram.from, self.chip.ram.bytes),
        };
        let others = Placed {
            weights: (from, placed.weights.1.min(bytes)),
            ..*placed
        };
        let other = self.run(&others, within)?.ticks;
        if alike(own, other) {
            Ok(())
        } else {
            Err(BoardFault::ValuesMatter { own, other })
        }
    }

    fn talk(&mut self, doing: &'static str) -> Result<Talk<'_>, BoardFault> {
        Ok(Talk {
            core: core(&mut self.session, doing)?,
            rtt: &mut self.rtt,
            doing,
        })
    }

    fn write(&mut self, address: u32, bytes: &[u8], doing: &'static str) -> Result<(), BoardFault> {
        let mut core = core(&mut self.session, doing)?;
        // Whole words are written faster than bytes.
        core.write(u64::from(address), bytes)
            .map_err(|error| lost(doing, &error))
    }

    /// Asks for the firmware's protocol and the core's counter.
    fn greet(&mut self) -> Result<(), BoardFault> {
        const DOING: &str = "starting the firmware";
        let [protocol, cpuid, claims_cycles, ..] = self.talk(DOING)?.ask(Command::Hello, ANSWER)?;
        if protocol != PROTOCOL {
            return Err(BoardFault::Refused {
                doing: DOING,
                detail: format!("it speaks protocol {protocol}, the agent {PROTOCOL}"),
            });
        }
        self.info.cpuid = cpuid;
        self.counter = if self.spec.simulated || claims_cycles == 0 {
            Counter::SysTick
        } else {
            Counter::Cycles
        };
        self.info.counter = self.counter.to_string();
        Ok(())
    }
}

/// Whether two counts of the same work differ by at most a thousandth, or two ticks of a coarse
/// counter.
fn alike(one: u32, other: u32) -> bool {
    let most = (one.max(other) / 1000).max(2);
    one.abs_diff(other) <= most
}

#[cfg(test)]
mod tests {
    use super::alike;

    #[test]
    fn counts_of_the_same_work_differ_by_at_most_a_thousandth() {
        for (one, other, expected) in [
            (100_000, 100_100, true),
            (100_000, 100_101, false),
            (0, 2, true),
            (10, 13, false),
        ] {
            assert_eq!(alike(one, other), expected, "{one} {other}");
            assert_eq!(alike(other, one), expected, "{other} {one}");
        }
    }
}
