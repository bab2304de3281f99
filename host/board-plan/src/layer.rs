//! Layers with weights: their integers, packed in the order of the kernels.

use int8_engine::{Clamp, Conv, Depthwise, Element, Op, Requant, Tensor, Window};
use onnx_graph::{DType, Graph, Node};

use crate::fixed;
use crate::program::Program;
use crate::value::{Integers, Quantity};

/// A layer whose output's integers are yet unknown.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub input: Integers,
    /// Height, width, channels of the output.
    pub output: [u16; 3],
    pub window: Window,
    pub groups: u16,
    /// Weights in the order output, row, column, input channel of the group.
    pub weights: Vec<i8>,
    /// In steps of the product of the scales of input and weights.
    pub bias: Vec<i32>,
    /// A scale per output channel.
    pub scales: Vec<f32>,
}

/// What the kernels gather windows in, in reports.
const SCRATCH: &str = "gathered windows";

/// Weights of a node as integers around 0, in the order of the file, with a scale per output.
pub(crate) fn integers(
    graph: &Graph,
    node: &Node,
    output_axis: usize,
) -> Result<(Vec<i8>, Vec<f32>), String> {
    let tensor = graph
        .constant_input(node, 1)
        .ok_or("its weights are computed")?;
    let stored = tensor.stored().ok_or("its weights are not quantised")?;
    let scaling = &stored.scaling;
    let outputs = tensor.dims().get(output_axis).copied();
    let outputs = outputs
        .filter(|&n| n > 0)
        .ok_or("its weights have no output channels")?;
    if scaling.axis.is_some_and(|axis| axis != output_axis) {
        return Err("the scales of its weights are not by output channel".into());
    }
    let inner: usize = tensor.dims()[output_axis + 1..].iter().product();
    let values = stored
        .integers
        .to_i32s()
        .ok_or("its weights are no small integers")?;
    if !matches!(
        stored.integers.dtype(),
        DType::I8 | DType::U8 | DType::I4 | DType::U4
    ) {
        return Err("its weights have more than 8 bits".into());
    }
    let one = scaling.scales.len() == 1;
    let at = |output: usize| if one { 0 } else { output };
    let centred = values.iter().enumerate().map(|(i, &v)| {
        let output = i / inner.max(1) % outputs;
        i8::try_from(v - scaling.zero_points[at(output)])
            .map_err(|_| "the distances of its weights from their zero point exceed 8 bits".into())
    });
    let centred: Result<_, String> = centred.collect();
    let scales = (0..outputs).map(|output| scaling.scales[at(output)]);
    Ok((centred?, scales.collect()))
}

/// The bias of a node in steps of the product of the scales, one per output.
pub(crate) fn bias(
    graph: &Graph,
    node: &Node,
    (input, scales): (f32, &[f32]),
) -> Result<Vec<i32>, String> {
    let Some(id) = node.input(2) else {
        return Ok(vec![0; scales.len()]);
    };
    let tensor = graph.constant(id).ok_or("its bias is computed")?;
    let floats = tensor.as_f32().filter(|b| b.len() == scales.len());
    let floats = floats.ok_or("its bias is not one number per output")?;
    let steps = floats.iter().zip(scales).map(|(&b, &scale)| {
        // The stored integers are in these steps already, and are recovered exactly.
        let steps = (f64::from(b) / (f64::from(input) * f64::from(scale))).round_ties_even();
        let fits = steps.abs() <= f64::from(i32::MAX);
        fits.then_some(steps as i32)
            .ok_or_else(|| "its bias exceeds 32 bits".to_string())
    });
    let stored = tensor.stored().filter(|stored| {
        let products = scales.iter().map(|s| s * input);
        let same = |(&a, b): (&f32, f32)| (a - b).abs() <= b * 1e-5;
        let all = &stored.scaling.scales;
        all.len() == scales.len() && all.iter().zip(products).all(same)
    });
    if let Some(integers) = stored.and_then(|stored| stored.integers.to_i32s()) {
        return Ok(integers);
    }
    steps.collect()
}

/// The output of a layer: bytes of a scale, limited to an interval; or the sums.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    Bytes(Quantity, Clamp),
    Sums,
}

