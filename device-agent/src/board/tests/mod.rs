mod instructions;
mod resnet8;

use std::path::Path;
use std::time::Duration;

use instructions::Layer;

use agent_protocol::{BoardClock, BoardSpec, RegisterField, RegisterStep};
use graphprune_boards::{Mcu, McuConfig, McuCore};

use board_plan::{FIRMWARE_FLASH_BYTES, FIRMWARE_RAM_BYTES, Lowered};
use onnx_graph::Graph;
use onnx_graph::quantize::{Quantize, Scheme, quantize};

use super::BoardFault;
use super::firmware::{Firmware, Origins};
use super::{Attached, Board, Chip, Network};

fn spec(mcu: &Mcu) -> BoardSpec {
    BoardSpec {
        probe: format!("1d50:6018:{}", mcu.address()),
        chip: mcu.chip().to_owned(),
        description: mcu.description(),
        clock: BoardClock {
            hz: 25_000_000,
            tolerance_rel: 0.01,
            ..BoardClock::default()
        },
        ..BoardSpec::default()
    }
}

fn firmware() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/firmware")
}

fn open(mcu: &Mcu, spec: &BoardSpec) -> Result<Board, BoardFault> {
    let locks = tempfile::tempdir().unwrap();
    assert!(spec.probe.ends_with(&mcu.address().to_string()));
    Attached::open(spec, Chip::find(spec)?, &firmware(), locks.path())?.start()
}

/// A network of the zoo for images of `side`, whose activations are rounded to fixed ranges: what
/// counts are the integers.
fn network(name: &str, side: usize, width_mult: f64) -> Lowered {
    let config = model_zoo::ZooConfig {
        input: [3, side, side],
        width_mult,
        ..model_zoo::ZooConfig::default()
    };
    let graph = model_zoo::build(name, &config).unwrap();
    lowered(&onnx_graph::fold_batch_norm(&graph).unwrap())
}

/// A network whose activations are rounded to fixed ranges.
fn lowered(graph: &Graph) -> Lowered {
    let values = graph.inputs().iter().copied();
    let values = values.chain(graph.nodes().iter().map(onnx_graph::Node::output));
    let ranges = values.map(|value| (value, (-4.0, 4.0))).collect();
    let options = Quantize {
        scheme: Scheme::default(),
        ranges,
        ..Quantize::default()
    };
    board_plan::lower(&quantize(graph, &options).unwrap()).unwrap()
}

/// Residual networks, and one of inverted residuals.
fn networks() -> [Lowered; 3] {
    [
        lowered(&resnet8::resnet8()),
        network("shapes_net", 32, 1.0),
        network("mobilenet_v2", 32, 0.25),
    ]
}

/// Different numbers between -1 and 1.
fn image(lowered: &Lowered, seed: usize) -> Vec<f32> {
    let count = lowered.input.dims.iter().product();
    (0..count)
        .map(|at: usize| ((at * 7919 + seed * 104_729) % 2001) as f32 / 1000.0 - 1.0)
        .collect()
}

fn check_core(core: McuCore, part: u32) {
    check_core_with(core, part, &networks());
}

fn check_core_with(core: McuCore, part: u32, networks: &[Lowered]) {
    let mcu = Mcu::start(McuConfig {
        core,
        ..McuConfig::default()
    })
    .unwrap();
    let mut board = open(&mcu, &spec(&mcu)).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(board.info().cpuid >> 4 & 0xfff, part, "{core:?}");
    networks
        .iter()
        .for_each(|lowered| check_network(&mut board, lowered));
}

/// Runs a network on a board and on the host, on three images.
fn check_network(board: &mut Board, lowered: &Lowered) {
    let network = Network {
        plan: &lowered.plan,
        weights: Some(&lowered.weights),
        weight_bytes: lowered.footprint.weights,
        arena_bytes: lowered.footprint.arena,
        operators: lowered.nodes.len() as u32,
    };
    let placed = board
        .place(&network)
        .unwrap_or_else(|fault| panic!("{fault}"));
    let mut reference = lowered.reference().unwrap();
    for seed in 0..3 {
        let image = image(lowered, seed);
        let offset = lowered.input.tensor.offset;
        board
            .write_input(&placed, offset, &lowered.encode(&image).unwrap())
            .unwrap();
        let counted = board
            .run(&placed, Duration::from_secs(10))
            .unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(counted.operators.len(), lowered.nodes.len());
        let region = lowered.output.tensor.region();
        let output = board
            .read_output(&placed, region.offset, region.len as usize)
            .unwrap();
        let expected = reference.run(&image).unwrap();
        assert!(
            expected.iter().any(|byte| *byte != expected[0]),
            "no signal"
        );
        assert_eq!(output, expected, "image {seed}");
    }
}

