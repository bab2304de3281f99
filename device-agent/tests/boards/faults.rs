//! Faults of a board, its probe and its profile: one sentence each, in time, and the next
//! measurement is right.

use std::time::{Duration, Instant};

use graphprune_boards::{Mcu, McuCore, SlowLink};
use latency::{BoardSpec, FirmwarePlace, LatencySource as _};

use crate::fixture::{Bench, LIMIT_NS, Setting, network, request, small};

/// Time after which an agent has answered, whatever the fault: the worker's limit and what it takes
/// to end it.
const WITHIN: Duration = Duration::from_nanos(LIMIT_NS + 5_000_000_000);

/// Measures in spite of a fault, and expects one sentence about it in time.
fn check(bench: &mut Bench, needle: &str) {
    let begun = Instant::now();
    let error = bench.measure(&network()).unwrap_err().to_string();
    assert!(begun.elapsed() < WITHIN, "{:?}: {error}", begun.elapsed());
    assert!(error.contains(needle), "{needle}: {error}");
    assert!(!error.contains('\n'), "{error}");
    assert!(
        bench.device.client().is_some(),
        "the agent is gone: {error}"
    );
}

/// Expects the next measurement to be right.
fn check_next(bench: &mut Bench) {
    let measured = bench
        .measure(&network())
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(measured.is_valid(), "{:?}", measured.verdict);
}

#[test]
fn a_silent_probe_costs_one_measurement() {
    let mut bench = Setting::simulated().start();
    bench.link().hang(true);
    check(&mut bench, "does not answer");
    bench.link().hang(false);
    check_next(&mut bench);
}

#[test]
fn a_probe_without_a_server_is_named() {
    let mut bench = Setting::simulated().start();
    bench.link = None;
    check(&mut bench, "no probe listens on 127.0.0.1");
}

/// Measures while `fault` happens, once the probe has answered so many requests.
fn check_during(requests: u64, fault: fn(&mut Mcu, &SlowLink), needle: &str) -> Bench {
    let mut bench = Setting::simulated().start();
    check_next(&mut bench);
    check_while(bench, requests, fault, &[needle])
}

/// The same on a board as it is. The sentence has one of the needles.
fn check_while(
    mut bench: Bench,
    requests: u64,
    fault: fn(&mut Mcu, &SlowLink),
    needles: &[&str],
) -> Bench {
    let Bench { mcu, link, device } = &mut bench;
    let link = link.as_ref().unwrap();
    // The measurement waits for the fault, however slow the machine is.
    mcu.hold_after(requests);
    let request = request(&network());
    let (error, taken) = std::thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            let begun = Instant::now();
            (
                device.measure(&request).unwrap_err().to_string(),
                begun.elapsed(),
            )
        });
        while !mcu.is_holding() && !measuring.is_finished() {
            std::thread::yield_now();
        }
        fault(mcu, link);
        mcu.release();
        measuring.join().expect("it fails")
    });
    assert!(taken < WITHIN, "{taken:?}: {error}");
    assert!(!error.contains('\n'), "{error}");
    let names = needles.iter().any(|needle| error.contains(needle));
    assert!(names, "{needles:?}: {error}");
    assert!(
        bench.device.client().is_some(),
        "the agent is gone: {error}"
    );
    bench
}

/// Requests that the probe has answered when it is attached, when the core sums up its firmware
/// and when a network runs.
const MOMENTS: [u64; 3] = [20, 100, 300];

#[test]
fn a_probe_that_is_pulled_costs_one_measurement() {
    for requests in MOMENTS {
        let pull = |_: &mut Mcu, link: &SlowLink| {
            link.cut();
        };
        let mut bench = check_during(requests, pull, "probe");
        check_next(&mut bench);
    }
}

#[test]
fn a_probe_that_falls_silent_is_ended_by_the_workers_limit() {
    let silence = |_: &mut Mcu, link: &SlowLink| link.hang(true);
    let mut bench = check_during(
        MOMENTS[1],
        silence,
        "it was ended when its 20000 ms were up",
    );
    bench.link().hang(false);
    bench.link().cut();
    check_next(&mut bench);
}

#[test]
fn a_board_that_loses_its_power_costs_one_measurement() {
    for requests in MOMENTS {
        let lose = |mcu: &mut Mcu, _: &SlowLink| mcu.kill();
        let mut bench = check_during(requests, lose, "probe");
        bench.mcu.restart().unwrap();
        check_next(&mut bench);
    }
}

#[test]
fn a_core_that_is_locked_up_is_reset() {
    let mut bench = Setting::simulated().start();
    bench.mcu.lock_up().unwrap();
    check_next(&mut bench);
}

#[test]
fn a_core_that_locks_up_during_a_run_costs_one_measurement() {
    let lock_up = |mcu: &mut Mcu, _: &SlowLink| mcu.lock_up().unwrap();
    let mut bench = Setting::simulated().start();
    check_next(&mut bench);
    // The core runs the flash algorithm or the firmware.
    let needles = ["LockedUp", "the core is locked up"];
    let mut bench = check_while(bench, MOMENTS[2], lock_up, &needles);
    check_next(&mut bench);
}

