//! A small network for the doctor. Its ratio to itself shows the noise of a device.

use prost::Message;

use crate::Model;

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
    #[prost(int32, repeated, tag = "5")]
    int32_data: Vec<i32>,
    #[prost(string, tag = "8")]
    name: String,
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
    #[prost(int64, tag = "1")]
    value: i64,
}

const FLOAT: i32 = 1;
const INT8: i32 = 3;
/// Channels of the convolutions, which take 2.4 million MACs each.
const CHANNELS: i64 = 16;
const SIZE: i64 = 32;
const LAYERS: usize = 4;

/// Returns a network of a few 3x3 convolutions with ReLU, for an input of 1x16x32x32. The name
/// does not change the work.
pub fn model(name: &str) -> Model {
    let weight = TensorProto {
        dims: vec![CHANNELS, CHANNELS, 3, 3],
        data_type: FLOAT,
        float_data: (0..CHANNELS * CHANNELS * 9)
            .map(|n| (n % 7) as f32 / 64.0 - 0.05)
            .collect(),
        name: "weight".into(),
        ..TensorProto::default()
    };
    let node = (0..LAYERS)
        .flat_map(|layer| {
            [
                NodeProto {
                    input: vec![format!("x{layer}"), "weight".into()],
                    output: vec![format!("y{layer}")],
                    name: format!("conv{layer}"),
                    op_type: "Conv".into(),
                },
                NodeProto {
                    input: vec![format!("y{layer}")],
                    output: vec![format!("x{}", layer + 1)],
                    name: format!("relu{layer}"),
                    op_type: "Relu".into(),
                },
            ]
        })
        .collect();
    // Each layer without padding removes a pixel on every side.
    let end = SIZE - 2 * LAYERS as i64;
    let output = format!("x{LAYERS}");
    network(name, node, vec![weight], (&output, end))
}

/// Returns a network from the image `x0` to an output of this name and size.
fn network(
    name: &str,
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    (output, end): (&str, i64),
) -> Model {
    let value = |value_name: &str, size: i64| ValueProto {
        name: value_name.into(),
        kind: Some(TypeProto {
            tensor: Some(TensorTypeProto {
                element: FLOAT,
                shape: Some(ShapeProto {
                    dim: [1, CHANNELS, size, size]
                        .map(|value| DimProto { value })
                        .into(),
                }),
            }),
        }),
    };
    let model = ModelProto {
        ir_version: 8,
        graph: Some(GraphProto {
            node,
            name: name.into(),
            initializer,
            input: vec![value("x0", SIZE)],
            output: vec![value(output, end)],
        }),
        opset_import: vec![OpsetProto { version: 13 }],
    };
    Model::new(name, model.encode_to_vec())
}

/// Returns a network of two 3x3 convolutions in 8-bit integers, for an input of 1x16x32x32: the one
/// of [`model`] for boards, which compute in integers only.
pub fn integer_model(name: &str) -> Model {
    const STEP: f32 = 1.0 / 32.0;
    const LAYERS: i64 = 2;
    let scalar = |name: &str, value: f32| TensorProto {
        data_type: FLOAT,
        float_data: vec![value],
        name: name.into(),
        ..TensorProto::default()
    };
    let zero = TensorProto {
        data_type: INT8,
        int32_data: vec![0],
        name: "zero".into(),
        ..TensorProto::default()
    };
    let weight = TensorProto {
        dims: vec![CHANNELS, CHANNELS, 3, 3],
        data_type: INT8,
        int32_data: (0..CHANNELS * CHANNELS * 9)
            .map(|n| (n % 7) as i32 - 3)
            .collect(),
        name: "weight".into(),
        ..TensorProto::default()
    };
    let node = |op: &str, inputs: &[&str], output: String| NodeProto {
        input: inputs.iter().map(|&input| input.into()).collect(),
        name: format!("{op}-{output}"),
        output: vec![output],
        op_type: op.into(),
    };
    let mut nodes = vec![
        node("QuantizeLinear", &["x0", "step", "zero"], "q0".into()),
        node("DequantizeLinear", &["q0", "step", "zero"], "d0".into()),
        node("DequantizeLinear", &["weight", "step", "zero"], "w".into()),
    ];
    for layer in 0..LAYERS {
        let at = |kind: &str, layer: i64| format!("{kind}{layer}");
        let (from, to) = (at("d", layer), at("y", layer + 1));
        nodes.push(node("Conv", &[&from, "w"], to.clone()));
        let quantised = at("q", layer + 1);
        nodes.push(node(
            "QuantizeLinear",
            &[&to, "step", "zero"],
            quantised.clone(),
        ));
        let back = at("d", layer + 1);
        nodes.push(node(
            "DequantizeLinear",
            &[&quantised, "step", "zero"],
            back,
        ));
    }
    let constants = vec![scalar("step", STEP), zero, weight];
    let output = format!("d{LAYERS}");
    network(name, nodes, constants, (&output, SIZE - 2 * LAYERS))
}
