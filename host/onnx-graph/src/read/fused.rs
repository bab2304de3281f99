//! [ONNX Runtime's fused operators][contributed], which its optimiser writes into a file, are read
//! as the operators of ONNX that they are made of. The runtime fuses these again.
//!
//! [contributed]: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

use super::rewrite::Rewrite;
use crate::proto::{AttributeProto, NodeProto, attribute_type as kind, plain};

/// The attributes of a fused operator that are not those of the first operator it is made of.
const OWN: &[&str] = &[
    "activation",
    "activation_params",
    "activation_alpha",
    "activation_beta",
    "activation_gamma",
];

pub(super) fn is(node: &NodeProto) -> bool {
    if plain(&node.domain) != "com.microsoft" || node.output.first().is_none_or(String::is_empty) {
        return false;
    }
    let given = |i: usize| node.input.get(i).is_some_and(|input| !input.is_empty());
    match node.op_type.as_str() {
        "FusedConv" | "FusedGemm" => given(0) && given(1) && activation(node).is_some(),
        "BiasDropout" => given(0) && given(1) && !given(3) && !given(4) && node.output.len() == 1,
        "SkipLayerNormalization" => given(0) && given(1) && given(2) && sums_only(node),
        "SkipSimplifiedLayerNormalization" => given(0) && given(1) && given(2) && sums_only(node),
        _ => false,
    }
}

/// Whether neither the mean nor the deviation of a normalisation is read.
fn sums_only(node: &NodeProto) -> bool {
    (1..3).all(|i| node.output.get(i).is_none_or(String::is_empty))
}

pub(super) fn expand(rewrite: &mut Rewrite, node: NodeProto) {
    match node.op_type.as_str() {
        "FusedConv" => layer(rewrite, node, "Conv"),
        "FusedGemm" => layer(rewrite, node, "Gemm"),
        "BiasDropout" => biased(rewrite, node),
        _ => skip(rewrite, node),
    }
}

/// Whether the activation of a fused layer has bounds, which become constants.
pub(super) fn clips(node: &NodeProto) -> bool {
    activation(node).is_some_and(|(name, _)| name == "Clip")
}

fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// The activation of a fused layer, with its parameters by name; an empty name for none.
fn activation(node: &NodeProto) -> Option<(String, Vec<(&'static str, f32)>)> {
    let Some(stated) = find(node, "activation") else {
        return Some((String::new(), Vec::new()));
    };
    let name = String::from_utf8(stated.s.clone()?).ok()?;
    let parameters = find(node, "activation_params").map_or(&[][..], |a| &a.floats);
    let named = |name: &str| find(node, name).and_then(|a| a.f);
    let names: &[&str] = match name.as_str() {
        "" | "Relu" | "Sigmoid" | "Tanh" => &[],
        "LeakyRelu" => &["alpha"],
        "HardSigmoid" => &["alpha", "beta"],
        "Clip" if parameters.len() == 2 => &["min", "max"],
        _ => return None,
    };
    let own = ["activation_alpha", "activation_beta"];
    let value = |i: usize| parameters.get(i).copied().or_else(|| named(own[i]));
    let values = names.iter().enumerate();
    let values = values.map(|(i, name)| Some((*name, value(i)?)));
    Some((name, values.collect::<Option<_>>()?))
}

/// A convolution or a fully connected layer, a sum with the fourth input, and an activation.
fn layer(rewrite: &mut Rewrite, node: NodeProto, op_type: &str) {
    let Some((activation, parameters)) = activation(&node) else {
        return;
    };
    let label = node.label();
    let added = node.input.get(3).filter(|input| !input.is_empty()).cloned();
    let mut inputs = node.input.clone();
    inputs.truncate(3);
    let mut own = node.attribute.clone();
    own.retain(|a| !OWN.contains(&a.name.as_str()));
    let plain = activation.is_empty();
    let mut value = if plain && added.is_none() {
        rewrite.end(op_type, label, inputs, node.output);
        rewrite.attributes(own);
        return;
    } else {
        let value = rewrite.push(op_type, format!("{label}_layer"), inputs);
        rewrite.attributes(own);
        value
    };
    if let Some(added) = added {
        let operands = vec![value, added];
        if plain {
            return rewrite.end("Add", label, operands, node.output);
        }
        value = rewrite.push("Add", format!("{label}_sum"), operands);
    }
    let mut inputs = vec![value];
    let mut attributes = Vec::new();
    for (name, value) in parameters {
        // Bounds are inputs since this operator set.
        if activation == "Clip" && rewrite.opset >= 11 {
            inputs.push(rewrite.float(format!("{label}_{name}"), value));
        } else {
            attributes.push(AttributeProto {
                name: name.into(),
                f: Some(value),
                r#type: kind::FLOAT,
                ..AttributeProto::default()
            });
        }
    }
    rewrite.end(&activation, label, inputs, node.output);
    rewrite.attributes(attributes);
}

/// The sum of a value, its bias and possibly a residual; the dropout is the identity.
fn biased(rewrite: &mut Rewrite, node: NodeProto) {
    let label = node.label();
    let operands = node.input[..2].to_vec();
    match node.input.get(2).filter(|input| !input.is_empty()).cloned() {
        Some(residual) => {
            let sum = rewrite.push("Add", format!("{label}_bias"), operands);
            rewrite.end("Add", label, vec![sum, residual], node.output);
        }
        None => rewrite.end("Add", label, operands, node.output),
    }
}

/// A sum with a residual and a bias, and its normalisation.
fn skip(rewrite: &mut Rewrite, node: NodeProto) {
    let label = node.label();
    let simplified = node.op_type.starts_with("SkipSimplified");
    let input = |i: usize| node.input.get(i).filter(|input| !input.is_empty()).cloned();
    let (shift, bias) = match simplified {
        true => (None, input(3)),
        false => (input(3), input(4)),
    };
    let operands = node.input[..2].to_vec();
    let given = node.output.get(3).filter(|output| !output.is_empty());
    let mut sum = match (given, &bias) {
        (Some(output), None) => {
            let name = format!("{label}_sum");
            rewrite.end("Add", name, operands, vec![output.clone()]);
            output.clone()
        }
        _ => rewrite.push("Add", format!("{label}_sum"), operands),
    };
    if let Some(bias) = bias {
        let operands = vec![sum, bias];
        sum = match given {
            Some(output) => {
                let name = format!("{label}_biased");
                rewrite.end("Add", name, operands, vec![output.clone()]);
                output.clone()
            }
            None => rewrite.push("Add", format!("{label}_biased"), operands),
        };
    }
    let inputs = [Some(sum), input(2), shift].into_iter().flatten().collect();
    let op_type = match simplified {
        true => "SimplifiedLayerNormalization",
        false => "LayerNormalization",
    };
    let epsilon = find(&node, "epsilon").and_then(|a| a.f).unwrap_or(1e-12);
    rewrite.end(op_type, label, inputs, vec![node.output[0].clone()]);
    rewrite.attributes([AttributeProto {
        name: "epsilon".into(),
        f: Some(epsilon),
        r#type: kind::FLOAT,
        ..AttributeProto::default()
    }]);
}