/// A layer alone, of a kernel, channels, the side of its image and groups.
fn layer(kernel: usize, channels: [usize; 2], side: usize, groups: usize) -> Lowered {
    let layer = Layer {
        kernel,
        channels,
        side,
        groups,
        instructions: [0; 2],
    };
    board_plan::lower(&layer.graph()).unwrap()
}

#[test]
fn an_emulated_m0_computes_what_the_host_computes() {
    // The chip has 16 kB of RAM: layers alone.
    let layers = [
        layer(3, [4, 8], 8, 1),
        layer(1, [8, 6], 8, 1),
        layer(3, [8, 8], 8, 8),
    ];
    check_core_with(McuCore::M0, 0xc20, &layers);
}

/// Layers whose sizes are at the edges of the kernels with instructions of a processor's own: an
/// odd number of pixels and of outputs, columns of no whole step, few channels.
fn edges() -> Vec<Lowered> {
    let mut all = Vec::new();
    for outputs in [1, 2, 3, 4, 5, 7, 8, 17] {
        all.push(layer(1, [20, outputs], 3, 1));
    }
    for inputs in [1, 3, 4, 12, 16, 28, 33, 64] {
        all.push(layer(1, [inputs, 6], 1, 1));
        all.push(layer(3, [inputs, 5], 5, 1));
    }
    for channels in [2, 3, 4, 6, 8, 13] {
        for kernel in [1, 3, 5] {
            all.push(layer(kernel, [channels, channels], 7, channels));
        }
        all.push(layer(3, [channels, channels], 1, channels));
        all.push(layer(3, [channels, channels], 3, channels));
    }
    all.extend([layer(3, [8, 12], 5, 2), layer(3, [9, 15], 5, 3)]);
    // Short columns, whose weights are extended once: pixels that come in pairs or do not, outputs
    // likewise, and more of them than are extended.
    for outputs in [1, 2, 3, 16, 17, 64, 66] {
        all.extend([8, 9].map(|side| layer(3, [3, outputs], side, 1)));
    }
    for (kernel, inputs) in [(3, 2), (5, 1), (2, 7), (1, 3)] {
        all.push(layer(kernel, [inputs, 7], 6, 1));
    }
    // Windows that lie within the image, with rows of few bytes, and of no whole words.
    for (kernel, inputs) in [(3, 1), (3, 3), (5, 1), (5, 4), (7, 3)] {
        all.push(layer(kernel, [inputs, 6], 11, 1));
    }
    all
}

#[test]
fn layers_at_the_edges_of_the_kernels_are_those_of_the_host() {
    for (core, part) in [
        (McuCore::M4, 0xc24),
        (McuCore::M33, 0xd21),
        (McuCore::M55, 0xd22),
    ] {
        check_core_with(core, part, &edges());
    }
}

#[test]
fn the_firmware_takes_no_more_than_the_planner_reckons_with() {
    let folder = firmware();
    let origins = Origins {
        code: 0x0800_0000,
        ram: 0x2000_0000,
    };
    for family in [
        "thumbv6m",
        "thumbv7m",
        "thumbv7em",
        "thumbv8m",
        "thumbv8m-dsp",
        "thumbv8m-helium",
    ] {
        let firmware = Firmware::load(&folder, family, origins).unwrap();
        let (code, ram) = (firmware.code.len(), firmware.stack_top - origins.ram);
        assert!(code <= FIRMWARE_FLASH_BYTES as usize, "{family}: {code}");
        assert!(ram <= FIRMWARE_RAM_BYTES, "{family}: {ram}");
    }
}

