//! The original network with the dropped channels masked, the reference for tests of pruned
//! networks.

use std::collections::{BTreeMap, HashMap};

use onnx_graph::ops::{Add, Div, Mul, Op, ReduceMean, Sqrt, Sub, Where};
use onnx_graph::{DType, Graph, GraphError, Node, NodeId, Tensor, TensorData, ValueId};

use crate::atoms::Map;
use crate::error::ChannelError;
use crate::groups::Analysis;
use crate::plan::{Kept, PrunePlan, cut};

/// Returns the original graph with all dropped channels set to zero, and so the contributions of
/// removed branches, including their biases. A pruned graph must compute the same. Layer
/// normalisations and means over the channels count the kept ones only.
///
/// # Errors
/// As [`PrunePlan::check`], [`ChannelError::UnknownShape`] for a value that cannot be masked, and
/// [`ChannelError::Graph`] if the graph rejects the masks.
pub fn mask(graph: &Graph, analysis: &Analysis, plan: &PrunePlan) -> Result<Graph, ChannelError> {
    let mut masker = Masker {
        graph,
        analysis,
        kept: Kept::new(analysis, plan)?,
        bypassed: cut(graph, analysis, plan)?.bypassed,
        out: graph.emptied(),
        renamed: HashMap::new(),
    };
    masker.copy_inputs();
    for (id, node) in graph.iter() {
        masker.node(id, node)?;
    }
    let Masker {
        mut out, renamed, ..
    } = masker;
    for output in graph.outputs() {
        out.add_output(renamed[output]);
    }
    out.check()?;
    Ok(out)
}

/// The number of channels of a reduction before and after pruning.
#[derive(Clone, Copy)]
struct Reduced {
    all: usize,
    left: usize,
}

/// Axes and epsilon of a normalisation.
struct Normalisation {
    axes: Vec<i64>,
    epsilon: f32,
}

/// A masked graph under construction.
struct Masker<'a> {
    graph: &'a Graph,
    analysis: &'a Analysis,
    kept: Kept<'a>,
    bypassed: BTreeMap<NodeId, usize>,
    out: Graph,
    /// Values of the masked graph by those of the original.
    renamed: HashMap<ValueId, ValueId>,
}