/// Requests that the probe has answered while an empty board's flash is erased and programmed.
const FLASHING: [u64; 3] = [250, 320, 400];

#[test]
fn a_probe_that_is_pulled_while_the_flash_is_written_costs_one_measurement() {
    for requests in FLASHING {
        let pull = |_: &mut Mcu, link: &SlowLink| {
            link.cut();
        };
        let bench = Setting::simulated().start();
        let needles = ["flash could not", "the probe", "writing the firmware"];
        let mut bench = check_while(bench, requests, pull, &needles);
        check_next(&mut bench);
        bench.check_run(&network());
    }
}

#[test]
fn a_flash_that_was_half_written_is_written_again() {
    let mut bench = Setting::simulated().start();
    check_next(&mut bench);
    // As a power cut leaves it: a sector erased, the next one half programmed.
    bench.mcu.write(0x1000, &[0xff; 4096]).unwrap();
    bench.mcu.write(0x2800, &[0x5a; 2048]).unwrap();
    check_next(&mut bench);
    bench.check_run(&network());
}

/// A chip of Nordic's that is locked. The emulated board has no flash controller of its kind, so
/// the firmware runs from RAM.
fn locked(allow_erase: bool) -> Bench {
    let spoil: fn(&mut BoardSpec) = match allow_erase {
        true => |board| {
            nordic(board);
            board.allow_erase = true;
        },
        false => nordic,
    };
    let setting = Setting {
        locked: true,
        spoil,
        ..Setting::simulated()
    };
    setting.start()
}

fn nordic(board: &mut BoardSpec) {
    board.chip = "nRF52840_xxAA".into();
    board.description = String::new();
    board.firmware = FirmwarePlace::Ram;
}

#[test]
fn a_protected_chip_is_refused_and_opened_only_where_that_is_allowed() {
    let mut bench = locked(false);
    check(&mut bench, "is protected against debuggers");
    check(&mut bench, "set allow_erase");
    let mut bench = locked(true);
    bench.check_run(&small());
}

#[test]
fn a_stale_block_is_not_taken_for_the_firmwares() {
    let mut bench = Setting::simulated().start();
    check_next(&mut bench);
    // What an earlier program left everywhere in RAM.
    bench
        .mcu
        .write(0x2000_0000, &b"SEGGER RTT\0\0\0\0\0\0".repeat(64))
        .unwrap();
    check_next(&mut bench);
}

#[test]
fn a_wrong_chip_is_answered_with_the_nearest_names() {
    let setting = Setting {
        spoil: |board| board.chip = "emulated-m5".into(),
        ..Setting::default()
    };
    let (mcu, link) = setting.board();
    let error = setting.agent(&mcu, &link).err().unwrap().to_string();
    assert!(
        error.contains("no chip `emulated-m5`") && error.contains("emulated-m4"),
        "{error}"
    );
}

#[test]
fn a_chip_of_another_core_is_refused() {
    let setting = Setting {
        core: McuCore::M3,
        spoil: |board| board.description = board.description.replace("armv7m", "armv8m"),
        ..Setting::simulated()
    };
    let mut bench = setting.start();
    let error = bench.measure(&network()).unwrap_err().to_string();
    assert!(
        error.contains("core") || error.contains("firmware"),
        "{error}"
    );
}

#[test]
fn a_core_of_another_kind_is_named_before_anything_is_written() {
    let mut bench = Setting {
        spoil: |board| board.description = board.description.replace("armv7em", "armv7m"),
        ..Setting::simulated()
    }
    .start();
    let before = bench.mcu.read(0x100, 64).unwrap();
    check(&mut bench, "the board's processor is a Cortex-M4");
    assert_eq!(bench.mcu.read(0x100, 64).unwrap(), before);
}

#[test]
fn a_network_that_does_not_fit_is_refused_before_anything_is_written() {
    let mut bench = Setting {
        spoil: |board| board.ram_bytes = 16 << 10,
        ..Setting::simulated()
    }
    .start();
    let before = bench.mcu.read(0x100, 64).unwrap();
    check(&mut bench, "does not fit");
    assert_eq!(bench.mcu.read(0x100, 64).unwrap(), before);
}

#[test]
fn two_agents_do_not_share_a_probe() {
    let setting = Setting::simulated();
    let mut bench = setting.start();
    let mut other = setting.agent(&bench.mcu, bench.link()).unwrap();
    // The probe hangs under the first one, which keeps it until its time is up.
    bench.link().hang(true);
    let outcomes = std::thread::scope(|scope| {
        let first = scope.spawn(|| bench.measure(&network()).unwrap_err().to_string());
        let second = scope.spawn(|| other.measure(&request(&network())).unwrap_err().to_string());
        [first.join().unwrap(), second.join().unwrap()]
    });
    let in_use = outcomes
        .iter()
        .filter(|error| error.contains("in use by another agent"));
    assert_eq!(in_use.count(), 1, "{outcomes:?}");
    bench.link().hang(false);
    check_next(&mut bench);
}
