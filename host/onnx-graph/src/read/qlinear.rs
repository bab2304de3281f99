//! Operators on integers with scales are read as the operator in floats between DequantizeLinear
//! and QuantizeLinear. By their specification they compute that, and runtimes fuse it back.
//!
//! They are ONNX's own, such as
//! [QLinearConv](https://onnx.ai/onnx/operators/onnx__QLinearConv.html), and
//! [ONNX Runtime's][contributed].
//!
//! [contributed]: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

use super::rewrite::Rewrite;
use crate::proto::{AttributeProto, NodeProto, attribute_type as kind, plain};

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
            axis: -1,
            ..TWO
        }),
        ("com.microsoft", "QGemm") => Some(Layout {
            op_type: "Gemm",
            bias: Some(6),
            output: [7, 8],
            axis: -1,
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

pub(super) fn is(node: &NodeProto) -> bool {
    layout(node).is_some() && is_plain(node)
}

/// The operator set since which Softmax works along one axis.
const SOFTMAX_OF_ONE_AXIS: i64 = 13;

/// Whether the node has the meaning of the operator on floats: channels come second, a factor
/// applies to no bias, and Softmax works along one stated axis.
fn is_plain(node: &NodeProto) -> bool {
    let find = |name: &str| node.attribute.iter().find(|a| a.name == name);
    let int = |name: &str| find(name).and_then(|a| a.i);
    let one_output = node.output.len() == 1 && !node.output[0].is_empty();
    let operator = match node.op_type.as_str() {
        "QGemm" => find("alpha").is_none_or(|a| a.f == Some(1.0)),
        "QLinearSoftmax" => {
            int("axis").is_some() && int("opset").is_some_and(|set| set >= SOFTMAX_OF_ONE_AXIS)
        }
        _ => true,
    };
    one_output && operator && int("channels_last").unwrap_or(0) == 0
}

/// Appends the node that makes floats of an operand, with its scales along `axis`.
fn dequantize(rewrite: &mut Rewrite, label: &str, input: Vec<String>, axis: i64) -> String {
    let base = format!("{label}_{}", input[0]);
    let output = rewrite.push("DequantizeLinear", base, input);
    rewrite.attributes([AttributeProto {
        name: "axis".into(),
        i: Some(axis),
        r#type: kind::INT,
        ..AttributeProto::default()
    }]);
    output
}

pub(super) fn expand(rewrite: &mut Rewrite, node: NodeProto) {
    let Some(layout) = layout(&node) else { return };
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
        inputs.push(dequantize(rewrite, &label, parts, axis));
    }
    if let Some(bias) = layout.bias.map(input).filter(|bias| !bias.is_empty()) {
        let scales = vec![input(layout.operands[0][1]), input(layout.operands[1][1])];
        let scales = rewrite.push("Mul", format!("{label}_bias_scale"), scales);
        inputs.push(dequantize(rewrite, &label, vec![bias, scales], 0));
    }
    let ignored = ["channels_last", "opset"];
    let attributes = node.attribute.iter();
    let attributes = attributes.filter(|a| !ignored.contains(&a.name.as_str()));
    let ends_in_floats = input(scale).is_empty();
    let output = match ends_in_floats {
        true => node.output[0].clone(),
        false => rewrite.name(format!("{}_float", node.output[0])),
    };
    rewrite.end(
        layout.op_type,
        node.name.clone(),
        inputs,
        vec![output.clone()],
    );
    rewrite.attributes(attributes.cloned());
    if !ends_in_floats {
        let inputs = vec![output, input(scale), input(zero_point)];
        let name = format!("{label}_quantize");
        rewrite.end("QuantizeLinear", name, inputs, node.output);
    }
}
