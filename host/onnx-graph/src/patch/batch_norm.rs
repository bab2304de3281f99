//! BatchNormalization: folded into the convolution before it, or inserted after one.

use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::{BatchNormalization, Op};
use crate::patch::{Patch, Wire};
use crate::{Dim, GraphError, Tensor};

/// Folds each BatchNormalization into the Conv, ConvTranspose or Gemm right before it: the weights are scaled and a bias
/// takes the rest. What else reads the convolution, shares its weights with another node or has weights that are not
/// constant keeps its BatchNormalization, as does a node whose output is a graph output besides.
///
/// The value after the normalisation keeps its id and name and is then what the convolution produces.
///
/// # Errors
/// [`GraphError::Shape`] when the shapes do not fit, which a checked graph's do.
pub fn fold_batch_norm(graph: &Graph) -> Result<Graph, GraphError> {
    let mut out = graph.clone();
    let producers = out.producers();
    let consumers = out.consumers();
    let mut gone = vec![false; out.nodes.len()];
    for index in 0..out.nodes.len() {
        let Op::BatchNormalization(norm) = out.nodes[index].op else {
            continue;
        };
        let Some(before) = out.nodes[index].input(0).and_then(|v| {
            let sole = consumers[v.index()].len() == 1 && !out.outputs.contains(&v);
            producers[v.index()].filter(|p| sole && !gone[p.index()])
        }) else {
            continue;
        };
        let Some((scale, shift)) = affine(&out, index, &norm) else {
            continue;
        };
        let Some((weight, bias)) = folded(&out, before, &scale, &shift) else {
            continue;
        };
        let old_weight = out.nodes[before.index()].input(1);
        let name = |out: &Graph, v: Option<ValueId>, what: &str| match v {
            Some(v) => out.value(v).name.clone(),
            None => format!("{}_{what}", out.node(before).name),
        };
        let weight_id = match old_weight {
            Some(v) if consumers[v.index()].len() == 1 && !out.outputs.contains(&v) => {
                out.set_constant(v, weight)?;
                v
            }
            v => {
                let name = name(&out, v, "weight");
                out.add_constant(&name, weight)
            }
        };
        let old_bias = out.nodes[before.index()].input(2);
        let bias_id = match old_bias {
            Some(v) if consumers[v.index()].len() == 1 && !out.outputs.contains(&v) => {
                out.set_constant(v, bias)?;
                v
            }
            v => {
                let name = name(&out, v, "bias");
                out.add_constant(&name, bias)
            }
        };
        let output = out.nodes[index].output();
        let node = &mut out.nodes[before.index()];
        node.inputs.resize(3, None);
        (node.inputs[1], node.inputs[2]) = (Some(weight_id), Some(bias_id));
        node.outputs[0] = Some(output);
        if let Op::Gemm(op) = &mut node.op {
            op.beta = 1.0;
        }
        gone[index] = true;
        out.infer_node(before.index())?;
        if out.value(output).shape != graph.value(output).shape {
            let reason = "the shape changes when its BatchNormalization is folded".to_owned();
            return Err(GraphError::Patch {
                node: out.node(before).name.clone(),
                reason,
            });
        }
    }
    let mut stays = gone.iter().map(|g| !g);
    out.nodes.retain(|_| stays.next().unwrap_or(true));
    out.remove_dead();
    Ok(out)
}

/// What the normalisation does to each channel, as `scale * x + shift`.
fn affine(graph: &Graph, index: usize, norm: &BatchNormalization) -> Option<(Vec<f64>, Vec<f64>)> {
    let node = &graph.nodes[index];
    let list = |i: usize| graph.constant_input(node, i)?.as_f32();
    let (gamma, bias, mean, var) = (list(1)?, list(2)?, list(3)?, list(4)?);
    if [bias.len(), mean.len(), var.len()] != [gamma.len(); 3] {
        return None;
    }
    let epsilon = f64::from(norm.epsilon);
    let scale: Vec<f64> = gamma
        .iter()
        .zip(var)
        .map(|(&g, &v)| f64::from(g) / (f64::from(v) + epsilon).sqrt())
        .collect();
    let shift = (0..gamma.len())
        .map(|c| f64::from(bias[c]) - f64::from(mean[c]) * scale[c])
        .collect();
    Some((scale, shift))
}

