//! Operators on integers with scales are read as the operator in floats between DequantizeLinear
//! and QuantizeLinear. By their specification they compute that, and runtimes fuse it back.
//!
//! They are ONNX's own, such as
//! [QLinearConv](https://onnx.ai/onnx/operators/onnx__QLinearConv.html), and
//! [ONNX Runtime's][contributed].
//!
//! [contributed]: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

use std::collections::HashSet;

use super::attribute::DEPTH;
use super::captures::reads;
use crate::proto::{AttributeProto, GraphProto, NodeProto, attribute_type as kind, plain};

/// An operand: the positions of the integers, their scale and their zero point.
type Operand = [usize; 3];

/// How an operator's inputs are laid out.
struct Layout {
    /// The operator on floats.
    op_type: &'static str,
    operands: &'static [Operand],
    /// The scale and the zero point of the output.
    output: [usize; 2],
    /// A 32-bit bias, in steps of the product of the first two operands' scales.
    bias: Option<usize>,
    /// The axis of the second operand's scales, where there is one per channel.
    axis: i64,
}

const ONE: Layout = Layout {
    op_type: "",
    operands: &[[0, 1, 2]],
    output: [3, 4],
    bias: None,
    axis: 0,
};

const TWO: Layout = Layout {
    operands: &[[0, 1, 2], [3, 4, 5]],
    output: [6, 7],
    ..ONE
};

/// The layout of an operator, by domain and name.
fn layout(node: &NodeProto) -> Option<Layout> {
    let one = |op_type| Some(Layout { op_type, ..ONE });
    let two = |op_type| Some(Layout { op_type, ..TWO });
    match (plain(&node.domain), node.op_type.as_str()) {
        ("", "QLinearConv") => Some(Layout {
            op_type: "Conv",
            bias: Some(8),
            ..TWO
        }),
        ("", "QLinearMatMul") => Some(Layout {
            op_type: "MatMul",
            axis: 1,
            ..TWO
        }),
        ("com.microsoft", "QGemm") => Some(Layout {
            op_type: "Gemm",
            bias: Some(6),
            output: [7, 8],
            axis: 1,
            ..TWO
        }),
        ("com.microsoft", "QLinearAdd") => two("Add"),
        ("com.microsoft", "QLinearMul") => two("Mul"),
        ("com.microsoft", "QLinearAveragePool") => one("AveragePool"),
        ("com.microsoft", "QLinearGlobalAveragePool") => one("GlobalAveragePool"),
        ("com.microsoft", "QLinearLeakyRelu") => one("LeakyRelu"),
        ("com.microsoft", "QLinearSigmoid") => one("Sigmoid"),
        ("com.microsoft", "QLinearSoftmax") => one("Softmax"),
        ("com.microsoft", "QLinearConcat") => one("Concat"),
        _ => None,
    }
}

/// Replaces such operators in the nodes of a graph; `opsets` has the operator set of each node.
pub(super) fn expand(graph: &mut GraphProto, opsets: &mut Vec<i64>) {
    if graph.node.iter().all(|node| layout(node).is_none()) {
        return;
    }
    let nodes = std::mem::take(&mut graph.node);
    let read = reads(&nodes, DEPTH).into_keys();
    let made = nodes.iter().flat_map(|node| &node.output);
    let ports = graph
        .input
        .iter()
        .chain(&graph.output)
        .map(|port| &port.name);
    let constants = graph.initializer.iter().map(|tensor| &tensor.name);
    let mut expansion = Expansion {
        names: made
            .chain(ports)
            .chain(constants)
            .cloned()
            .chain(read)
            .collect(),
        nodes: Vec::with_capacity(nodes.len()),
        opsets: Vec::with_capacity(nodes.len()),
    };
    for (node, &opset) in nodes.into_iter().zip(opsets.iter()) {
        match layout(&node) {
            Some(layout) if is_plain(&node) => expansion.expand(node, &layout),
            _ => expansion.nodes.push(node),
        }
        expansion.opsets.resize(expansion.nodes.len(), opset);
    }
    graph.node = expansion.nodes;
    *opsets = expansion.opsets;
}

