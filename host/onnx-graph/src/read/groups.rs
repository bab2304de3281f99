//! [GroupNormalization](https://onnx.ai/onnx/operators/onnx__GroupNormalization.html) of the
//! operator sets 18 to 20, with scale and bias per group, is read as a normalisation of instances,
//! whose channels are the groups. By its specification it computes that.

use super::rewrite::Rewrite;
use crate::proto::{AttributeProto, NodeProto, plain};

/// The operator sets with scale and bias per group.
pub(super) const SETS: std::ops::Range<i64> = 18..21;

pub(super) fn is(node: &NodeProto) -> bool {
    let given = |i: usize| node.input.get(i).is_some_and(|input| !input.is_empty());
    plain(&node.domain).is_empty()
        && node.op_type == "GroupNormalization"
        && (0..3).all(given)
        && node.output.len() == 1
        && groups(node).is_some()
}

fn groups(node: &NodeProto) -> Option<i64> {
    let stated = node.attribute.iter().find(|a| a.name == "num_groups")?.i;
    stated.filter(|&groups| groups > 0)
}

pub(super) fn expand(rewrite: &mut Rewrite, node: NodeProto) {
    let Some(groups) = groups(&node) else { return };
    let label = node.label();
    let [x, scale, bias] = [0, 1, 2].map(|i| node.input[i].clone());
    let target = rewrite.list(format!("{label}_target"), vec![0, groups, -1]);
    let sizes = rewrite.push("Shape", format!("{label}_sizes"), vec![x.clone()]);
    let rows = rewrite.push("Reshape", format!("{label}_groups"), vec![x, target]);
    let inputs = vec![rows, scale, bias];
    let rows = rewrite.push("InstanceNormalization", format!("{label}_rows"), inputs);
    let epsilon = |a: &&AttributeProto| a.name == "epsilon";
    rewrite.attributes(node.attribute.iter().filter(epsilon).cloned());
    rewrite.end("Reshape", label, vec![rows, sizes], node.output);
}