impl Layer {
    /// Whether each output channel reads one input channel.
    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.input.tensor.channels
    }

    fn entries(&self) -> usize {
        self.weights.len() / self.bias.len().max(1)
    }

    /// The greatest magnitude of each output's sum, bias included.
    fn greatest(&self) -> Vec<u64> {
        let rows = self.weights.chunks(self.entries().max(1));
        let sum = |(row, &bias): (&[i8], &i32)| {
            let row: u64 = row.iter().map(|w| u64::from(w.unsigned_abs()) * 255).sum();
            row + u64::from(bias.unsigned_abs())
        };
        rows.zip(&self.bias).map(sum).collect()
    }

    /// Appends the operator; returns its output.
    pub fn lower(
        &self,
        program: &mut Program,
        (node, ending): (&str, Ending),
    ) -> Result<Integers, String> {
        let sums = self.greatest();
        if sums.iter().any(|&sum| sum > i32::MAX as u64) {
            return Err("its sums exceed 32 bits".into());
        }
        let (quantity, clamp, element) = match ending {
            Ending::Bytes(quantity, clamp) => (quantity, clamp, Element::I8),
            Ending::Sums => {
                let unscaled = Quantity {
                    scale: 1.0,
                    zero_point: 0,
                };
                (unscaled, Clamp::NONE, Element::I32)
            }
        };
        let factor = |&scale: &f32| match ending {
            Ending::Bytes(..) => self.input.scale * scale / quantity.scale,
            Ending::Sums => 1e-3,
        };
        let mut factors: Vec<f32> = self.scales.iter().map(factor).collect();
        let mut biases = self.bias.clone();
        if element == Element::I8 {
            self.level(&mut factors, &mut biases);
        }
        let (requant, multipliers) =
            fixed::requant(&factors, &sums).ok_or("its scale is far above that of its output")?;
        let [height, width, channels] = self.output;
        let mut output = Tensor {
            offset: 0,
            height,
            width,
            channels,
            zero_point: quantity.zero_point,
            element,
        };
        let bytes = output.bytes().ok_or("its output exceeds 4 GiB")?;
        output.offset = program.buffer(node, bytes);
        let depthwise = self.is_depthwise() && element == Element::I8;
        let scales = self.store_scales(program, (&biases, &multipliers), depthwise);
        let op = if depthwise {
            self.depthwise(program, output, (requant, clamp), scales)?
        } else {
            self.dense(program, output, (requant, clamp), scales)?
        };
        program.push(node, op);
        Ok(Integers {
            tensor: output,
            scale: quantity.scale,
        })
    }

    /// Gives outputs without weights the greatest scale of the others, and the bias that gives
    /// the same constant. Their own scale is arbitrary, and a far greater one would take the
    /// digits of the others' multipliers.
    fn level(&self, factors: &mut [f32], biases: &mut [i32]) {
        let rows = self.weights.chunks(self.entries().max(1));
        let flat: Vec<bool> = rows.map(|row| row.iter().all(|&w| w == 0)).collect();
        let others = factors.iter().zip(&flat).filter(|(_, flat)| !**flat);
        let most = others.fold(0.0f32, |most, (&factor, _)| most.max(factor));
        if most == 0.0 || most > 0.5 {
            return;
        }
        for ((factor, bias), _) in factors.iter_mut().zip(biases).zip(flat).filter(|(_, f)| *f) {
            let constant = (*bias as f32 * *factor)
                .round_ties_even()
                .clamp(-512.0, 512.0);
            *bias = (constant / most).round() as i32;
            *factor = most;
        }
    }

    /// Stores biases, with the effect of the input's zero point, and multipliers: per group in
    /// blocks of as many outputs as the kernels take at a time.
    fn store_scales(
        &self,
        program: &mut Program,
        (biases, multipliers): (&[i32], &[i32]),
        depthwise: bool,
    ) -> u32 {
        let zero_point = i32::from(self.input.tensor.zero_point);
        let rows = self.weights.chunks(self.entries().max(1));
        let biases = rows.zip(biases).map(|(row, bias)| {
            let sum: i32 = row.iter().map(|&w| i32::from(w)).sum();
            bias - zero_point * sum
        });
        let biases: Vec<i32> = biases.collect();
        let (group, block) = match depthwise {
            true => (biases.len(), 4),
            false => (biases.len() / usize::from(self.groups), 2),
        };
        let mut words: Vec<i32> = Vec::new();
        for (biases, multipliers) in biases.chunks(group).zip(multipliers.chunks(group)) {
            for (biases, multipliers) in biases.chunks(block).zip(multipliers.chunks(block)) {
                for list in [biases, multipliers] {
                    words.extend(list);
                    words.resize(words.len().next_multiple_of(block), 0);
                }
            }
        }
        program.store(words.into_iter().flat_map(i32::to_le_bytes))
    }

    fn depthwise(
        &self,
        program: &mut Program,
        output: Tensor,
        (requant, clamp): (Requant, Clamp),
        scales: u32,
    ) -> Result<Op, String> {
        let mut op = Depthwise {
            input: self.input.tensor,
            output,
            window: self.window,
            requant,
            clamp,
            weights: 0,
            scales,
            scratch: 0,
        };
        let large = || "its weights exceed 4 GiB".to_string();
        let mut packed = vec![0; op.weight_bytes().ok_or_else(large)? as usize];
        let entries = self.entries();
        for (channel, weights) in self.weights.chunks(entries).enumerate() {
            let first = channel / 4 * 8 * entries + 2 * (channel % 4);
            for (position, &weight) in weights.iter().enumerate() {
                let half = i16::from(weight).to_le_bytes();
                packed[first + 8 * position..][..2].copy_from_slice(&half);
            }
        }
        op.weights = program.store(packed);
        let scratch = op.scratch_bytes().ok_or_else(large)?;
        op.scratch = program.buffer(SCRATCH, scratch);
        Ok(op.into())
    }

    fn dense(
        &self,
        program: &mut Program,
        output: Tensor,
        (requant, clamp): (Requant, Clamp),
        scales: u32,
    ) -> Result<Op, String> {
        let mut op = Conv {
            input: self.input.tensor,
            output,
            window: self.window,
            groups: self.groups,
            requant,
            clamp,
            weights: 0,
            scales,
            scratch: 0,
        };
        let large = || "its weights exceed 4 GiB".to_string();
        let column = op.column().ok_or_else(large)? as usize;
        let scratch = op.scratch_bytes().ok_or_else(large)?;
        let outputs = usize::from(output.channels / self.groups);
        let entries = self.entries();
        let mut packed = Vec::new();
        for group in self.weights.chunks(outputs * entries) {
            for pair in group.chunks(2 * entries) {
                for first in (0..column).step_by(4) {
                    for output in 0..2 {
                        let entry = |i: usize| {
                            let inside = i < entries;
                            inside
                                .then(|| pair.get(output * entries + i))
                                .flatten()
                                .map_or(0, |&w| w as u8)
                        };
                        packed.extend((first..first + 4).map(entry));
                    }
                }
            }
        }
        op.weights = program.store(packed);
        op.scratch = program.buffer(SCRATCH, scratch);
        Ok(op.into())
    }
}