/// The weight and bias (its factor then being 1) of `node` followed by an affine map of its channels.
fn folded(graph: &Graph, node: NodeId, scale: &[f64], shift: &[f64]) -> Option<(Tensor, Tensor)> {
    let node = graph.node(node);
    let weight = graph.constant_input(node, 1)?;
    let (dims, data) = (weight.dims(), weight.as_f32()?);
    let channels = scale.len();
    let inner = |from: usize| dims[from..].iter().product::<usize>().max(1);
    // The output channel that an element of the weight belongs to.
    let (count, channel): (usize, Box<dyn Fn(usize) -> usize>) = match &node.op {
        Op::Conv(_) => {
            let inner = inner(1);
            (*dims.first()?, Box::new(move |i| i / inner))
        }
        Op::ConvTranspose(op) => {
            let (per_group, inner) = (*dims.get(1)?, inner(2));
            let rows = (dims[0] / op.group.max(1)).max(1);
            let whole = per_group * op.group;
            (
                whole,
                Box::new(move |i| {
                    (i / inner / per_group / rows) * per_group + i / inner % per_group
                }),
            )
        }
        Op::Gemm(op) if dims.len() == 2 => {
            let columns = dims[1].max(1);
            let by_row = op.trans_b;
            (
                dims[usize::from(!by_row)],
                Box::new(move |i| if by_row { i / columns } else { i % columns }),
            )
        }
        _ => return None,
    };
    if count != channels {
        return None;
    }
    let weight = data
        .iter()
        .enumerate()
        .map(|(i, &w)| (f64::from(w) * scale[channel(i)]) as f32)
        .collect();
    let old: Vec<f64> = match (node.input(2), graph.constant_input(node, 2)) {
        (None, _) => vec![0.0; channels],
        (Some(_), None) => return None,
        (Some(_), Some(t)) => {
            let list = t.as_f32()?;
            let beta = if let Op::Gemm(op) = &node.op {
                f64::from(op.beta)
            } else {
                1.0
            };
            let by_row = t.dims().len() == 2 && t.dims()[0] > 1;
            match list {
                [one] => vec![f64::from(*one) * beta; channels],
                list if list.len() == channels && !by_row => {
                    list.iter().map(|&b| f64::from(b) * beta).collect()
                }
                _ => return None,
            }
        }
    };
    let bias = (0..channels)
        .map(|c| (old[c] * scale[c] + shift[c]) as f32)
        .collect();
    Some((
        Tensor::f32(dims.to_vec(), weight).ok()?,
        Tensor::f32([channels], bias).ok()?,
    ))
}

/// A BatchNormalization put in by [`insert_batch_norm`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsertedNorm {
    /// Name of the convolution it follows.
    pub conv: String,
    /// Scale, one per channel.
    pub scale: ValueId,
    /// Bias, one per channel.
    pub bias: ValueId,
    /// Running mean, one per channel.
    pub mean: ValueId,
    /// Running variance, one per channel.
    pub var: ValueId,
}

/// Puts a BatchNormalization that changes nothing (mean and bias 0, variance 1, scale `sqrt(1 + epsilon)`) after each
/// Conv that has none, unless the Conv's output is a graph output. The Conv's output keeps its id; what read it
/// reads the normalised value.
///
/// # Errors
/// [`GraphError::Patch`] when a patch does not fit.
pub fn insert_batch_norm(graph: &Graph) -> Result<(Graph, Vec<InsertedNorm>), GraphError> {
    let mut out = graph.clone();
    let consumers = graph.consumers();
    let norm = BatchNormalization::default();
    let scale = (1.0 + f64::from(norm.epsilon)).sqrt() as f32;
    let mut inserted = Vec::new();
    for (_, node) in graph.iter() {
        let output = node.output();
        let readers = &consumers[output.index()];
        let normed = readers
            .iter()
            .any(|&r| matches!(graph.node(r).op, Op::BatchNormalization(_)));
        if !matches!(node.op, Op::Conv(_))
            || normed
            || readers.is_empty()
            || graph.outputs().contains(&output)
        {
            continue;
        }
        let channels = graph
            .value(output)
            .shape
            .as_ref()
            .and_then(|s| s.get(1))
            .and_then(Dim::known);
        let Some(channels) = channels else { continue };
        let name = format!("{}_bn", node.name);
        let mut patch = Patch::new(&node.name);
        let mut list = |what: &str, v: f32| -> Result<Wire, GraphError> {
            Ok(patch.constant(
                format!("{name}_{what}"),
                Tensor::f32([channels], vec![v; channels])?,
            ))
        };
        let wires = [
            list("scale", scale)?,
            list("bias", 0.0)?,
            list("mean", 0.0)?,
            list("var", 1.0)?,
        ];
        let inputs = [Wire::Old(output), wires[0], wires[1], wires[2], wires[3]];
        let new = patch.node(&name, norm, &inputs);
        patch.replace(output, new);
        let ids = out.apply(patch)?;
        inserted.push(InsertedNorm {
            conv: node.name.clone(),
            scale: ids[0],
            bias: ids[1],
            mean: ids[2],
            var: ids[3],
        });
    }
    Ok((out, inserted))
}
