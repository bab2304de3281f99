//! What a measurement on a bare-metal board costs beside the network's own run.
//!
//! `cargo bench -p graphprune-tests --bench board` measures a network of one small layer, whose run
//! takes nothing, on an emulated Cortex-M4 that has the firmware already: the agent's worker,
//! lowering, attaching, starting the firmware, the plan, and the talk of all rounds. The emulator's
//! start is not in it, and nothing is written to the flash. It is the time of this machine, and
//! none of a chip.

use std::path::PathBuf;
use std::time::Instant;

use graphprune_boards::{Mcu, McuConfig};
use latency::{
    AgentDevice, BoardClock, BoardSpec, LatencySource as _, MeasureRequest, Model, Patience, Probe,
    Sampling,
};
use onnx_graph::ops::Conv;
use onnx_graph::quantize::{Quantize, quantize};
use onnx_graph::{DType, Dim, Graph, Tensor};

const MEASUREMENTS: usize = 40;

/// A convolution in integers.
fn network() -> Model {
    let mut graph = Graph::new("layer", 17);
    let dims = [1, 4, 4, 4].map(Dim::Known).to_vec();
    let x = graph.add_input("image", DType::F32, dims);
    let weight = Tensor::f32(
        [4, 4, 1, 1],
        (0..16).map(|i| i as f32 / 16.0 - 0.5).collect(),
    );
    let w = graph.add_constant("weight", weight.expect("its size fits"));
    let conv = Conv {
        kernel: vec![1, 1],
        strides: vec![1, 1],
        pads: vec![0; 4],
        dilations: vec![1, 1],
        group: 1,
    };
    let y = graph.push("conv", conv.into(), &[x, w]).expect("it fits");
    graph.add_output(y);
    let options = Quantize {
        ranges: [(x, (-1.0, 1.0)), (y, (-4.0, 4.0))].into(),
        ..Quantize::default()
    };
    let graph = quantize(&graph, &options).expect("it is quantised");
    Model::new("layer", onnx_graph::write(&graph).expect("it is written"))
}

fn main() {
    let mcu = Mcu::start(McuConfig {
        counts_instructions: true,
        ..McuConfig::default()
    })
    .expect("the board starts");
    let probe = Probe {
        device: "emulated".into(),
        probe: format!("1d50:6018:{}", mcu.address()),
        board: Some(BoardSpec {
            chip: mcu.chip().to_owned(),
            description: mcu.description(),
            clock: BoardClock {
                hz: 25_000_000,
                tolerance_rel: 0.03,
                ..BoardClock::default()
            },
            simulated: true,
            ..BoardSpec::default()
        }),
        agent: std::env::var_os("GRAPHPRUNE_AGENT").map(PathBuf::from),
    };
    let mut device = AgentDevice::start(probe, "emulated", Patience::default())
        .expect("the agent starts")
        .with_retries(0);
    let request = MeasureRequest {
        models: vec![network()],
        sampling: Sampling {
            warmup_ns: 0,
            warmup_runs: 0,
            min_rounds: 6,
            ..Sampling::default()
        },
        ..MeasureRequest::default()
    };
    let mut times = Vec::new();
    let mut requests = mcu.requests();
    for at in 0..=MEASUREMENTS {
        let begun = Instant::now();
        device.measure(&request).expect("it is measured");
        let (taken, now) = (begun.elapsed(), mcu.requests());
        if at == 0 {
            let all = now - requests;
            println!("the first, which writes the firmware: {taken:.1?}, {all} requests");
        } else {
            times.push((taken, now - requests));
        }
        requests = now;
    }
    times.sort();
    let (median, of_median) = times[times.len() / 2];
    let (least, _) = times[0];
    println!("{MEASUREMENTS} more: least {least:.1?}, median {median:.1?}, {of_median} requests");
}