#[test]
fn the_evidence_names_the_chips_serial_number_and_the_probes_firmware() {
    let mcu = Mcu::start(McuConfig::default()).unwrap();
    // In the RAM, behind everything that is written, and where there is no memory.
    let (at, nowhere) = (0x2007_0000, 0xa000_0000);
    let words = [0x0027_003d_u32, 0x3132_470f, 0x3039_3938];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    mcu.write(at, &bytes).unwrap();
    let check = |id: &[u32], expected: Option<&str>| {
        let spec = BoardSpec {
            id: id.to_vec(),
            ..spec(&mcu)
        };
        let board = open(&mcu, &spec).unwrap_or_else(|fault| panic!("{id:x?}: {fault}"));
        let info = board.info();
        assert_eq!(info.chip_id.as_deref(), expected, "{id:x?}");
        let firmware = info.probe_firmware;
        assert_eq!(firmware.as_deref(), Some("Black Magic Probe (emulated)"));
    };
    check(&[at, at + 4, at + 8], Some("0027003d-3132470f-30393938"));
    check(&[at + 8], Some("30393938"));
    check(&[], None);
    check(&[nowhere], None);
    check(&[at, nowhere], None);
}

#[test]
fn the_steps_of_a_clock_write_bits_and_wait_for_them() {
    let mcu = Mcu::start(McuConfig::default()).unwrap();
    // RAM behind everything that is written, in place of registers.
    let at = 0x2007_0000;
    mcu.write(at, &[0xff; 8]).unwrap();
    let step = |address, value, mask, wait| RegisterStep {
        address,
        mask,
        value,
        wait,
    };
    let mut spec = spec(&mcu);
    spec.clock.steps = vec![
        step(at, 0x1200, 0xff00, false),
        step(at, 0x0012_0000, 0x0fff_0000, false),
        step(at, 0xf012_12ff, u32::MAX, true),
        step(at + 4, 0x3456, u32::MAX, false),
    ];
    open(&mcu, &spec).unwrap_or_else(|fault| panic!("{fault}"));
    let written = mcu.read(at, 8).unwrap();
    assert_eq!(written, [0xff, 0x12, 0x12, 0xf0, 0x56, 0x34, 0, 0]);
    spec.clock.steps.push(step(at, 0x3400, 0xff00, true));
    let fault = open(&mcu, &spec).err().map(|fault| fault.to_string());
    let expected = "the register 0x20070000 did not take the value 0x00003400 (mask 0x0000ff00)";
    assert!(
        fault.as_ref().is_some_and(|fault| fault.contains(expected)),
        "{fault:?}"
    );
}

#[test]
fn the_evidence_states_wait_states_where_the_profile_says_where_they_are() {
    let mcu = Mcu::start(McuConfig::default()).unwrap();
    // RAM in place of the flash's control, and where there is no memory.
    let (at, nowhere) = (0x2007_0000, 0xa000_0000);
    mcu.write(at, &0x0705_u32.to_le_bytes()).unwrap();
    let check = |field: Option<(u32, u32)>, expected: Option<&str>| {
        let mut spec = spec(&mcu);
        spec.clock.wait_states = field.map(|(address, mask)| RegisterField { address, mask });
        let mut board = open(&mcu, &spec).unwrap_or_else(|fault| panic!("{field:x?}: {fault}"));
        let memory = board.memory().unwrap();
        assert!(memory[0].contains("cache"), "{memory:?}");
        assert_eq!(memory.get(1).map(String::as_str), expected, "{field:x?}");
    };
    check(Some((at, 0xf)), Some("the flash has 5 wait states"));
    check(Some((at, 0xf00)), Some("the flash has 7 wait states"));
    check(None, None);
    let mut spec = spec(&mcu);
    spec.clock.wait_states = Some(RegisterField {
        address: nowhere,
        mask: 1,
    });
    let mut board = open(&mcu, &spec).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(board.memory().is_err());
}

#[test]
fn an_emulated_m3_computes_what_the_host_computes() {
    check_core(McuCore::M3, 0xc23);
}

#[test]
fn an_emulated_m4_computes_what_the_host_computes() {
    check_core(McuCore::M4, 0xc24);
}

#[test]
fn an_emulated_m7_computes_what_the_host_computes() {
    check_core(McuCore::M7, 0xc27);
}

#[test]
fn an_emulated_m33_computes_what_the_host_computes() {
    check_core(McuCore::M33, 0xd21);
}

#[test]
fn an_emulated_m55_computes_what_the_host_computes() {
    check_core(McuCore::M55, 0xd22);
}
