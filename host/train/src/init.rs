//! Random initial weights (He et al., ICCV 2015).

use onnx_graph::ops::Op;
use onnx_graph::{Graph, Node, Tensor as Constant, ValueId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

use crate::TrainError;

/// Draws `count` numbers, uniform around zero with standard deviation `std`.
fn uniform(rng: &mut ChaCha8Rng, count: usize, std: f64) -> Vec<f32> {
    let bound = (std * 3f64.sqrt()) as f32;
    if bound == 0.0 {
        return vec![0.0; count];
    }
    (0..count)
        .map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound)
        .collect()
}

/// A seeded source of random tensors that require gradients.
pub(crate) struct RandomTensors {
    rng: ChaCha8Rng,
    device: Device,
}

impl RandomTensors {
    pub fn new(seed: u64, stream: u64, device: Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self { rng, device }
    }

    /// Draws a tensor, uniform around zero with standard deviation `std`.
    pub fn draw(&mut self, shape: &[usize], std: f64) -> Result<Tensor, TrainError> {
        let values = uniform(&mut self.rng, shape.iter().product(), std);
        let dims: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        Ok(Tensor::f_from_slice(&values)?
            .f_reshape(dims)?
            .f_to_device(self.device)?
            .f_set_requires_grad(true)?)
    }
}

/// Axes of a weight that make up the fan-in.
enum FanIn {
    First,
    FirstAndSpatial,
    AllButFirst,
}

impl FanIn {
    fn of(self, dims: &[usize]) -> usize {
        let product = |from: usize| dims.get(from..).unwrap_or(&[]).iter().product::<usize>();
        let first = dims.first().copied().unwrap_or(1);
        match self {
            Self::First => first,
            Self::FirstAndSpatial => first * product(2),
            Self::AllButFirst => product(1),
        }
    }
}

/// Returns fan-in and gain of a layer, whose weight is input 1.
fn fan_in(node: &Node) -> Option<(FanIn, f64)> {
    Some(match &node.op {
        Op::Conv(_) => (FanIn::AllButFirst, 2.0),
        Op::ConvTranspose(_) => (FanIn::FirstAndSpatial, 2.0),
        Op::Gemm(gemm) if gemm.trans_b => (FanIn::AllButFirst, 1.0),
        Op::Gemm(_) | Op::MatMul(_) => (FanIn::First, 1.0),
        _ => return None,
    })
}

/// Returns the network in its untrained state: He-initialised weights (fan-in, gain of ReLU for
/// convolutions, 1 for dense layers), zero biases and BatchNorm as the identity. Equal seeds give
/// equal weights. Other constants stay.
///
/// # Errors
/// [`TrainError::Graph`] if a constant cannot be replaced.
pub fn initialise(graph: &Graph, seed: u64) -> Result<Graph, TrainError> {
    let mut out = graph.clone();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let floats = |v: Option<ValueId>| -> Option<(ValueId, Vec<usize>)> {
        let constant = graph.constant(v?).filter(|t| t.as_f32().is_some())?;
        Some((v?, constant.dims().to_vec()))
    };
    let fill = |out: &mut Graph, v: Option<ValueId>, value: f32| -> Result<(), TrainError> {
        let Some((id, dims)) = floats(v) else {
            return Ok(());
        };
        let count = dims.iter().product();
        Ok(out.set_constant(id, Constant::f32(dims, vec![value; count])?)?)
    };
    for (_, node) in graph.iter() {
        if let Op::BatchNormalization(_) = &node.op {
            for (input, value) in [(1, 1.0), (2, 0.0), (3, 0.0), (4, 1.0)] {
                fill(&mut out, node.input(input), value)?;
            }
            continue;
        }
        let Some((fan_in, gain)) = fan_in(node) else {
            continue;
        };
        let Some((weight, dims)) = floats(node.input(1)) else {
            continue;
        };
        let std = (gain / fan_in.of(&dims).max(1) as f64).sqrt();
        let values = uniform(&mut rng, dims.iter().product(), std);
        out.set_constant(weight, Constant::f32(dims, values)?)?;
        if !matches!(node.op, Op::MatMul(_)) {
            fill(&mut out, node.input(2), 0.0)?;
        }
    }
    Ok(out)
}