/// Whether the node has the meaning of the operator on floats: channels come second, and a factor
/// applies to no bias.
fn is_plain(node: &NodeProto) -> bool {
    let scaled = |a: &AttributeProto| a.name == "alpha" && a.f != Some(1.0);
    let gemm = node.op_type == "QGemm" && node.attribute.iter().any(scaled);
    let last = |a: &AttributeProto| a.name == "channels_last" && a.i.unwrap_or(0) != 0;
    let one_output = node.output.len() == 1 && !node.output[0].is_empty();
    one_output && !gemm && !node.attribute.iter().any(last)
}

struct Expansion {
    names: HashSet<String>,
    nodes: Vec<NodeProto>,
    opsets: Vec<i64>,
}

impl Expansion {
    fn name(&mut self, base: String) -> String {
        let mut name = base.clone();
        let mut count = 0;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{base}_{count}");
        }
        name
    }

    /// Appends a node and returns its output.
    fn push(&mut self, op_type: &str, base: String, input: Vec<String>) -> String {
        let output = self.name(base);
        self.nodes.push(NodeProto {
            input,
            output: vec![output.clone()],
            name: format!("{output}_{op_type}"),
            op_type: op_type.into(),
            ..NodeProto::default()
        });
        output
    }

    /// Appends the node that makes floats of an operand, with its scales along `axis`.
    fn dequantize(&mut self, label: &str, input: Vec<String>, axis: i64) -> String {
        let base = format!("{label}_{}", input[0]);
        let output = self.push("DequantizeLinear", base, input);
        if let Some(node) = self.nodes.last_mut() {
            node.attribute.push(AttributeProto {
                name: "axis".into(),
                i: Some(axis),
                r#type: kind::INT,
                ..AttributeProto::default()
            });
        }
        output
    }

    fn expand(&mut self, node: NodeProto, layout: &Layout) {
        let label = node.label();
        let input = |i: usize| node.input.get(i).cloned().unwrap_or_default();
        // Concat has its output's scale first, then any number of operands.
        let concat = layout.op_type == "Concat";
        let operands: Vec<Operand> = match concat {
            true => (2..node.input.len())
                .step_by(3)
                .map(|i| [i, i + 1, i + 2])
                .collect(),
            false => layout.operands.to_vec(),
        };
        let [scale, zero_point] = if concat { [0, 1] } else { layout.output };
        // The rows of a transposed matrix are the outputs.
        let transposed = |a: &AttributeProto| a.name == "transB" && a.i == Some(1);
        let rows = node.attribute.iter().any(transposed);
        let axis = if rows { 0 } else { layout.axis };
        let mut inputs = Vec::with_capacity(operands.len() + 1);
        for operand in &operands {
            let parts: Vec<String> = operand.iter().map(|&i| input(i)).collect();
            inputs.push(self.dequantize(&label, parts, axis));
        }
        if let Some(bias) = layout.bias.map(input).filter(|bias| !bias.is_empty()) {
            let scales = vec![input(layout.operands[0][1]), input(layout.operands[1][1])];
            let scales = self.push("Mul", format!("{label}_bias_scale"), scales);
            inputs.push(self.dequantize(&label, vec![bias, scales], 0));
        }
        let ignored = ["channels_last", "opset"];
        let attribute = node.attribute.iter();
        let attribute = attribute.filter(|a| !ignored.contains(&a.name.as_str()));
        let ends_in_floats = input(scale).is_empty();
        let output = match ends_in_floats {
            true => node.output[0].clone(),
            false => self.name(format!("{}_float", node.output[0])),
        };
        self.nodes.push(NodeProto {
            input: inputs,
            output: vec![output.clone()],
            name: node.name.clone(),
            op_type: layout.op_type.into(),
            attribute: attribute.cloned().collect(),
            ..NodeProto::default()
        });
        if !ends_in_floats {
            self.nodes.push(NodeProto {
                input: vec![output, input(scale), input(zero_point)],
                output: node.output.clone(),
                name: format!("{label}_quantize"),
                op_type: "QuantizeLinear".into(),
                ..NodeProto::default()
            });
        }
    }
}
