//! Folding BatchNormalization into the preceding layer, and inserting it behind convolutions.

use crate::graph::Graph;
use crate::ops::{BatchNormalization, Op};
use crate::patch::{Patch, Wire};
use crate::value::{NodeId, ValueId};
use crate::{Dim, GraphError, Tensor};

/// Folds each BatchNormalization into the Conv, ConvTranspose or Gemm before it: the weights are
/// scaled and the bias takes the shift. The normalisation stays if another node or the graph also
/// reads the layer's output, or if the weights are not constant; weights that another node shares
/// are copied.
///
/// The normalised value keeps its id and name and becomes the output of the layer.
///
/// # Errors
/// [`GraphError::Shape`] or [`GraphError::Patch`] if the shapes do not fit, which a checked graph
/// rules out.
pub fn fold_batch_norm(graph: &Graph) -> Result<Graph, GraphError> {
    let mut out = graph.clone();
    let mut producers = out.producers();
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
        let replace = |out: &mut Graph, i: usize, what: &str, tensor: Tensor| {
            let old = out.nodes[before.index()].input(i);
            Ok::<ValueId, GraphError>(match old {
                Some(v) if consumers[v.index()].len() == 1 && !out.outputs.contains(&v) => {
                    out.set_constant(v, tensor)?;
                    v
                }
                Some(v) => {
                    let name = out.value(v).name.clone();
                    out.add_constant(&name, tensor)
                }
                None => {
                    let name = format!("{}_{what}", out.node(before).name);
                    out.add_constant(&name, tensor)
                }
            })
        };
        let weight_id = replace(&mut out, 1, "weight", weight)?;
        let bias_id = replace(&mut out, 2, "bias", bias)?;
        let output = out.nodes[index].output();
        let node = &mut out.nodes[before.index()];
        node.inputs.resize(3, None);
        (node.inputs[1], node.inputs[2]) = (Some(weight_id), Some(bias_id));
        node.outputs[0] = Some(output);
        if let Op::Gemm(op) = &mut node.op {
            op.beta = 1.0;
        }
        gone[index] = true;
        producers[output.index()] = Some(before);
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

/// The normalisation as `scale * x + shift` per channel.
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

/// Weight and bias, with a factor of 1, of `node` followed by an affine map of its channels.
fn folded(graph: &Graph, node: NodeId, scale: &[f64], shift: &[f64]) -> Option<(Tensor, Tensor)> {
    let node = graph.node(node);
    let weight = graph.constant_input(node, 1)?;
    let (dims, data) = (weight.dims(), weight.as_f32()?);
    let channels = scale.len();
    let inner = |from: usize| dims[from..].iter().product::<usize>().max(1);
    // The output channel of each element of the weight.
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

/// A BatchNormalization inserted by [`insert_batch_norm`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsertedNorm {
    /// Name of the preceding convolution.
    pub conv: String,
    /// Scale per channel.
    pub scale: ValueId,
    /// Bias per channel.
    pub bias: ValueId,
    /// Running mean per channel.
    pub mean: ValueId,
    /// Running variance per channel.
    pub var: ValueId,
}

/// Inserts an identity BatchNormalization (mean and bias 0, variance 1, scale `sqrt(1 +
/// epsilon)`) behind each Conv without one, unless the Conv's output is a graph output. That
/// output keeps its id; its readers read the normalised value.
///
/// # Errors
/// [`GraphError::Patch`] if a patch does not fit.
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
