//! Fresh weights for a graph (He et al., ICCV 2015).

use onnx_graph::ops::Op;
use onnx_graph::{Graph, Tensor};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::TrainError;

/// `count` numbers, uniform around zero with standard deviation `std`.
pub(crate) fn spread(rng: &mut ChaCha8Rng, count: usize, std: f64) -> Vec<f32> {
    let bound = (std * 3f64.sqrt()) as f32;
    if bound == 0.0 {
        return vec![0.0; count];
    }
    (0..count)
        .map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound)
        .collect()
}

/// The same network as if never trained: He-initialised weights (fan-in, gain of ReLU for convolutions, 1 for dense
/// layers), zero biases, BatchNorm at the identity. Equal seeds give equal weights. Other constants stay.
///
/// # Errors
/// [`TrainError::Graph`] when a constant cannot be replaced.
pub fn initialise(graph: &Graph, seed: u64) -> Result<Graph, TrainError> {
    let mut out = graph.clone();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let float =
        |i: Option<_>| i.filter(|&v| graph.constant(v).is_some_and(|t| t.as_f32().is_some()));
    for (_, node) in graph.iter() {
        let (weight, bias, fan_in, gain) = match &node.op {
            Op::Conv(_) => (1, Some(2), (1..usize::MAX, false), 2.0),
            Op::ConvTranspose(_) => (1, Some(2), (0..1, true), 2.0),
            Op::Gemm(g) => (
                1,
                Some(2),
                if g.trans_b {
                    (1..usize::MAX, false)
                } else {
                    (0..1, false)
                },
                1.0,
            ),
            Op::MatMul(_) => (1, None, (0..1, false), 1.0),
            Op::BatchNormalization(_) => {
                for (input, value) in [(1, 1.0), (2, 0.0), (3, 0.0), (4, 1.0)] {
                    if let Some(v) = float(node.input(input)) {
                        let dims = graph
                            .constant(v)
                            .map(|t| t.dims().to_vec())
                            .unwrap_or_default();
                        let count = dims.iter().product();
                        out.set_constant(v, Tensor::f32(dims, vec![value; count])?)?;
                    }
                }
                continue;
            }
            _ => continue,
        };
        let Some(w) = float(node.input(weight)) else {
            continue;
        };
        let dims = graph
            .constant(w)
            .map(|t| t.dims().to_vec())
            .unwrap_or_default();
        let (range, spatial) = fan_in;
        let axes = range.start.min(dims.len())..range.end.min(dims.len());
        let mut fan: usize = dims[axes].iter().product();
        if spatial {
            fan *= dims[2.min(dims.len())..].iter().product::<usize>();
        }
        let std = (gain / fan.max(1) as f64).sqrt();
        let count = dims.iter().product();
        out.set_constant(w, Tensor::f32(dims, spread(&mut rng, count, std))?)?;
        if let Some(b) = bias.and_then(|i| float(node.input(i))) {
            let dims = graph
                .constant(b)
                .map(|t| t.dims().to_vec())
                .unwrap_or_default();
            let count = dims.iter().product();
            out.set_constant(b, Tensor::f32(dims, vec![0.0; count])?)?;
        }
    }
    Ok(out)
}
