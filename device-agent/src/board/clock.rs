//! The clock of a core: set by writes to its registers, verified against the host's clock.

use std::time::{Duration, Instant};

use agent_protocol::{BoardClock, RegisterStep};
use probe_rs::{Core, MemoryInterface as _};

use super::BoardFault;
use super::mailbox::Counter;
use super::probe::chain;

/// How long a clock may take to become ready.
const READY: Duration = Duration::from_millis(500);
/// How long the counter is watched: an access takes milliseconds over a slow probe, and must not
/// decide a difference of one percent.
const WATCH: Duration = Duration::from_millis(1000);
const DWT_CYCCNT: u64 = 0xe000_1004;
const SYST_CVR: u64 = 0xe000_e018;
const SYST_TURN: u32 = 1 << 24;

fn lost(error: &probe_rs::Error) -> BoardFault {
    BoardFault::Lost {
        doing: "setting or checking the clock",
        detail: chain(error),
    }
}

/// Carries out the steps of a profile while the core is halted.
pub fn set(core: &mut Core<'_>, steps: &[RegisterStep]) -> Result<(), BoardFault> {
    for step in steps {
        let begun = Instant::now();
        let address = u64::from(step.address);
        let mut read = || core.read_word_32(address).map_err(|error| lost(&error));
        if !step.wait {
            // A register that is written as a whole may be one that cannot be read.
            let kept = match step.mask {
                u32::MAX => 0,
                mask => read()? & !mask,
            };
            core.write_word_32(address, kept | (step.value & step.mask))
                .map_err(|error| lost(&error))?;
            continue;
        }
        while read()? & step.mask != step.value & step.mask {
            if begun.elapsed() > READY {
                return Err(BoardFault::ClockStep {
                    address: step.address,
                    value: step.value,
                    mask: step.mask,
                });
            }
        }
    }
    Ok(())
}

/// Reads the counter twice through the memory port while the core runs. Returns its frequency by
/// the host's clock, in hertz.
///
/// The counter of 24 bits turns several times in between: `declared_hz` tells how often.
pub fn measure(core: &mut Core<'_>, counter: Counter, declared_hz: u64) -> Result<f64, BoardFault> {
    let mut read = || {
        let before = Instant::now();
        let value = match counter {
            Counter::Cycles => core.read_word_32(DWT_CYCCNT),
            // It counts down.
            Counter::SysTick => core.read_word_32(SYST_CVR).map(|left| SYST_TURN - 1 - left),
        };
        let value = value.map_err(|error| lost(&error))?;
        // The access lies somewhere between both moments.
        Ok((value, before + before.elapsed() / 2))
    };
    let (first, from) = read()?;
    while from.elapsed() < WATCH {
        std::thread::sleep(WATCH.saturating_sub(from.elapsed()));
    }
    let (second, to) = read()?;
    let seconds = (to - from).as_secs_f64();
    if first == second {
        return Err(BoardFault::StandsStill);
    }
    Ok(match counter {
        Counter::Cycles => f64::from(second.wrapping_sub(first)) / seconds,
        Counter::SysTick => {
            let turn = f64::from(SYST_TURN);
            let part = f64::from(second.wrapping_sub(first) & (SYST_TURN - 1));
            let expected = declared_hz as f64 * seconds;
            let turns = ((expected - part) / turn).round().max(0.0);
            (part + turns * turn) / seconds
        }
    })
}

/// Fails if a measured frequency is not the declared one.
pub fn check(measured_hz: f64, clock: &BoardClock) -> Result<(), BoardFault> {
    let declared_hz = clock.hz as f64;
    if (measured_hz / declared_hz - 1.0).abs() <= clock.tolerance_rel {
        Ok(())
    } else {
        Err(BoardFault::Clock {
            measured_hz,
            declared_hz,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_within_its_tolerance_is_accepted() {
        let clock = BoardClock {
            hz: 16_000_000,
            tolerance_rel: 0.01,
            ..BoardClock::default()
        };
        assert!(check(16_100_000.0, &clock).is_ok());
        assert!(check(15_900_000.0, &clock).is_ok());
        let error = check(8_000_000.0, &clock).unwrap_err().to_string();
        assert!(
            error.contains("8.000 MHz") && error.contains("16.000 MHz"),
            "{error}"
        );
        assert!(check(f64::NAN, &clock).is_err());
    }
}
