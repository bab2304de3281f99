//! Bare-metal boards through the command line, with the real agent and an emulated board.

use std::fs;

use graphprune_boards::{Mcu, McuConfig, Sshd, write_agents};
use graphprune_tests::Sandbox;
use onnx_graph::Graph;
use onnx_graph::quantize::{Quantize, quantize};
use serde_json::Value;

/// The serial number of the boards' chips: what lies behind everything else in their RAM.
const SERIAL_NUMBER: &str = "0027003d-3132470f";

/// Registers a board as `m4`, and writes `model.onnx`, a network in integers.
fn sandbox(mcu: &Mcu, simulated: bool) -> Sandbox {
    let sandbox = Sandbox::new();
    write_files(&sandbox, mcu, simulated);
    let address = format!("probe:1d50:6018:{}", mcu.address());
    let add = ["device", "add", "m4", "--profile", "./emulated.toml"];
    let output = sandbox.run(&[&add[..], &["--address", &address]].concat());
    assert!(output.status.success(), "{output:?}");
    sandbox
}

/// Writes the profile of a board, and `model.onnx`.
fn write_files(sandbox: &Sandbox, mcu: &Mcu, simulated: bool) {
    let words = [0x0027_003d_u32, 0x3132_470f];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    mcu.write(0x2007_0000, &bytes).unwrap();
    let profile = format!(
        r#"
name = "emulated"
transport = "probe"
[sampling]
warmup_ns = 0
warmup_runs = 0
min_rounds = 6
max_duration_ns = 10_000_000_000
[limits]
time_ns = 30_000_000_000
[board]
chip = "{}"
id = [0x20070000, 0x20070004]
simulated = {simulated}
description = '''
{}'''
[board.clock]
hz = 25_000_000
tolerance_rel = 0.03
"#,
        mcu.chip(),
        mcu.description()
    );
    fs::write(sandbox.path("emulated.toml"), profile).unwrap();
    fs::write(sandbox.path("model.onnx"), network()).unwrap();
}

