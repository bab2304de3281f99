//! Giving BatchNormalization nodes that were inserted the statistics of the network's own activations.

use onnx_graph::ops::Op;
use onnx_graph::{Graph, InsertedNorm, NodeId, ValueId};
use tch::{Device, Kind, Tensor};

use crate::params::to_graph;
use crate::{ExecError, NormMode, Params, Program};

/// Sums over a batch, position by position: element count, sum and sum of squared distances from the running mean.
struct Moments {
    count: f64,
    mean: Tensor,
    squares: Tensor,
}

impl Moments {
    /// Chan's parallel update (Chan, Golub, LeVeque 1979), in double precision.
    fn add(&mut self, batch: &Tensor) -> Result<(), tch::TchError> {
        let rank = batch.dim() as i64;
        let over: Vec<i64> = (0..rank).filter(|&d| d != 1).collect();
        let count = over
            .iter()
            .map(|&d| batch.size()[d as usize])
            .product::<i64>() as f64;
        let batch = batch.f_to_kind(Kind::Double)?;
        let (var, mean) = batch.f_var_mean_correction(&over[..], 0, false)?;
        let total = self.count + count;
        let delta = mean.f_sub(&self.mean)?;
        let between = delta.f_square()?.f_mul_scalar(self.count * count / total)?;
        self.squares = self
            .squares
            .f_add(&var.f_mul_scalar(count)?)?
            .f_add(&between)?;
        self.mean = self.mean.f_add(&delta.f_mul_scalar(count / total)?)?;
        self.count = total;
        Ok(())
    }
}

/// Sets the inserted BatchNormalization nodes so that each knows the mean and variance of its input over `batches`
/// (each `[N, C, H, W]`) and gives its input back unchanged: mean and variance as observed, the scale their standard
/// deviation, the bias their mean. What the network computes stays the same, but for rounding; afterwards the nodes can be
/// trained and re-estimated like any other.
///
/// # Errors
/// [`ExecError::NoBatches`] for no batch; [`ExecError::Form`] when an inserted node is not in the graph; otherwise as
/// [`Program::compile`] and [`Program::forward`].
pub fn calibrate_inserted_norms(
    graph: &mut Graph,
    inserted: &[InsertedNorm],
    batches: impl IntoIterator<Item = Tensor>,
) -> Result<(), ExecError> {
    if inserted.is_empty() {
        return Ok(());
    }
    let program = Program::compile(graph)?;
    let mut inputs = Vec::with_capacity(inserted.len());
    for norm in inserted {
        inputs.push(norm_node(graph, norm)?);
    }
    let taps: Vec<ValueId> = inputs.iter().map(|(_, tap, _)| *tap).collect();
    let mut moments: Vec<Option<Moments>> = taps.iter().map(|_| None).collect();
    let mut params: Option<Params> = None;
    let _guard = tch::no_grad_guard();
    for batch in batches {
        let params = match &mut params {
            Some(p) => p,
            none => none.insert(Params::from_graph(graph, batch.device())?),
        };
        program
            .run(
                &batch,
                params,
                None,
                NormMode::Running,
                &taps,
                &mut |id, tensor| {
                    for (place, _) in moments.iter_mut().zip(&taps).filter(|(_, tap)| **tap == id) {
                        let zeros =
                            || Tensor::zeros([tensor.size()[1]], (Kind::Double, tensor.device()));
                        let moments = place.get_or_insert_with(|| Moments {
                            count: 0.0,
                            mean: zeros(),
                            squares: zeros(),
                        });
                        moments
                            .add(tensor)
                            .map_err(ExecError::tensor("gathering statistics"))?;
                    }
                    Ok(())
                },
            )
            .map(drop)?;
    }
    for ((norm, (_, _, epsilon)), moments) in inserted.iter().zip(&inputs).zip(moments) {
        let moments = moments.ok_or(ExecError::NoBatches)?;
        let mean = moments.mean.to_device(Device::Cpu).to_kind(Kind::Float);
        let var = (moments.squares / moments.count)
            .to_device(Device::Cpu)
            .to_kind(Kind::Float);
        // From the rounded variance, so that scale and normalisation cancel as exactly as they can.
        let scale = (var.to_kind(Kind::Double) + f64::from(*epsilon))
            .sqrt()
            .to_kind(Kind::Float);
        for (id, tensor) in [
            (norm.scale, &scale),
            (norm.bias, &mean),
            (norm.mean, &mean),
            (norm.var, &var),
        ] {
            graph.set_constant(id, to_graph(tensor)?)?;
        }
    }
    Ok(())
}

/// The node of an inserted normalisation, its data input and its epsilon.
fn norm_node(graph: &Graph, norm: &InsertedNorm) -> Result<(NodeId, ValueId, f32), ExecError> {
    let found = graph.iter().find_map(|(id, node)| match &node.op {
        Op::BatchNormalization(op) if node.input(3) == Some(norm.mean) => {
            Some((id, node.input(0)?, op.epsilon))
        }
        _ => None,
    });
    found.ok_or_else(|| ExecError::Form {
        node: norm.conv.clone(),
        op: "Conv".to_owned(),
        reason: "the BatchNormalization inserted after it is not in this graph".to_owned(),
    })
}