impl Masker<'_> {
    /// Copies graph inputs and constants.
    fn copy_inputs(&mut self) {
        for &input in self.graph.inputs() {
            let value = self.graph.value(input);
            let dtype = value.dtype.unwrap_or(DType::F32);
            let shape = value.shape.clone().unwrap_or_default();
            let copy = self.out.add_input(&value.name, dtype, shape);
            self.renamed.insert(input, copy);
        }
        for (&id, tensor) in self.graph.constants() {
            let name = &self.graph.value(id).name;
            let copy = self.out.add_constant(name, tensor.clone());
            self.renamed.insert(id, copy);
        }
    }

    fn node(&mut self, id: NodeId, node: &Node) -> Result<(), ChannelError> {
        let inputs = node.inputs.iter().map(|i| i.map(|i| self.renamed[&i]));
        let mut inputs: Vec<_> = inputs.collect();
        if let Op::Opaque(op) = &node.op
            && op.is_recurrent()
        {
            self.silence_states(node, &mut inputs)?;
        }
        if let Some(&survivor) = self.bypassed.get(&id) {
            let name = format!("{}_branch", node.name);
            let zero = Tensor::scalar(0.0);
            let zero = self.out.add_constant(&format!("{name}_mask"), zero);
            let branch = vec![inputs[1 - survivor], Some(zero)];
            let output = format!("{name}_masked");
            let masked = self
                .out
                .push_node(&name, Mul.into(), branch, &[Some(&output)])?;
            inputs[1 - survivor] = masked[0];
        }
        let masks = node.outputs.iter();
        let masks = masks.map(|o| o.map_or(Ok(None), |o| self.mask_of(o)));
        let masks: Vec<_> = masks.collect::<Result<_, _>>()?;
        // Graph outputs keep their names: their channels are pinned, so they are never masked.
        let name = |(output, mask): (&Option<ValueId>, &Option<Tensor>)| {
            let name = &self.graph.value((*output)?).name;
            Some(match mask {
                Some(_) => format!("{name}_raw"),
                None => name.clone(),
            })
        };
        let names: Vec<_> = node.outputs.iter().zip(&masks).map(name).collect();
        let names: Vec<_> = names.iter().map(Option::as_deref).collect();
        let reduced = self.reduced(node, &inputs, names[0].unwrap_or_default())?;
        let outputs = match reduced {
            Some(value) => vec![Some(value)],
            None => {
                let op = node.op.clone();
                self.out.push_node(&node.name, op, inputs, &names)?
            }
        };
        for ((old, new), mask) in node.outputs.iter().zip(outputs).zip(masks) {
            let (Some(old), Some(mut new)) = (*old, new) else {
                continue;
            };
            let value = self.graph.value(old);
            self.out.state_type(new, value.dtype, value.shape.as_ref());
            if let Some(mask) = mask {
                new = self.masked(old, new, mask)?;
            }
            self.renamed.insert(old, new);
        }
        Ok(())
    }

    /// Gives a recurrent layer weights with zeros for its dropped states: it reads its own states.
    fn silence_states(
        &mut self,
        node: &Node,
        inputs: &mut [Option<ValueId>],
    ) -> Result<(), ChannelError> {
        for (given, input) in node.inputs.iter().zip(inputs) {
            let Some((id, tensor)) = given.and_then(|id| Some((id, self.graph.constant(id)?)))
            else {
                continue;
            };
            let mut kept = tensor.clone();
            for bound in &self.analysis.constants[id.index()] {
                let keep = bound.atoms.iter().map(|&atom| self.kept.atom(atom));
                kept = zeroed(&kept, bound.axis, &keep.collect::<Vec<bool>>())?;
            }
            let name = format!("{}_silent", self.graph.value(id).name);
            *input = Some(self.out.add_constant(&name, kept));
        }
        Ok(())
    }

    /// Which indices of the channel axis of `value` are kept, if it loses any.
    fn mask_of(&self, value: ValueId) -> Result<Option<Tensor>, ChannelError> {
        let Some(Map { axis, atoms }) = self.analysis.values[value.index()].as_ref() else {
            return Ok(None);
        };
        let keep: Vec<bool> = atoms.iter().map(|&a| self.kept.atom(a)).collect();
        // The float that is made of a quantised value is masked.
        if keep.iter().all(|&k| k) || self.zero(value).is_none() {
            return Ok(None);
        }
        let Some(shape) = &self.graph.value(value).shape else {
            let value = self.graph.value(value).name.clone();
            return Err(ChannelError::UnknownShape { value });
        };
        let mut dims = vec![1; shape.len()];
        dims[*axis] = keep.len();
        Ok(Some(Tensor::new(dims, TensorData::Bool(keep))?))
    }

    /// The zero of a float value's type.
    fn zero(&self, value: ValueId) -> Option<Tensor> {
        let data = match self.graph.value(value).dtype {
            None | Some(DType::F32) => TensorData::F32(vec![0.0]),
            Some(DType::F64) => TensorData::F64(vec![0.0]),
            Some(DType::F16) => TensorData::F16(vec![0]),
            Some(DType::BF16) => TensorData::BF16(vec![0]),
            Some(_) => return None,
        };
        Tensor::new(Vec::new(), data).ok()
    }

    /// `raw` with zeros where `mask` is false, under the name of the value `old`.
    fn masked(
        &mut self,
        old: ValueId,
        raw: ValueId,
        mask: Tensor,
    ) -> Result<ValueId, ChannelError> {
        let output = &self.graph.value(old).name;
        let name = format!("{output}_mask");
        let mask = self.out.add_constant(&name, mask);
        let zero = self.zero(old).unwrap_or_else(|| Tensor::scalar(0.0));
        let zero = self.out.add_constant(&format!("{name}_zero"), zero);
        let inputs = vec![Some(mask), Some(raw), Some(zero)];
        let masked = self
            .out
            .push_node(&name, Where.into(), inputs, &[Some(output)])?;
        Ok(masked[0].unwrap_or(raw))
    }

    /// The output of a node that reduces over channels and loses some, with statistics of the
    /// kept ones; `None` for other nodes.
    fn reduced(
        &mut self,
        node: &Node,
        inputs: &[Option<ValueId>],
        name: &str,
    ) -> Result<Option<ValueId>, ChannelError> {
        let Some(channels) = self.channels_lost(node) else {
            return Ok(None);
        };
        match &node.op {
            Op::LayerNormalization(op) => {
                let rank = node.input(0).and_then(|v| {
                    let shape = self.graph.value(v).shape.as_ref()?;
                    Some((op.axis(shape.len())?, shape.len()))
                });
                let (first, rank) = rank.unwrap_or((0, 0));
                let norm = Normalisation {
                    axes: (first..rank).map(|a| a as i64).collect(),
                    epsilon: op.epsilon,
                };
                self.kept_statistics(node, &norm, inputs, (channels, name))
            }
            Op::InstanceNormalization(op) => {
                // A single group, whose one scale and bias fit any shape.
                let shape = node
                    .input(0)
                    .and_then(|v| self.graph.value(v).shape.as_ref());
                let rank = shape.map_or(0, Vec::len);
                let norm = Normalisation {
                    axes: (2..rank).map(|a| a as i64).collect(),
                    epsilon: op.epsilon,
                };
                self.kept_statistics(node, &norm, inputs, (channels, name))
            }
            Op::Opaque(op) if op.op_type == "LayerNormalization" => {
                let norm = Normalisation {
                    axes: vec![-1],
                    epsilon: op.float("epsilon", 1e-5),
                };
                self.kept_statistics(node, &norm, inputs, (channels, name))
            }
            Op::Opaque(op) if op.is_root_mean_square() => {
                let epsilon = op.float("epsilon", 1e-5);
                self.kept_root(node, epsilon, inputs, (channels, name))
            }
            Op::ReduceMean(_) | Op::GlobalAveragePool(_) => {
                self.kept_mean(node, inputs, (channels, name))
            }
            Op::ReduceMax(_) | Op::GlobalMaxPool(_) => {
                self.kept_extremum(node, inputs, (f32::MIN, name))
            }
            Op::ReduceMin(_) => self.kept_extremum(node, inputs, (f32::MAX, name)),
            _ => Ok(None),
        }
    }

    /// The channels of a normalisation or a mean over them, if it loses any.
    fn channels_lost(&self, node: &Node) -> Option<Reduced> {
        let input = node.input(0)?;
        let Map { axis, atoms } = self.analysis.values[input.index()].as_ref()?;
        let rank = self.graph.value(input).shape.as_ref()?.len();
        let over_channels = match &node.op {
            Op::LayerNormalization(op) => op.axis(rank)? <= *axis,
            Op::InstanceNormalization(_) | Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) => {
                *axis > 1
            }
            Op::Opaque(op) => {
                let normalises = op.is_root_mean_square() || op.op_type == "LayerNormalization";
                normalises && *axis + 1 == rank
            }
            Op::ReduceMean(op) => op.axes(rank)?.contains(axis),
            Op::ReduceMax(op) => op.axes(rank)?.contains(axis),
            Op::ReduceMin(op) => op.axes(rank)?.contains(axis),
            _ => false,
        };
        let (all, left) = (atoms.len(), self.kept.count(atoms));
        (over_channels && left < all).then_some(Reduced { all, left })
    }

    /// A mean over the kept channels: the mean over all channels, scaled. The others are zero.
    fn kept_mean(
        &mut self,
        node: &Node,
        inputs: &[Option<ValueId>],
        (Reduced { all, left }, name): (Reduced, &str),
    ) -> Result<Option<ValueId>, ChannelError> {
        let Some(Some(x)) = inputs.first() else {
            return Ok(None);
        };
        let out = &mut self.out;
        let share = Tensor::scalar(all as f32 / left.max(1) as f32);
        let share = out.add_constant(&format!("{name}_share"), share);
        let mean = out.push(&format!("{}_all", node.name), node.op.clone(), &[*x])?;
        let inputs = vec![Some(mean), Some(share)];
        Ok(out.push_node(&node.name, Mul.into(), inputs, &[Some(name)])?[0])
    }

    /// An extremum over the kept channels: the others hold `neutral`, which never is one.
    fn kept_extremum(
        &mut self,
        node: &Node,
        inputs: &[Option<ValueId>],
        (neutral, name): (f32, &str),
    ) -> Result<Option<ValueId>, ChannelError> {
        let mask = node.input(0).map(|input| self.mask_of(input)).transpose()?;
        let (Some(Some(x)), Some(Some(mask))) = (inputs.first(), mask) else {
            return Ok(None);
        };
        let out = &mut self.out;
        let mask = out.add_constant(&format!("{name}_kept"), mask);
        let neutral = out.add_constant(&format!("{name}_neutral"), Tensor::scalar(neutral));
        let kept = out.push(
            &format!("{}_kept", node.name),
            Where.into(),
            &[mask, *x, neutral],
        )?;
        Ok(out.push_node(&node.name, node.op.clone(), vec![Some(kept)], &[Some(name)])?[0])
    }

    /// A normalisation by the root of the mean square of the kept channels. Its input is masked.
    fn kept_root(
        &mut self,
        node: &Node,
        epsilon: f32,
        inputs: &[Option<ValueId>],
        (Reduced { all, left }, name): (Reduced, &str),
    ) -> Result<Option<ValueId>, ChannelError> {
        let &[Some(x), Some(scale)] = inputs else {
            return Ok(None);
        };
        let out = &mut self.out;
        let share = Tensor::scalar(all as f32 / left.max(1) as f32);
        let share = out.add_constant(&format!("{name}_share"), share);
        let epsilon = out.add_constant(&format!("{name}_epsilon"), Tensor::scalar(epsilon));
        let mean_of = ReduceMean {
            axes: vec![-1],
            keepdims: true,
        };
        let mut push = |what: &str, op: Op, inputs: &[ValueId]| {
            out.push(&format!("{}_{what}", node.name), op, inputs)
        };
        let square = push("square", Mul.into(), &[x, x])?;
        let mean = push("mean", mean_of.into(), &[square])?;
        let mean = push("kept_mean", Mul.into(), &[mean, share])?;
        let safe = push("safe", Add.into(), &[mean, epsilon])?;
        let root = push("root", Sqrt.into(), &[safe])?;
        let unit = push("unit", Div.into(), &[x, root])?;
        let operands = vec![Some(unit), Some(scale)];
        Ok(out.push_node(&node.name, Mul.into(), operands, &[Some(name)])?[0])
    }

    /// A normalisation with mean and variance of the kept channels. Its input is masked, and the
    /// caller masks its output.
    fn kept_statistics(
        &mut self,
        node: &Node,
        norm: &Normalisation,
        inputs: &[Option<ValueId>],
        (Reduced { all, left }, name): (Reduced, &str),
    ) -> Result<Option<ValueId>, ChannelError> {
        let (Some(Some(x)), Some(Some(scale))) = (inputs.first(), inputs.get(1)) else {
            return Ok(None);
        };
        let out = &mut self.out;
        let share = Tensor::scalar(all as f32 / left.max(1) as f32);
        let share = out.add_constant(&format!("{name}_share"), share);
        let missing = Tensor::scalar((all - left) as f32 / left.max(1) as f32);
        let missing = out.add_constant(&format!("{name}_missing"), missing);
        let epsilon = out.add_constant(&format!("{name}_epsilon"), Tensor::scalar(norm.epsilon));
        let mean_of = ReduceMean {
            axes: norm.axes.clone(),
            keepdims: true,
        };
        let mut push = |what: &str, op: Op, inputs: &[ValueId]| {
            out.push(&format!("{}_{what}", node.name), op, inputs)
        };
        let mean = push("mean", mean_of.clone().into(), &[*x])?;
        let mean = push("kept_mean", Mul.into(), &[mean, share])?;
        let centred = push("centred", Sub.into(), &[*x, mean])?;
        let square = push("square", Mul.into(), &[centred, centred])?;
        // The masked channels lie at minus the mean; their part of the variance is subtracted.
        let all = push("mean_of_squares", mean_of.into(), &[square])?;
        let all = push("scaled_squares", Mul.into(), &[all, share])?;
        let masked = push("square_of_mean", Mul.into(), &[mean, mean])?;
        let masked = push("masked_part", Mul.into(), &[masked, missing])?;
        let variance = push("variance", Sub.into(), &[all, masked])?;
        let variance = push("safe", Add.into(), &[variance, epsilon])?;
        let deviation = push("deviation", Sqrt.into(), &[variance])?;
        let unit = push("unit", Div.into(), &[centred, deviation])?;
        let bias = inputs.get(2).copied().flatten();
        let (op, operands): (Op, _) = match bias {
            Some(bias) => {
                let scaled = push("scaled", Mul.into(), &[unit, *scale])?;
                (Add.into(), [scaled, bias])
            }
            None => (Mul.into(), [unit, *scale]),
        };
        let operands = operands.map(Some).to_vec();
        Ok(out.push_node(&node.name, op, operands, &[Some(name)])?[0])
    }
}

/// `tensor`, if it has 32-bit floats, with zeros where `keep` is false along `axis`.
fn zeroed(tensor: &Tensor, axis: usize, keep: &[bool]) -> Result<Tensor, GraphError> {
    let dims = tensor.dims().to_vec();
    let Some(data) = tensor.as_f32() else {
        return Ok(tensor.clone());
    };
    let behind: usize = dims[axis + 1..].iter().product();
    let element = |(i, &x): (usize, &f32)| match keep[i / behind % keep.len()] {
        true => x,
        false => 0.0,
    };
    let data = data.iter().enumerate().map(element).collect();
    Tensor::f32(dims, data)
}
