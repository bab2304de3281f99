//! Instructions of the firmware's operators, which the emulator counts exactly. A change of one
//! percent is a change of the kernels: if it is meant, the table changes with it. Another compiler
//! than that of the table may differ by more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use board_plan::Lowered;
use graphprune_boards::{Mcu, McuConfig, McuCore};
use onnx_graph::ops::Conv;
use onnx_graph::quantize::{Quantize, quantize};
use onnx_graph::{DType, Dim, Graph};

use super::super::Network;
use super::resnet8::{conv, resnet8, square};
use super::{firmware, lowered, network, open, spec};

/// The compiler of the firmware that the table is of, as its file names it.
const COMPILER: &[u8] = b"rustc version 1.95.0";

/// The hundredths that counts may differ by: of that compiler's firmware, and of others'.
const ALLOWED: [u64; 2] = [1, 15];

/// A core of the table: its clock and the firmware that it runs.
struct Counted {
    core: McuCore,
    /// Of the emulated SysTick, Hz. An instruction takes a nanosecond.
    hz: u64,
    firmware: &'static str,
}

/// The columns of the table.
const CORES: [Counted; 2] = [
    Counted {
        core: McuCore::M4,
        hz: 25_000_000,
        firmware: "thumbv7em",
    },
    Counted {
        core: McuCore::M55,
        hz: 32_000_000,
        firmware: "thumbv8m-helium",
    },
];

/// A convolution: its image is as large as its result.
pub struct Layer {
    pub kernel: usize,
    /// Of the image and of the result.
    pub channels: [usize; 2],
    pub side: usize,
    pub groups: usize,
    /// Instructions on each of [`CORES`], the interpreter included.
    pub instructions: [u64; 2],
}

#[rustfmt::skip]
const LAYERS: [Layer; 9] = [
    Layer { kernel: 3, channels: [16, 16], side: 32, groups: 1, instructions: [2_663_760, 682_968] },
    Layer { kernel: 3, channels: [64, 64], side: 8, groups: 1, instructions: [2_246_520, 379_343] },
    Layer { kernel: 3, channels: [3, 16], side: 32, groups: 1, instructions: [516_280, 418_031] },
    Layer { kernel: 1, channels: [16, 144], side: 16, groups: 1, instructions: [852_600, 326_375] },
    Layer { kernel: 1, channels: [64, 64], side: 16, groups: 1, instructions: [1_133_160, 280_562] },
    Layer { kernel: 3, channels: [32, 32], side: 24, groups: 32, instructions: [545_080, 366_250] },
    Layer { kernel: 3, channels: [256, 256], side: 3, groups: 256, instructions: [68_600, 45_500] },
    Layer { kernel: 1, channels: [256, 33], side: 1, groups: 1, instructions: [12_200, 2_375] },
    Layer { kernel: 1, channels: [64, 10], side: 1, groups: 1, instructions: [1_520, 687] },
];

/// A whole network.
struct Whole {
    name: &'static str,
    lowered: fn() -> Lowered,
    instructions: [u64; 2],
}

#[rustfmt::skip]
const NETWORKS: [Whole; 3] = [
    Whole { name: "ResNet-8", lowered: || lowered(&resnet8()), instructions: [14_018_960, 4_060_281] },
    Whole { name: "ResNet-20", lowered: || network("resnet20", 32, 1.0), instructions: [44_249_680, 11_470_781] },
    Whole { name: "MobileNet 0.25", lowered: || network("mobilenet_v1", 96, 0.25), instructions: [11_248_800, 5_259_875] },
];

impl Layer {
    fn name(&self) -> String {
        let (k, [from, to], side) = (self.kernel, self.channels, self.side);
        format!(
            "{k}x{k}, {from} to {to}, {side}x{side}, {} groups",
            self.groups
        )
    }

    pub fn graph(&self) -> Graph {
        let (k, [from, to], side) = (self.kernel, self.channels, self.side);
        let mut graph = Graph::new("layer", 17);
        let dims = [1, from, side, side].map(Dim::Known).to_vec();
        let x = graph.add_input("image", DType::F32, dims);
        let op = Conv {
            group: self.groups,
            ..square(k, 1)
        };
        let y = conv(&mut graph, x, [from, to], op);
        graph.add_output(y);
        let options = Quantize {
            ranges: BTreeMap::from([(x, (-1.0, 1.0)), (y, (-4.0, 4.0))]),
            ..Quantize::default()
        };
        quantize(&graph, &options).unwrap()
    }
}

/// Counts all layers on a core; returns what differs from the table.
fn wrong(index: usize, of: &Counted) -> String {
    let mcu = Mcu::start(McuConfig {
        core: of.core,
        counts_instructions: true,
        ..McuConfig::default()
    })
    .unwrap();
    let mut spec = spec(&mcu);
    spec.simulated = true;
    let file = std::fs::read(firmware().join(format!("{}.elf", of.firmware))).unwrap();
    let is_tables = file.windows(COMPILER.len()).any(|bytes| bytes == COMPILER);
    let hundredths = ALLOWED[usize::from(!is_tables)];
    let mut board = open(&mcu, &spec).unwrap_or_else(|fault| panic!("{fault}"));
    let mut wrong = String::new();
    let layers = LAYERS.iter().map(|layer| {
        let lowered = board_plan::lower(&layer.graph()).unwrap();
        (layer.name(), lowered, layer.instructions)
    });
    let networks = NETWORKS
        .iter()
        .map(|of| (of.name.to_owned(), (of.lowered)(), of.instructions));
    for (name, lowered, instructions) in layers.chain(networks) {
        let network = Network {
            plan: &lowered.plan,
            weights: None,
            weight_bytes: lowered.footprint.weights,
            arena_bytes: lowered.footprint.arena,
            operators: lowered.nodes.len() as u32,
        };
        let placed = board.place(&network).unwrap();
        let counted = board.run(&placed, Duration::from_secs(30)).unwrap();
        let counted = u64::from(counted.ticks) * 1_000_000_000 / of.hz;
        let expected = instructions[index];
        let allowed = (expected * hundredths / 100).max(1_000_000_000 / of.hz);
        if counted.abs_diff(expected) > allowed {
            let plan = int8_engine::Plan::parse(&lowered.plan).unwrap();
            let products: u64 = plan.ops().map(|op| op.macs()).sum();
            let (core, each) = (of.core, counted as f64 / products as f64);
            writeln!(
                wrong,
                "{core:?}, {name}: {counted}, {each:.2} a multiplication, not {expected}"
            )
            .unwrap();
        }
    }
    wrong
}

#[test]
fn every_operator_takes_the_instructions_of_the_table() {
    let wrong: String = CORES
        .iter()
        .enumerate()
        .map(|(at, of)| wrong(at, of))
        .collect();
    assert!(wrong.is_empty(), "instructions have changed:\n{wrong}");
}
