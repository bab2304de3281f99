//! Small ONNX models, written as protobuf, and an agent to measure them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Child;

use latency::{AgentDevice, Local, MeasureRequest, Model, Patience, Sampling};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OpsetProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OpsetProto {
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<EntryProto>,
    #[prost(int32, tag = "14")]
    data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
struct EntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ValueProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<ShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<DimProto>,
}

#[derive(Clone, PartialEq, Message)]
struct DimProto {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    symbol: Option<String>,
}

const FLOAT: i32 = 1;

/// A 3x3 convolution of 3 channels on 16x16, with all weights the same, and a ReLU; the batch is
/// dynamic.
pub struct Convolution {
    /// Output channels.
    pub channels: i64,
    /// Every weight.
    pub weight: f32,
    /// Whether the weights are declared to be in another file.
    pub external: bool,
    /// Whether the height, too, is dynamic.
    pub any_height: bool,
    /// Suffix of the name of every node, tensor, input and output.
    pub ending: String,
}

impl Default for Convolution {
    fn default() -> Self {
        Self {
            channels: 16,
            weight: 0.1,
            external: false,
            any_height: false,
            ending: String::new(),
        }
    }
}

impl Convolution {
    /// The default with this many output channels.
    pub fn with_channels(channels: i64) -> Self {
        Self {
            channels,
            ..Self::default()
        }
    }

    /// The model.
    pub fn model(&self, name: &str) -> Model {
        let symbol = |text: &str| DimProto {
            value: None,
            symbol: Some(text.into()),
        };
        let size = |value| DimProto {
            value: Some(value),
            symbol: None,
        };
        let height = |value| {
            if self.any_height {
                symbol("H")
            } else {
                size(value)
            }
        };
        let named = |name: &str| format!("{name}{}", self.ending);
        let value = |name: &str, dim| ValueProto {
            name: named(name),
            kind: Some(TypeProto {
                tensor: Some(TensorTypeProto {
                    element: FLOAT,
                    shape: Some(ShapeProto { dim }),
                }),
            }),
        };
        let node = |op: &str, input: &[&str], output: &str| NodeProto {
            input: input.iter().map(|&name| named(name)).collect(),
            output: vec![named(output)],
            name: named(&op.to_lowercase()),
            op_type: op.into(),
        };
        let count = self.channels as usize * 3 * 9;
        let entry = |key: &str, value: &str| EntryProto {
            key: key.into(),
            value: value.into(),
        };
        let weight = TensorProto {
            dims: vec![self.channels, 3, 3, 3],
            data_type: FLOAT,
            float_data: if self.external {
                Vec::new()
            } else {
                vec![self.weight; count]
            },
            name: named("weight"),
            external_data: if self.external {
                vec![entry("location", "../weights.bin")]
            } else {
                Vec::new()
            },
            data_location: i32::from(self.external),
        };
        let graph = GraphProto {
            node: vec![
                node("Conv", &["x", "weight"], "y"),
                node("Relu", &["y"], "z"),
            ],
            name: "g".into(),
            initializer: vec![weight],
            input: vec![value("x", vec![symbol("N"), size(3), height(16), size(16)])],
            output: vec![value(
                "z",
                vec![symbol("N"), size(self.channels), height(14), size(14)],
            )],
        };
        let model = ModelProto {
            ir_version: 8,
            graph: Some(graph),
            opset_import: vec![OpsetProto { version: 13 }],
        };
        Model::new(name, model.encode_to_vec())
    }
}

/// The agent that was built along with these tests.
pub fn agent() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_graphprune-agent"))
}

/// This machine through that agent.
pub fn local() -> Local {
    Local {
        agent: Some(agent()),
        ..Local::default()
    }
}

/// Repeats nothing, so every failure shows.
pub fn impatient() -> Patience {
    Patience {
        retries: 0,
        restarts: 0,
        ..Patience::default()
    }
}

/// This machine as a device.
pub fn device() -> AgentDevice {
    AgentDevice::start(local(), "local", impatient()).expect("the agent starts")
}

/// Sampling that ends quickly and accepts every interval.
pub fn quick() -> Sampling {
    Sampling {
        warmup_ns: 1_000_000,
        block_ns: 500_000,
        min_rounds: 8,
        max_rounds: 400,
        max_duration_ns: 400_000_000,
        ci_target_rel: 10.0,
        ci_accept_rel: 10.0,
        drift_accept_rel: 1e6,
        ..Sampling::default()
    }
}

/// Sampling that outlasts every test. The batch keeps a fast machine from reaching the maximum
/// number of samples.
pub fn endless() -> Sampling {
    Sampling {
        batch: 256,
        min_rounds: 16_384,
        max_rounds: 16_384,
        block_ns: 20_000_000,
        ci_target_rel: 1e-6,
        max_duration_ns: 100_000_000_000,
        ..quick()
    }
}

/// A job for one model, as the agent receives it.
pub fn job(model: &Model, sampling: Sampling) -> agent_protocol::MeasureJob {
    agent_protocol::MeasureJob {
        models: vec![agent_protocol::ModelRef {
            name: model.name().into(),
            sha256: model.sha256(),
            inputs: model.inputs().to_vec(),
        }],
        reference: None,
        sampling,
        limits: latency::Limits::default(),
        evidence: latency::Evidence::Quick,
        runtime: latency::RuntimeOptions::default(),
        conditions: latency::Conditions::default(),
        reversed: false,
    }
}

/// A request for one model.
pub fn request(model: Model, sampling: Sampling) -> MeasureRequest {
    MeasureRequest {
        models: vec![model],
        sampling,
        ..MeasureRequest::default()
    }
}

/// Returns a worker of this agent, if it has one.
pub fn worker_of(agent: u32) -> Option<i32> {
    let threads = std::fs::read_dir(format!("/proc/{agent}/task")).ok()?;
    threads.filter_map(Result::ok).find_map(|thread| {
        let children = std::fs::read_to_string(thread.path().join("children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    })
}

/// Reads an agent's address and process number from its piped standard output.
pub fn greeting(child: &mut Child) -> (SocketAddr, u32) {
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let greeting: serde_json::Value = serde_json::from_str(&line).expect("a greeting");
    let address = greeting["address"].as_str().unwrap().parse().unwrap();
    let pid = greeting["pid"].as_u64().unwrap();
    (address, u32::try_from(pid).unwrap())
}

/// ONNX Runtime's library, as the agent finds it.
pub fn runtime_library() -> PathBuf {
    let named = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    let agent = agent();
    let mut near = agent
        .ancestors()
        .map(|folder| folder.join(".deps/onnxruntime/libonnxruntime.so"));
    let library = named.or_else(|| near.find(|path| path.is_file()));
    library.expect("the set-up").canonicalize().unwrap()
}
