//! Moves BatchNormalization nodes to the statistics of the network's activations without changing
//! their function.

use onnx_graph::ops::Op;
use onnx_graph::{Graph, InsertedNorm, ValueId};
use tch::{Device, Kind, Tensor};

use crate::params::to_graph;
use crate::program::Pass;
use crate::{ExecError, NormMode, Params, Program};

/// Running moments per channel: element count, mean and sum of squared distances from the mean.
struct Moments {
    count: f64,
    mean: Tensor,
    squares: Tensor,
}

impl Moments {
    /// Adds a batch by the parallel update of Chan, Golub and LeVeque (1979), in double
    /// precision.
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

/// BatchNormalization nodes with common parameters, usually a single node.
struct Norm {
    /// Scale, bias, mean and variance.
    params: [ValueId; 4],
    epsilon: f32,
    /// Data inputs of the nodes.
    inputs: Vec<ValueId>,
    moments: Option<Moments>,
}

/// Sets inserted BatchNormalization nodes to the mean and variance of their inputs over `batches`
/// (each `[N, C, H, W]`), so that each remains the identity; see [`calibrate_norms`].
///
/// # Errors
/// As [`calibrate_norms`]; [`ExecError::Form`] if an inserted node is not in the graph.
pub fn calibrate_inserted_norms(
    graph: &mut Graph,
    inserted: &[InsertedNorm],
    batches: impl IntoIterator<Item = Tensor>,
) -> Result<(), ExecError> {
    let mut norms = own_norms(graph);
    norms.retain(|norm| inserted.iter().any(|i| i.mean == norm.params[2]));
    let missing = inserted
        .iter()
        .find(|i| norms.iter().all(|norm| norm.params[2] != i.mean));
    if let Some(missing) = missing {
        return Err(ExecError::Form {
            node: missing.conv.clone(),
            op: "Conv".to_owned(),
            reason: "the BatchNormalization inserted after it is not in this graph".to_owned(),
        });
    }
    centre(graph, norms, batches)
}

/// Sets every BatchNormalization to the mean and variance of its input over `batches` (each
/// `[N, C, H, W]`) and adapts scale and bias so that its function stays the same. Returns the
/// number of changed nodes.
///
/// The statistics in a file come from training with an unknown augmentation, so estimating them
/// anew on other images would change the network. After this call they can be estimated like
/// those of a network trained on such images.
///
/// Nodes whose parameters are not constants or are partly shared with other nodes stay unchanged,
/// as do channels whose new parameters would not be finite.
///
/// # Errors
/// [`ExecError::NoBatches`] for no batch; otherwise as [`Program::compile`] and
/// [`Program::forward`].
pub fn calibrate_norms(
    graph: &mut Graph,
    batches: impl IntoIterator<Item = Tensor>,
) -> Result<usize, ExecError> {
    let norms = own_norms(graph);
    let count = norms.iter().map(|norm| norm.inputs.len()).sum();
    centre(graph, norms, batches)?;
    Ok(count)
}

/// Returns the normalisations whose four parameters are constants without other readers.
fn own_norms(graph: &Graph) -> Vec<Norm> {
    let live = graph.live(|_, _| true).nodes;
    let mut norms: Vec<Norm> = Vec::new();
    for (id, node) in graph.iter() {
        let Op::BatchNormalization(op) = &node.op else {
            continue;
        };
        let inputs = [0, 1, 2, 3, 4].map(|i| node.input(i));
        let [Some(input), Some(scale), Some(bias), Some(mean), Some(var)] = inputs else {
            continue;
        };
        let params = [scale, bias, mean, var];
        let floats = |v: &ValueId| graph.constant(*v).is_some_and(|t| t.as_f32().is_some());
        if !live[id.index()] || !params.iter().all(floats) {
            continue;
        }
        let like = |norm: &&mut Norm| {
            norm.params == params && norm.epsilon.to_bits() == op.epsilon.to_bits()
        };
        match norms.iter_mut().find(like) {
            Some(norm) => norm.inputs.push(input),
            None => norms.push(Norm {
                params,
                epsilon: op.epsilon,
                inputs: vec![input],
                moments: None,
            }),
        }
    }
    let readers = graph.consumers();
    norms.retain(|norm| {
        norm.params
            .iter()
            .all(|v| readers[v.index()].len() == norm.inputs.len() && !graph.outputs().contains(v))
    });
    norms
}

/// Collects the statistics of each normalisation's inputs and moves the normalisation to them.
fn centre(
    graph: &mut Graph,
    mut norms: Vec<Norm>,
    batches: impl IntoIterator<Item = Tensor>,
) -> Result<(), ExecError> {
    if norms.is_empty() {
        return Ok(());
    }
    let program = Program::compile(graph)?;
    let taps: Vec<ValueId> = norms.iter().flat_map(|n| n.inputs.clone()).collect();
    let mut params: Option<Params> = None;
    let _guard = tch::no_grad_guard();
    for batch in batches {
        let params = match &mut params {
            Some(p) => p,
            none => none.insert(Params::from_graph(graph, batch.device())?),
        };
        let mut observe = |id: ValueId, tensor: &Tensor| {
            for norm in norms.iter_mut().filter(|n| n.inputs.contains(&id)) {
                let zeros = || Tensor::zeros([tensor.size()[1]], (Kind::Double, tensor.device()));
                let moments = norm.moments.get_or_insert_with(|| Moments {
                    count: 0.0,
                    mean: zeros(),
                    squares: zeros(),
                });
                moments
                    .add(tensor)
                    .map_err(ExecError::tensor("collecting statistics"))?;
            }
            Ok(())
        };
        let pass = Pass::new(params, None, NormMode::Running);
        program.run(&batch, pass, &taps, &mut observe).map(drop)?;
    }
    for norm in norms {
        norm.centre(graph)?;
    }
    Ok(())
}

impl Norm {
    fn centre(&self, graph: &mut Graph) -> Result<(), ExecError> {
        let moments = self.moments.as_ref().ok_or(ExecError::NoBatches)?;
        let read = |id: ValueId| graph.constant(id).and_then(|t| t.as_f32()).unwrap_or(&[]);
        let [scale, bias, mean, var] = self.params.map(read);
        let observed = |t: &Tensor| {
            let t = t.to_device(Device::Cpu).to_kind(Kind::Float);
            Vec::<f32>::try_from(&t).map_err(ExecError::tensor("reading statistics"))
        };
        let new_mean = observed(&moments.mean)?;
        let new_var = observed(&(&moments.squares / moments.count))?;
        // Rounded to f32 because the scale of an inserted identity is the rounded deviation: its
        // gain then is exactly 1.
        let deviation = |var: f32| (f64::from(var) + f64::from(self.epsilon)).sqrt() as f32;
        let mut lists = [scale, bias, mean, var].map(<[f32]>::to_vec);
        for c in 0..scale.len() {
            let gain = f64::from(scale[c]) / f64::from(deviation(var[c]));
            // From the difference of the means: the difference of the products would cancel.
            let shift = gain * (f64::from(new_mean[c]) - f64::from(mean[c]));
            let moved = [
                (gain * f64::from(deviation(new_var[c]))) as f32,
                (f64::from(bias[c]) + shift) as f32,
                new_mean[c],
                new_var[c],
            ];
            if moved.iter().all(|x| x.is_finite()) {
                for (list, x) in lists.iter_mut().zip(moved) {
                    list[c] = x;
                }
            }
        }
        for (id, list) in self.params.into_iter().zip(lists) {
            graph.set_constant(id, to_graph(&Tensor::from_slice(&list))?)?;
        }
        Ok(())
    }
}
