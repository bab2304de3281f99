//! An emulated board behind a link that can hang and break, an agent for it, and a network.

use std::path::PathBuf;

use board_plan::Lowered;
use graphprune_boards::{Mcu, McuConfig, McuCore, SlowLink, Upstream};
use latency::{
    AgentDevice, BoardClock, BoardSpec, LatencyError, LatencySource as _, Limits, MeasureRequest,
    Measurement, Model, Patience, Probe, RuntimeOptions, Sampling,
};
use onnx_graph::ops::Conv;
use onnx_graph::quantize::{Quantize, Scheme, quantize};
use onnx_graph::{DType, Dim, Graph, Tensor};

/// Time of a worker on an emulated board, ns: it takes about a second beside other tests.
pub const LIMIT_NS: u64 = 20_000_000_000;

/// A board, its probe's link and an agent.
pub struct Bench {
    /// The board.
    pub mcu: Mcu,
    /// The link to its probe; `None`: its probe is gone.
    pub link: Option<SlowLink>,
    /// The agent.
    pub device: AgentDevice,
}

/// How a bench differs from an emulated M4 whose times are checked.
pub struct Setting {
    /// The processor.
    pub core: McuCore,
    /// Whether the board counts instructions and says so.
    pub simulated: bool,
    /// Whether the chip is locked against debuggers.
    pub locked: bool,
    /// Changes the board's description.
    pub spoil: fn(&mut BoardSpec),
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            core: McuCore::M4,
            simulated: false,
            locked: false,
            spoil: |_| {},
        }
    }
}

impl Setting {
    /// A board whose counter follows its instructions.
    pub fn simulated() -> Self {
        Self {
            simulated: true,
            ..Self::default()
        }
    }

    /// Starts the board and an agent for it.
    pub fn start(&self) -> Bench {
        let (mcu, link) = self.board();
        let device = self
            .agent(&mcu, &link)
            .unwrap_or_else(|error| panic!("{error}"));
        Bench {
            mcu,
            link: Some(link),
            device,
        }
    }

    /// Starts the board and a link to its probe.
    pub fn board(&self) -> (Mcu, SlowLink) {
        let mcu = Mcu::start(McuConfig {
            core: self.core,
            counts_instructions: self.simulated,
            locked: self.locked,
        })
        .unwrap();
        let link = SlowLink::start(Upstream::Tcp(mcu.address())).unwrap();
        (mcu, link)
    }

    /// Starts an agent for a board.
    pub fn agent(&self, mcu: &Mcu, link: &SlowLink) -> Result<AgentDevice, LatencyError> {
        let mut board = BoardSpec {
            chip: mcu.chip().to_owned(),
            description: mcu.description(),
            clock: BoardClock {
                hz: 25_000_000,
                tolerance_rel: 0.03,
                ..BoardClock::default()
            },
            simulated: self.simulated,
            ..BoardSpec::default()
        };
        (self.spoil)(&mut board);
        let probe = Probe {
            device: "emulated".into(),
            probe: format!("1d50:6018:{}", link.address()),
            board: Some(board),
            agent: Some(PathBuf::from(env!("CARGO_BIN_EXE_graphprune-agent"))),
        };
        let patience = Patience::default();
        Ok(AgentDevice::start(probe, "emulated", patience)?.with_retries(0))
    }
}

impl Bench {
    /// The link to its probe.
    pub fn link(&self) -> &SlowLink {
        self.link.as_ref().unwrap()
    }

    /// Measures a network.
    pub fn measure(&mut self, graph: &Graph) -> Result<Measurement, LatencyError> {
        let mut all = self.device.measure(&request(graph))?;
        Ok(all.remove(0))
    }

    /// Runs a network on its first image and compares the output with the host's.
    pub fn check_run(&mut self, graph: &Graph) {
        let lowered = board_plan::lower(graph).unwrap();
        for seed in 0..2 {
            let image = image(&lowered, seed);
            let shape: Vec<usize> = lowered.input.dims.clone();
            let shape: [usize; 4] = shape.try_into().unwrap();
            let output = self
                .device
                .run(&model(graph), &image, &shape, &RuntimeOptions::default())
                .unwrap_or_else(|error| panic!("{error}"));
            let bytes = lowered.reference().unwrap().run(&image).unwrap();
            let expected = lowered.decode(&bytes).unwrap();
            assert_eq!(output, expected, "image {seed}");
            assert!(
                expected.iter().any(|value| *value != expected[0]),
                "no signal"
            );
        }
    }
}

/// A request to measure a network alone.
pub fn request(graph: &Graph) -> MeasureRequest {
    MeasureRequest {
        models: vec![model(graph)],
        sampling: Sampling {
            warmup_ns: 0,
            warmup_runs: 0,
            min_rounds: 6,
            max_duration_ns: LIMIT_NS / 2,
            ..Sampling::default()
        },
        limits: Limits {
            time_ns: LIMIT_NS,
            ..Limits::default()
        },
        ..MeasureRequest::default()
    }
}

/// A network as a file.
pub fn model(graph: &Graph) -> Model {
    Model::new("network", onnx_graph::write(graph).unwrap())
}

/// A small network in integers. Activations have fixed ranges: what counts are the integers.
pub fn network() -> Graph {
    let graph = model_zoo::build("shapes_net", &model_zoo::ZooConfig::default()).unwrap();
    let graph = onnx_graph::fold_batch_norm(&graph)
        .unwrap()
        .with_batch(1)
        .unwrap();
    let values = graph.inputs().iter().copied();
    let values = values.chain(graph.nodes().iter().map(onnx_graph::Node::output));
    let options = Quantize {
        scheme: Scheme::default(),
        ranges: values.map(|value| (value, (-4.0, 4.0))).collect(),
        ..Quantize::default()
    };
    quantize(&graph, &options).unwrap()
}

/// One convolution in integers, for a board with little memory.
pub fn small() -> Graph {
    let mut graph = Graph::new("small", 17);
    let dims = [1, 3, 8, 8].map(Dim::Known).to_vec();
    let x = graph.add_input("image", DType::F32, dims);
    let values = (0..4 * 3 * 9).map(|i| (i % 7) as f32 / 7.0 - 0.4);
    let weight = Tensor::f32([4, 3, 3, 3], values.collect()).unwrap();
    let w = graph.add_constant("weight", weight);
    let conv = Conv {
        kernel: vec![3, 3],
        strides: vec![1, 1],
        pads: vec![1; 4],
        dilations: vec![1, 1],
        group: 1,
    };
    let y = graph.push("conv", conv.into(), &[x, w]).unwrap();
    graph.add_output(y);
    let options = Quantize {
        ranges: [(x, (-1.0, 1.0)), (y, (-4.0, 4.0))].into(),
        ..Quantize::default()
    };
    quantize(&graph, &options).unwrap()
}

/// Different numbers between -1 and 1.
fn image(lowered: &Lowered, seed: usize) -> Vec<f32> {
    let count = lowered.input.dims.iter().product();
    (0..count)
        .map(|at: usize| ((at * 7919 + seed * 104_729) % 2001) as f32 / 1000.0 - 1.0)
        .collect()
}
