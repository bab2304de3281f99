//! Networks in 16-bit floats (IEEE 754 half precision), for runtimes with kernels for them. Inputs
//! and outputs stay floats of 32 bits.

use std::collections::{BTreeSet, HashMap};

use prost::Message as _;

use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, attribute_type,
};
use crate::{DType, Graph, GraphError, Tensor, TensorData};

const FLOAT: i32 = 1;
const FLOAT16: i32 = 10;

/// Operators that take halves wherever they take floats.
const OPERATORS: [&str; 42] = [
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Ceil",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "LayerNormalization",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mul",
    "PRelu",
    "Pad",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];

impl Graph {
    /// The network with the floats of its constants rounded to halves: what [`in_halves`] stores.
    ///
    /// # Errors
    /// [`GraphError::Unsupported`] for a constant beyond the range of halves.
    pub fn rounded_to_halves(&self) -> Result<Self, GraphError> {
        let mut graph = self.clone();
        for (&id, tensor) in self.constants() {
            if tensor.dtype() != DType::F32 || tensor.stored().is_some() {
                continue;
            }
            let narrow = narrowed(tensor, &self.value(id).name)?;
            let values = narrow.to_f32s().unwrap_or_default().into_owned();
            graph.set_constant(id, Tensor::f32(tensor.dims().to_vec(), values)?)?;
        }
        Ok(graph)
    }
}

/// A model that [`write()`](crate::write()) wrote, with its floats in halves between the inputs and
/// the outputs.
///
/// # Errors
/// [`GraphError::Unsupported`] for an operator that is not known to take halves, and for a constant
/// beyond their range; [`GraphError::Decode`] where the bytes are no model.
pub fn in_halves(onnx: &[u8]) -> Result<Vec<u8>, GraphError> {
    let mut model = ModelProto::decode(onnx).map_err(|e| GraphError::Decode {
        reason: e.to_string(),
    })?;
    let mut graph = model.graph.take().unwrap_or_default();
    for node in &graph.node {
        let known = node.domain.is_empty() && OPERATORS.contains(&&node.op_type[..]);
        if !known {
            return Err(GraphError::Unsupported {
                place: format!("node '{}'", node.label()),
                reason: format!("{} is not known to take 16-bit floats", node.op_type),
            });
        }
    }
    for tensor in &mut graph.initializer {
        narrow(tensor)?;
    }
    convert_ends(&mut graph);
    // Their types changed, and readers infer them.
    graph.value_info.clear();
    model.graph = Some(graph);
    Ok(model.encode_to_vec())
}

/// Casts the inputs to halves and the outputs to floats, under the names that they have.
fn convert_ends(graph: &mut GraphProto) {
    let floats = |ports: &[crate::proto::ValueInfoProto]| -> BTreeSet<String> {
        let is_float = |port: &&crate::proto::ValueInfoProto| {
            let tensor = port.r#type.as_ref().and_then(|of| of.tensor_type.as_ref());
            tensor.is_some_and(|of| of.elem_type == FLOAT)
        };
        ports
            .iter()
            .filter(is_float)
            .map(|port| port.name.clone())
            .collect()
    };
    let constants: BTreeSet<&String> = graph.initializer.iter().map(|of| &of.name).collect();
    let inputs: Vec<String> = floats(&graph.input)
        .into_iter()
        .filter(|name| !constants.contains(name))
        .collect();
    let outputs = floats(&graph.output);
    let half = |name: &String| (name.clone(), format!("{name}_half"));
    let renamed: HashMap<String, String> = inputs.iter().chain(&outputs).map(half).collect();
    for node in &mut graph.node {
        for name in node.input.iter_mut().chain(&mut node.output) {
            if let Some(new) = renamed.get(name) {
                name.clone_from(new);
            }
        }
    }
    let cast = |from: &str, into: &str, to: i32| NodeProto {
        input: vec![from.to_owned()],
        output: vec![into.to_owned()],
        name: format!("{into}_cast"),
        op_type: "Cast".into(),
        attribute: vec![AttributeProto {
            name: "to".into(),
            i: Some(i64::from(to)),
            r#type: attribute_type::INT,
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    };
    let mut nodes: Vec<NodeProto> = inputs
        .iter()
        .map(|name| cast(name, &renamed[name], FLOAT16))
        .collect();
    nodes.append(&mut graph.node);
    // An output that is an input needs no conversion.
    let made = outputs.iter().filter(|name| !inputs.contains(name));
    nodes.extend(made.map(|name| cast(&renamed[name], name, FLOAT)));
    graph.node = nodes;
}

/// Stores a tensor of floats in halves.
fn narrow(tensor: &mut TensorProto) -> Result<(), GraphError> {
    if tensor.data_type != FLOAT {
        return Ok(());
    }
    let raw = tensor.raw_data.as_deref().unwrap_or_default();
    let (floats, _) = raw.as_chunks::<4>();
    let floats: Vec<f32> = floats
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect();
    let halves = narrowed(&Tensor::f32([floats.len()], floats)?, &tensor.name)?;
    let TensorData::F16(halves) = halves.data() else {
        return Ok(());
    };
    let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
    tensor.raw_data = Some(bytes.into());
    tensor.data_type = FLOAT16;
    Ok(())
}

/// A constant of floats in halves.
fn narrowed(tensor: &Tensor, name: &str) -> Result<Tensor, GraphError> {
    tensor.to_halves().ok_or_else(|| GraphError::Unsupported {
        place: format!("constant '{name}'"),
        reason: "a value lies beyond the range of 16-bit floats".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Mul, Relu};
    use crate::{Dim, NoExternalData, read, write};

    /// `relu(x) * w`, and what is left of it.
    fn network(w: Vec<f32>) -> Graph {
        let mut graph = Graph::new("net", 17);
        let shape = vec![Dim::Symbol("N".into()), Dim::Known(w.len())];
        let x = graph.add_input("x", DType::F32, shape);
        let y = graph.push("relu", Relu.into(), &[x]).unwrap();
        let w = graph.add_constant("w", Tensor::f32([w.len()], w).unwrap());
        let y = graph.push("scale", Mul.into(), &[y, w]).unwrap();
        graph.add_output(y);
        graph
    }

    #[test]
    fn the_ends_stay_floats_and_what_lies_between_takes_halves() {
        let graph = network(vec![1.0, 0.1, -3.0]);
        let bytes = in_halves(&write(&graph).unwrap()).unwrap();
        let model = ModelProto::decode(&bytes[..]).unwrap().graph.unwrap();
        let nodes: Vec<&str> = model.node.iter().map(|node| &node.op_type[..]).collect();
        assert_eq!(nodes, ["Cast", "Relu", "Mul", "Cast"]);
        assert_eq!(model.initializer[0].data_type, FLOAT16);
        let back = read(&bytes, &NoExternalData).unwrap();
        assert_eq!(back.value(back.inputs()[0]).dtype, Some(DType::F32));
        assert_eq!(back.value(back.outputs()[0]).dtype, Some(DType::F32));
        let rounded = graph.rounded_to_halves().unwrap();
        let w = rounded.constant(rounded.find_value("w").unwrap()).unwrap();
        assert_eq!(w.as_f32().unwrap(), [1.0, 0.099_975_586, -3.0]);
    }

    #[test]
    fn a_constant_beyond_the_range_is_refused_by_name() {
        let graph = network(vec![1e6]);
        let of_file = in_halves(&write(&graph).unwrap()).unwrap_err();
        for error in [of_file, graph.rounded_to_halves().unwrap_err()] {
            assert!(error.to_string().contains("constant 'w'"), "{error}");
        }
    }
}