/// Standard output and standard error of a command, and its exit code.
fn seen(output: &std::process::Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A small network in floats.
fn floats() -> Graph {
    model_zoo::build("shapes_net", &model_zoo::ZooConfig::default()).unwrap()
}

/// The same in integers, with activations of fixed ranges.
fn network() -> Vec<u8> {
    let graph = onnx_graph::fold_batch_norm(&floats()).unwrap();
    let values = graph.inputs().iter().copied();
    let values = values.chain(graph.nodes().iter().map(onnx_graph::Node::output));
    let options = Quantize {
        ranges: values.map(|value| (value, (-4.0, 4.0))).collect(),
        ..Quantize::default()
    };
    onnx_graph::write(&quantize(&graph, &options).unwrap()).unwrap()
}

/// Measures on the board. Returns the exit code, standard output and standard error.
fn measure(sandbox: &Sandbox, more: &[&str]) -> (Option<i32>, String, String) {
    let args = ["measure", "model.onnx", "--device", "m4", "--effort", "0.1"];
    seen(&sandbox.run(&[&args[..], more].concat()))
}

#[test]
fn a_simulated_board_is_measured_as_any_device_and_marked() {
    let mcu = Mcu::start(McuConfig {
        counts_instructions: true,
        ..McuConfig::default()
    })
    .unwrap();
    let sandbox = sandbox(&mcu, true);
    let (code, stdout, stderr) = measure(&sandbox, &["--json"]);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    let measured: Value = serde_json::from_str(&stdout).expect("a list");
    let notes = measured[0]["notes"].to_string();
    assert!(notes.contains("simulated: times are counts"), "{notes}");
    assert!(
        notes.contains("the core's instruction cache is off"),
        "{notes}"
    );
    let median_ns = measured[0]["median_ns"].as_f64().expect("a time");
    assert!(median_ns > 1e6);
    // The operators' counts make up the run: a tick takes 40 ns.
    let board = &measured[0]["board"];
    assert_eq!(board["simulated"], true);
    assert_eq!(board["chip"], "emulated-m4");
    assert_eq!(board["chip_id"], SERIAL_NUMBER);
    assert_eq!(board["probe_firmware"], "Black Magic Probe (emulated)");
    let layers = board["layers"].as_array().expect("a list");
    let ticks: f64 = layers.iter().map(|of| of["cycles"].as_f64().unwrap()).sum();
    let share = ticks * 40.0 / median_ns;
    assert!((0.9..=1.0).contains(&share), "{share} of {stdout}");
    assert!(layers.iter().any(|of| of["macs"].as_u64() > Some(0)));
    let (_, stdout, stderr) = measure(&sandbox, &[]);
    assert!(stdout.contains("simulated"), "{stdout}\n{stderr}");
    assert!(stdout.contains("ticks/MAC"), "{stdout}\n{stderr}");
    let evidence = format!(
        "emulated-m4 (serial number {SERIAL_NUMBER}), by Black Magic probe (firmware Black Magic Probe (emulated))"
    );
    assert!(stdout.contains(&evidence), "{stdout}\n{stderr}");
}

#[test]
fn the_doctor_opens_the_probe_and_speaks_of_the_board_alone() {
    let mcu = Mcu::start(McuConfig {
        counts_instructions: true,
        ..McuConfig::default()
    })
    .unwrap();
    let (code, seen, _) = seen(&sandbox(&mcu, true).run(&["device", "doctor", "m4"]));
    assert_eq!(code, Some(0), "{seen}");
    for part in [
        "runtime: int8-engine",
        " kB, bare metal",
        "emulated-m4 (serial number 0027003d-3132470f) answers (CPUID 0x410fc24",
        "(firmware Black Magic Probe (emulated)), and runs the firmware",
        "SysTick follows an emulator's instructions; a small network takes",
    ] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    for foreign in ["ONNX Runtime", "governor", "temperature", "virtual machine"] {
        assert!(!seen.contains(foreign), "{foreign}: {seen}");
    }
}

#[test]
fn the_doctor_names_what_is_wrong_with_a_board() {
    let mcu = Mcu::start(McuConfig::default()).unwrap();
    let sandbox = sandbox(&mcu, false);
    let profile = fs::read_to_string(sandbox.path("emulated.toml")).unwrap();
    let check = |from: &str, to: &str, needles: &[&str]| {
        fs::write(sandbox.path("emulated.toml"), profile.replace(from, to)).unwrap();
        let (code, stdout, stderr) = seen(&sandbox.run(&["device", "doctor", "m4"]));
        assert_eq!(code, Some(3), "{stdout}{stderr}");
        for needle in needles {
            assert!(stdout.contains(needle), "{needle}: {stdout}");
        }
    };
    check("", "", &["ERROR    board", "cycle counter stands still"]);
    let nearest = ["the nearest names are", "STM32F407VG"];
    check("\"emulated-m4\"", "\"STM32F407VX\"", &nearest);
    let other_core = ["the board's processor is a Cortex-M4", "has a Cortex-M3"];
    check("type: armv7em", "type: armv7m", &other_core);
    let small = ["the network does not fit", "arena in RAM"];
    check("[board]\n", "[board]\nram_bytes = 8192\n", &small);
}

#[test]
fn a_board_at_another_machine_is_measured_by_the_agent_there() {
    let mcu = Mcu::start(McuConfig {
        counts_instructions: true,
        ..McuConfig::default()
    })
    .unwrap();
    let lab = Sshd::with_home(1 << 30).unwrap();
    let sandbox = Sandbox::new();
    write_files(&sandbox, &mcu, true);
    let config = lab.config().display().to_string();
    let address = format!("board/probe:1d50:6018:{}", mcu.address());
    let add = ["device", "add", "m4", "--profile", "./emulated.toml"];
    let ssh = ["--ssh-argument", "-F", "--ssh-argument", &config];
    let (code, stdout, stderr) =
        seen(&sandbox.run(&[&add[..], &["--address", &address], &ssh].concat()));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (_, stdout, stderr) = measure(&sandbox, &[]);
    assert!(stderr.contains("device deploy m4"), "{stdout}{stderr}");

    let agent = graphprune_tests::binary("graphprune-agent");
    let runtime = std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH");
    let files = [
        ("graphprune-agent".to_owned(), fs::read(agent).unwrap()),
        ("libonnxruntime.so".to_owned(), fs::read(runtime).unwrap()),
    ];
    write_agents(&sandbox.path("agents"), &files).unwrap();
    let (code, stdout, stderr) =
        seen(&sandbox.run(&["device", "deploy", "m4", "--agents", "agents"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (code, stdout, stderr) = measure(&sandbox, &[]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("simulated"), "{stdout}");
    let (code, stdout, stderr) = seen(&sandbox.run(&["device", "doctor", "m4"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("the probe 1d50:6018:"), "{stdout}");
}

#[test]
fn the_probes_that_are_plugged_in_are_listed() {
    let sandbox = Sandbox::new();
    let (code, stdout, stderr) = seen(&sandbox.run(&["device", "list", "--probes", "--json"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let probes: Vec<latency::PluggedProbe> = serde_json::from_str(&stdout).expect("a list");
    let (code, stdout, _) = seen(&sandbox.run(&["device", "list", "--probes"]));
    assert_eq!(code, Some(0), "{stdout}");
    match &probes[..] {
        [] => assert!(
            stdout.contains("No debug probe is plugged in") && stdout.contains("lsusb"),
            "{stdout}"
        ),
        probes => probes
            .iter()
            .for_each(|probe| assert!(stdout.contains(&probe.selector), "{stdout}")),
    }
}

#[test]
fn an_emulators_time_is_an_error_and_not_a_figure() {
    let mcu = Mcu::start(McuConfig::default()).unwrap();
    let sandbox = sandbox(&mcu, false);
    let (code, stdout, stderr) = measure(&sandbox, &[]);
    assert_eq!(code, Some(1), "{stdout}\n{stderr}");
    assert!(stderr.contains("cycle counter stands still"), "{stderr}");
    assert!(stdout.is_empty(), "{stdout}");
}

#[test]
fn a_network_is_pruned_with_latency_in_the_loop_on_a_simulated_board() {
    let mcu = Mcu::start(McuConfig {
        counts_instructions: true,
        ..McuConfig::default()
    })
    .unwrap();
    let sandbox = sandbox(&mcu, true);
    let config = graphprune_tests::TINY
        .replace("\"ddpg\"", "\"knapsack\"")
        .replace("device = \"quick.toml\"", "device = \"m4\"");
    fs::write(sandbox.path("board.toml"), config).unwrap();
    let args = ["prune", "model.onnx", "--config", "board.toml"];
    let output = sandbox.run(&[&args[..], &["--latency", "0.7x", "--out", "run"]].concat());
    sandbox.check_result(&output, "run");
    let report = fs::read(sandbox.path("run/report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let rows = report["rows"].as_array().expect("a list");
    let ratio = |label: &str| {
        let row = rows.iter().find(|row| row["label"] == label);
        row.expect("a row")["latency"]["ratio"].as_f64()
    };
    let pruned = ratio("pruned").expect("it is measured");
    assert!(pruned <= 0.7, "{pruned}");
    assert!(report.to_string().contains("simulated"), "not marked");
    let facts = report["evidence"]["facts"].to_string();
    assert!(facts.contains(SERIAL_NUMBER), "{facts}");
    assert!(facts.contains("Black Magic Probe (emulated)"), "{facts}");
    let (_, stdout, _) = seen(&output);
    let head = stdout.lines().find(|line| line.contains("test acc."));
    assert!(
        head.is_some_and(|head| head.contains("simulated")),
        "{stdout}"
    );
    let show = ["measurements", "show", "1", "--store", "run"];
    let (_, stdout, stderr) = seen(&sandbox.run(&show));
    assert!(stdout.contains(SERIAL_NUMBER), "{stdout}{stderr}");
    let store = ["measurements", "list", "--store", "run"];
    let (_, stdout, stderr) = seen(&sandbox.run(&store));
    let of_store: Vec<&str> = stdout.lines().filter(|line| line.contains(" ms")).collect();
    assert!(!of_store.is_empty(), "{stdout}{stderr}");
    assert!(
        of_store.iter().all(|line| line.contains("  simulated  ")),
        "{stdout}"
    );
}

/// A network in floats and a board: images calibrate it, memory is a budget, and what the board
/// computes is compared with the host bit for bit.
#[test]
fn a_network_in_floats_is_quantised_and_pruned_within_a_budget_of_memory() {
    let mcu = Mcu::start(McuConfig {
        counts_instructions: true,
        ..McuConfig::default()
    })
    .unwrap();
    let sandbox = sandbox(&mcu, true);
    let file = onnx_graph::write(&floats()).unwrap();
    fs::write(sandbox.path("model.onnx"), file).unwrap();
    let (code, stdout, stderr) = measure(&sandbox, &[]);
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    for needle in ["computes in floats", "graphprune quantize", "--data"] {
        assert!(stderr.contains(needle), "{stderr}");
    }
    let data = ["--data", "shapes:train=600,test=200,search=100"];
    let (code, stdout, stderr) = measure(&sandbox, &data);
    assert_eq!(code, Some(0), "{stdout}{stderr}");

    let inspect = ["inspect", "model.onnx", "--device", "m4", "--json"];
    let (code, stdout, stderr) = seen(&sandbox.run(&inspect));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let inspected: Value = serde_json::from_str(&stdout).expect("JSON");
    let bytes = |of: &str| inspected["board"][of].as_u64().expect("a number");
    let (ram, flash) = (bytes("ram_bytes"), bytes("flash_bytes"));
    assert!(
        inspected["board"]["peak"]
            .as_str()
            .is_some_and(|peak| !peak.is_empty())
    );

    let config = graphprune_tests::TINY
        .replace("\"ddpg\"", "\"knapsack\"")
        .replace("device = \"quick.toml\"", "device = \"m4\"");
    fs::write(sandbox.path("board.toml"), config).unwrap();
    let prune = |ram: u64, flash: u64, out: &str| {
        let (ram, flash) = (ram.to_string(), flash.to_string());
        let args = [
            "prune",
            "model.onnx",
            "--config",
            "board.toml",
            "--latency",
            "0.9x",
        ];
        let budgets = ["--ram", &ram, "--flash", &flash, "--out", out];
        sandbox.run(&[&args[..], &budgets].concat())
    };
    let (code, stdout, stderr) = seen(&prune(6_000, flash, "never"));
    assert_ne!(code, Some(0), "{stdout}{stderr}");
    assert!(stderr.contains("cannot be met"), "{stderr}");
    assert!(stderr.contains("kB of 6.0 kB of RAM"), "{stderr}");

    // The firmware's share is fixed.
    let limit = flash - (flash - u64::from(board_plan::FIRMWARE_FLASH_BYTES)) / 3;
    let output = prune(ram, limit, "run");
    sandbox.check_result(&output, "run");
    let (_, stdout, stderr) = seen(&output);
    assert!(stderr.contains("bit for bit"), "{stderr}");
    assert!(stdout.contains(" of flash"), "{stdout}");
    let pruned = ["inspect", "run/pruned.onnx", "--device", "m4", "--json"];
    let (_, stdout, stderr) = seen(&sandbox.run(&pruned));
    let pruned: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"));
    let flash = pruned["board"]["flash_bytes"].as_u64().expect("a number");
    assert!(flash <= limit, "{flash} of {limit}");
}

/// What `inspect` says that a network needs of the board.
fn needs(sandbox: &Sandbox, model: &str) -> (u64, u64) {
    let (code, stdout, stderr) =
        seen(&sandbox.run(&["inspect", model, "--device", "m4", "--json"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let inspected: Value = serde_json::from_str(&stdout).expect("JSON");
    let bytes = |of: &str| inspected["board"][of].as_u64().expect("a number");
    (bytes("ram_bytes"), bytes("flash_bytes"))
}

/// The board refuses what does not fit, so a run that reaches its end has sent nothing of the kind.
#[test]
fn a_network_that_does_not_fit_is_pruned_to_a_time_until_it_does() {
    let mcu = Mcu::start(McuConfig {
        counts_instructions: true,
        ..McuConfig::default()
    })
    .unwrap();
    let sandbox = sandbox(&mcu, true);
    let apply = ["apply", "model.onnx", "--keep", "0.5", "--out", "half.onnx"];
    assert_eq!(seen(&sandbox.run(&apply)).0, Some(0));
    let measure = ["measure", "half.onnx", "--device", "m4", "--effort", "0.1"];
    let (code, stdout, stderr) = seen(&sandbox.run(&[&measure[..], &["--json"]].concat()));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let measured: Value = serde_json::from_str(&stdout).expect("a list");
    let half_ms = measured[0]["median_ns"].as_f64().expect("a time") / 1e6;
    let (whole, half) = (
        needs(&sandbox, "model.onnx").0,
        needs(&sandbox, "half.onnx").0,
    );
    let limit = half + (whole - half) / 3;
    let profile = fs::read_to_string(sandbox.path("emulated.toml")).unwrap();
    let small = profile.replace("[board]\n", &format!("[board]\nram_bytes = {limit}\n"));
    fs::write(sandbox.path("emulated.toml"), small).unwrap();
    let config = graphprune_tests::TINY
        .replace("\"ddpg\"", "\"knapsack\"")
        .replace("device = \"quick.toml\"", "device = \"m4\"");
    fs::write(sandbox.path("board.toml"), config).unwrap();
    let prune = |latency: &str, more: &[&str]| {
        let args = ["prune", "model.onnx", "--config", "board.toml"];
        sandbox.run(&[&args[..], &["--latency", latency], more].concat())
    };

    let (code, _, stderr) = seen(&prune("0.7x", &["--out", "never"]));
    assert_ne!(code, Some(0), "{stderr}");
    for needle in ["does not fit the board", "--latency 40ms"] {
        assert!(stderr.contains(needle), "{needle}: {stderr}");
    }
    let budget = format!("{:.3}ms", half_ms * 0.9);
    let (code, stdout, stderr) = seen(&prune(&budget, &["--dry-run", "--out", "dry"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("of its widths takes"), "{stdout}");

    let output = prune(&budget, &["--out", "run"]);
    sandbox.check_result(&output, "run");
    let (_, stdout, stderr) = seen(&output);
    let beside = "networks are measured beside the original at 0.";
    assert!(stderr.contains(beside), "{stderr}");
    assert!(stderr.contains("bit for bit"), "{stderr}");
    for needle in ["does not fit", "Ratios are to the original at 0."] {
        assert!(stdout.contains(needle), "{needle}: {stdout}");
    }
    assert!(!stdout.contains("x of the original's (95"), "{stdout}");
    let report = fs::read(sandbox.path("run/report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let row = |label: &str| {
        let mut rows = report["rows"].as_array().expect("a list").iter();
        rows.find(|row| row["label"] == label)
            .expect("a row")
            .clone()
    };
    let original = row("original");
    assert_eq!(original["does_not_fit"], true);
    assert!(original["latency"].is_null(), "{original}");
    assert!(original["test_accuracy"].is_number(), "{original}");
    let high = row("pruned")["latency"]["high_ns"].as_f64();
    assert!(high.expect("a time") / 1e6 <= half_ms * 0.9, "{high:?}");
    assert!(needs(&sandbox, "run/pruned.onnx").0 <= limit);
    let page = fs::read_to_string(sandbox.path("run/report.html")).unwrap();
    assert!(page.contains("the original does not fit"), "{page}");
}

#[test]
fn a_board_is_measured_in_windows_as_mlperf_tiny_does() {
    let mcu = Mcu::start(McuConfig {
        counts_instructions: true,
        ..McuConfig::default()
    })
    .unwrap();
    let sandbox = sandbox(&mcu, true);
    let of = |more: &[&str]| {
        let (code, stdout, stderr) = measure(&sandbox, &[&["--json"], more].concat());
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        let measured: Value = serde_json::from_str(&stdout).expect("a list");
        measured[0].clone()
    };
    let single = of(&[]);
    let median = |of: &Value| of["median_ns"].as_f64().expect("a time");
    // Three runs fill it.
    let window = format!("{}ns", (median(&single) * 2.5).round());
    let windows = of(&["--window", &window]);
    assert!((median(&windows) / median(&single) - 1.0).abs() < 0.001);
    let count = |of: &str| windows[of].as_array().map_or(0, Vec::len);
    assert_eq!(count("samples_ns"), 6, "{windows}");
    assert!(count("processes") <= 1, "{windows}");
    let notes = windows["notes"].to_string();
    assert!(
        notes.contains("mean of 3 runs or more in a window"),
        "{notes}"
    );

    let local = [
        "measure",
        "model.onnx",
        "--device",
        "local",
        "--window",
        "10s",
    ];
    let (code, _, stderr) = seen(&sandbox.run(&local));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("windows are of bare-metal boards"),
        "{stderr}"
    );
    let (code, _, stderr) = measure(&sandbox, &["--window", "10x"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("write one as 10s"), "{stderr}");
}

/// What a board does not run is refused before anything is measured, and the remedy works.
#[test]
fn a_network_in_floats_is_quantised_into_a_file_for_a_board() {
    let mcu = Mcu::start(McuConfig {
        counts_instructions: true,
        ..McuConfig::default()
    })
    .unwrap();
    let sandbox = sandbox(&mcu, true);
    fs::write(
        sandbox.path("floats.onnx"),
        onnx_graph::write(&floats()).unwrap(),
    )
    .unwrap();
    let predict = ["predict", "floats.onnx", "--device", "m4"];
    let explain = ["explain", "floats.onnx", "floats.onnx", "--device", "m4"];
    let bench = ["bench", "floats.onnx", "--device", "m4"];
    for args in [&predict[..], &explain, &bench] {
        let (code, stdout, stderr) = seen(&sandbox.run(args));
        assert_ne!(code, Some(0), "{stdout}{stderr}");
        let all = stdout + &stderr;
        for needle in [
            "floats.onnx",
            "`graphprune quantize` with the board as --device",
        ] {
            assert!(
                all.contains(needle) || (args[0] == "bench" && needle == "floats.onnx"),
                "{all}"
            );
        }
    }
    let quantize = ["quantize", "floats.onnx", "--device", "m4", "--data"];
    let data = [
        "shapes:train=600,test=200,search=100",
        "--out",
        "for-board.onnx",
    ];
    // The network is not trained: its classes are those of noise.
    let gate = ["--min-agreement", "1%", "--min-sqnr", "3"];
    let (code, stdout, stderr) = seen(&sandbox.run(&[&quantize[..], &data, &gate].concat()));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    for needle in [
        "computes in integers only",
        " of RAM and ",
        "written: for-board.onnx",
    ] {
        assert!(stdout.contains(needle), "{needle}: {stdout}");
    }
    let measure = [
        "measure",
        "for-board.onnx",
        "--device",
        "m4",
        "--effort",
        "0.1",
    ];
    let (code, stdout, stderr) = seen(&sandbox.run(&measure));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

#[test]
fn a_simulated_board_is_predicted_and_explained_and_no_baseline_is_saved_of_it() {
    let mcu = Mcu::start(McuConfig {
        counts_instructions: true,
        ..McuConfig::default()
    })
    .unwrap();
    let sandbox = sandbox(&mcu, true);
    let run = |args: &[&str]| seen(&sandbox.run(args));
    let predict = ["predict", "model.onnx", "--device", "m4", "--keep", "0.5"];
    let (code, stdout, stderr) = run(&[&predict[..], &["--check", "--json"]].concat());
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    let predicted: Value = serde_json::from_str(&stdout).expect("JSON");
    let ratio = predicted["ratio"].as_f64().expect("a ratio");
    let measured = predicted["measured"][0].as_f64();
    let measured = measured.unwrap_or_else(|| panic!("no measurement: {stdout}"));
    assert!(
        (ratio / measured - 1.0).abs() < 0.25,
        "{ratio} and {measured}"
    );
    let apply = ["apply", "model.onnx", "--keep", "0.5", "--out", "half.onnx"];
    assert_eq!(run(&apply).0, Some(0));
    let (code, stdout, stderr) = run(&["explain", "model.onnx", "half.onnx", "--device", "m4"]);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert!(
        stdout.contains("QLinearConv") || stdout.contains("conv"),
        "{stdout}"
    );
    let (code, stdout, stderr) = run(&[
        "bench",
        "model.onnx",
        "--device",
        "m4",
        "--save-baseline",
        "base",
    ]);
    assert_ne!(code, Some(0), "{stdout}\n{stderr}");
    assert!((stdout + &stderr).contains("simulated"), "{stderr}");
}
