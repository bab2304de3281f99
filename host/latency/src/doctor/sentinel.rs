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
/// Channels of the convolutions, which take 2.4 million MACs each.
const CHANNELS: i64 = 16;
const SIZE: i64 = 32;
const LAYERS: usize = 4;

/// Returns a network of a few 3x3 convolutions with ReLU, for an input of 1x16x32x32. The name
/// does not change the work.
pub fn model(name: &str) -> Model {
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
    let weight = TensorProto {
        dims: vec![CHANNELS, CHANNELS, 3, 3],
        data_type: FLOAT,
        float_data: (0..CHANNELS * CHANNELS * 9)
            .map(|n| (n % 7) as f32 / 64.0 - 0.05)
            .collect(),
        name: "weight".into(),
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
    let model = ModelProto {
        ir_version: 8,
        graph: Some(GraphProto {
            node,
            name: name.into(),
            initializer: vec![weight],
            input: vec![value("x0", SIZE)],
            output: vec![value(&format!("x{LAYERS}"), end)],
        }),
        opset_import: vec![OpsetProto { version: 13 }],
    };
    Model::new(name, model.encode_to_vec())
}
