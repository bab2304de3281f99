//! An agent that measures on emulated Cortex-M boards, through probe-rs and a probe on TCP: what it
//! computes, what it refuses to call a latency, and what it says when something is wrong.

mod faults;
mod fixture;

use fixture::{Setting, network};
use graphprune_boards::McuCore;
use latency::{Evidence, LatencySource as _, MeasureRequest, RegisterField};

#[test]
fn a_network_runs_on_a_board_as_on_the_host() {
    for core in [McuCore::M4, McuCore::M33, McuCore::M55] {
        let mut bench = Setting {
            core,
            ..Setting::default()
        }
        .start();
        assert!(bench.device.describe().cpu_model.starts_with("emulated-m"));
        bench.check_run(&network());
    }
}

#[test]
fn an_emulators_time_is_not_taken_for_a_latency() {
    let mut bench = Setting::default().start();
    let error = bench.measure(&network()).unwrap_err().to_string();
    assert!(error.contains("cycle counter stands still"), "{error}");
}

#[test]
fn a_simulated_board_gives_counts_that_are_marked_as_such() {
    const SERIAL_NUMBER: u32 = 0x2007_0000;
    let mut bench = Setting {
        spoil: |board| {
            board.id = vec![SERIAL_NUMBER];
            board.clock.wait_states = Some(RegisterField {
                address: SERIAL_NUMBER,
                mask: 0xff00,
            });
        },
        ..Setting::simulated()
    }
    .start();
    bench.mcu.write(SERIAL_NUMBER, &[1, 2, 3, 4]).unwrap();
    let request = MeasureRequest {
        evidence: Evidence::Full,
        ..fixture::request(&network())
    };
    let measured = bench.device.measure(&request).unwrap().remove(0);
    assert!(measured.is_valid(), "{:?}", measured.verdict);
    let board = measured.runtime.board.unwrap();
    assert!(board.simulated && board.measured_hz.is_none(), "{board:?}");
    assert_eq!(
        (board.counter.as_str(), board.declared_hz),
        ("SysTick", 25_000_000)
    );
    assert_eq!(board.cpuid >> 4 & 0xfff, 0xc24);
    assert_eq!(board.chip_id.as_deref(), Some("04030201"));
    assert_eq!(
        board.probe_firmware.as_deref(),
        Some("Black Magic Probe (emulated)")
    );
    for begin in ["simulated", "the core's", "the flash has 2 wait states"] {
        let notes = &measured.notes;
        assert!(
            notes.iter().any(|note| note.starts_with(begin)),
            "{notes:?}"
        );
    }
    // The instructions of each round are the same, but for one tick of forty.
    let (least, most) = (
        measured.samples_ns.iter().min(),
        measured.samples_ns.iter().max(),
    );
    let (least, most) = (*least.unwrap(), *most.unwrap());
    assert!(most - least <= 80, "{:?}", measured.samples_ns);
    let operators = &measured.runtime.node_providers;
    let sum: u64 = operators.iter().filter_map(|node| node.time_ns).sum();
    assert!(sum <= most && sum * 10 > most * 9, "{sum} of {most}");
    assert!(measured.peak_memory_bytes.unwrap() > 1000);
}

#[test]
fn a_board_without_flash_runs_from_its_ram() {
    let mut bench = Setting {
        spoil: |board| board.firmware = latency::FirmwarePlace::Ram,
        ..Setting::default()
    }
    .start();
    bench.check_run(&network());
}
