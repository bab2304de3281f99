//! Following: without labels, a network keeps to the outputs of the original.

use datasets::Dataset;
use onnx_graph::{Graph, ValueId};
use tch::{Kind, Reduction, Tensor};
use torch_exec::{NormMode, Params, distillation};

use super::form::{
    Moments, OutputForm, apart, by_position, choice_of, choices, class_axis, distribution,
    float_outputs,
};
use super::given::{GivenOutputs, Run};
use super::{Figure, Score, Tally, Task, count};
use crate::TrainError;
use crate::loss::LossWeights;
use crate::network::{Network, Runtime};
use crate::samples::{draw, draw_batches};

/// An output to follow, as a user names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// Name of the output.
    pub name: String,
    /// Weight of its error among those of all outputs.
    pub weight: f64,
    /// Its form; `None` for classes behind a softmax and values elsewhere.
    pub form: Option<OutputForm>,
}

/// An output with what its errors are measured in.
#[derive(Debug, Clone)]
struct Output {
    name: String,
    weight: f64,
    /// The axis of classes or channels.
    axis: usize,
    /// The standard deviation of each channel between samples of the data; `None` for classes.
    spread: Option<Vec<f32>>,
}

/// The network keeps to the outputs of the original on given inputs. The loss of an output is the
/// distillation of its distribution over classes, or the squared error over the squared spread of
/// its values. The score is the fidelity: the share of equal decisions, or one less the error over
/// the spread; weighted over outputs.
#[derive(Debug, Clone)]
pub struct Follow {
    outputs: Vec<Output>,
}

impl Follow {
    /// Settles what is followed of `original`, all outputs of floats if `outputs` is empty. The
    /// spread of values is that over `samples` of `data`.
    ///
    /// # Errors
    /// [`TrainError::Output`] for an output that does not exist, is not of floats, or is constant;
    /// [`TrainError::Data`]; errors of running the network.
    pub fn new(
        original: &Graph,
        outputs: &[Followed],
        data: &dyn Dataset,
        (samples, seed): (usize, u64),
        runtime: Runtime,
    ) -> Result<Self, TrainError> {
        let mut open = Unsettled::new(original, outputs)?;
        if open.reads_values() {
            let network = Network::with_heads(original, runtime.options, open.heads.clone())?;
            let params = Params::with_options(original, runtime.device, &runtime.options)?;
            let _guard = tch::no_grad_guard();
            for (batch, _) in draw_batches(data, original, samples, seed, runtime.device)? {
                let mode = NormMode::Running;
                let given = network.outputs(&batch, &params, None, mode, &[])?;
                open.add(&given.heads)?;
            }
        }
        open.settled()
    }

    /// As [`Follow::new`], where `run` computes the outputs of `original` in another runtime, for
    /// at most `batch` rows at a time.
    ///
    /// # Errors
    /// As [`Follow::new`], and those of `run`.
    pub fn elsewhere<E: From<TrainError>>(
        original: &Graph,
        outputs: &[Followed],
        data: &dyn Dataset,
        (samples, seed, batch): (usize, u64, usize),
        run: Run<'_, E>,
    ) -> Result<Self, E> {
        let mut open = Unsettled::new(original, outputs)?;
        if open.reads_values() {
            let given = GivenOutputs::new(original, &open.heads, NAME)?;
            let _guard = tch::no_grad_guard();
            for indices in draw(data.len(), samples, seed).chunks(batch.max(1)) {
                let (_, heads) = given.of_samples(data, indices, &mut *run)?;
                open.add(&heads)?;
            }
        }
        Ok(open.settled()?)
    }

    /// Names of the outputs that are followed as values.
    pub fn as_values(&self) -> impl Iterator<Item = &str> {
        let values = self.outputs.iter().filter(|output| output.spread.is_some());
        values.map(|output| output.name.as_str())
    }

    /// Names of the followed outputs, with their forms in words.
    #[must_use]
    pub fn words(&self) -> String {
        let words = self.outputs.iter().map(|output| {
            let form = match output.spread {
                Some(_) => "values",
                None => "classes",
            };
            let weight = match output.weight {
                1.0 => String::new(),
                weight => format!(", weight {weight}"),
            };
            format!("'{}' ({form}{weight})", output.name)
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn original<'t>(&self, heads: Option<&'t [Tensor]>) -> Result<&'t [Tensor], TrainError> {
        heads.ok_or(TrainError::NoOriginal { task: NAME })
    }
}

/// Outputs to follow before what their errors are measured in is known.
struct Unsettled {
    outputs: Vec<(Output, OutputForm)>,
    heads: Vec<ValueId>,
    moments: Vec<Moments>,
}

impl Unsettled {
    fn new(original: &Graph, named: &[Followed]) -> Result<Self, TrainError> {
        let chosen = chosen(original, named)?;
        let mut heads = Vec::new();
        let mut outputs = Vec::new();
        for (id, of) in &chosen {
            let softmax = distribution(original, *id);
            let usual = match softmax {
                Some(_) => OutputForm::Classes,
                None => OutputForm::Values,
            };
            let form = of.form.unwrap_or(usual);
            let (head, axis) = match (form, softmax) {
                (OutputForm::Classes, Some(of)) => (of.logits, Some(of.axis)),
                (OutputForm::Classes, None) => (choice_of(original, *id), None),
                (OutputForm::Values, Some(of)) => (*id, Some(of.axis_of_output)),
                (OutputForm::Values, None) => (*id, None),
            };
            heads.push(head);
            let output = Output {
                name: of.name.clone(),
                weight: of.weight,
                axis: match axis {
                    Some(axis) => axis_behind(axis, original.batch_axis(head)),
                    None => class_axis(original, head),
                },
                spread: None,
            };
            outputs.push((output, form));
        }
        Ok(Self {
            moments: chosen.iter().map(|_| Moments::default()).collect(),
            outputs,
            heads,
        })
    }

    /// Whether a spread is needed.
    fn reads_values(&self) -> bool {
        let mut forms = self.outputs.iter().map(|(_, form)| form);
        forms.any(|form| *form == OutputForm::Values)
    }

    /// Adds the heads of a batch.
    fn add(&mut self, heads: &[Tensor]) -> Result<(), TrainError> {
        let mut all = self.moments.iter_mut().zip(heads);
        all.try_for_each(|(moments, head)| moments.add(head))
    }

    fn settled(self) -> Result<Follow, TrainError> {
        let mut settled = Vec::new();
        for ((mut output, form), moments) in self.outputs.into_iter().zip(&self.moments) {
            if form == OutputForm::Values {
                output.spread = moments.spread(output.axis)?;
                if output.spread.is_none() {
                    // One constant among several outputs is nothing to follow.
                    continue;
                }
            }
            settled.push(output);
        }
        if settled.is_empty() {
            let reason = "no followed output differs between the given inputs".to_owned();
            return Err(fail(reason));
        }
        Ok(Follow { outputs: settled })
    }
}

/// An axis of a value once its batch, which is on axis `batch`, is in front.
fn axis_behind(axis: usize, batch: usize) -> usize {
    match axis < batch {
        true => axis + 1,
        false => axis,
    }
}

const NAME: &str = "follow";

fn fail(reason: String) -> TrainError {
    TrainError::Output { task: NAME, reason }
}

/// The outputs that are followed.
fn chosen(graph: &Graph, named: &[Followed]) -> Result<Vec<(ValueId, Followed)>, TrainError> {
    let floats = float_outputs(graph);
    let name = |id: &ValueId| graph.value(*id).name.clone();
    let names = || {
        let names = floats.iter().map(|id| format!("'{}'", name(id)));
        names.collect::<Vec<_>>().join(", ")
    };
    if named.is_empty() {
        let all = floats.iter().map(|id| {
            let followed = Followed {
                name: name(id),
                weight: 1.0,
                form: None,
            };
            (*id, followed)
        });
        let all: Vec<_> = all.collect();
        return match all.is_empty() {
            true => Err(fail("the network has no output of floats".into())),
            false => Ok(all),
        };
    }
    let mut out = Vec::new();
    for of in named.iter().filter(|of| of.weight > 0.0) {
        let id = floats.iter().find(|id| name(id) == of.name);
        let id = id.ok_or_else(|| {
            let names = names();
            fail(format!(
                "the network has no output of floats '{}'; it has {names}",
                of.name
            ))
        })?;
        out.push((*id, of.clone()));
    }
    match out.is_empty() {
        true => Err(fail("every output has the weight 0".into())),
        false => Ok(out),
    }
}

impl Task for Follow {
    fn name(&self) -> &'static str {
        NAME
    }

    fn score_name(&self) -> &'static str {
        "fidelity"
    }

    fn heads(&self, graph: &Graph) -> Result<Vec<ValueId>, TrainError> {
        let of = |output: &Output| {
            let named = |id: &&ValueId| graph.value(**id).name == output.name;
            let id = graph.outputs().iter().find(named).copied();
            let id = id.ok_or_else(|| fail(format!("the network has no output '{}'", output.name)));
            Ok(match output.spread {
                None => choice_of(graph, id?),
                Some(_) => id?,
            })
        };
        self.outputs.iter().map(of).collect()
    }

    fn check(&self, _: &Graph, _: &dyn Dataset) -> Result<(), TrainError> {
        Ok(())
    }

    fn follows_original(&self) -> bool {
        true
    }

    fn loss(
        &self,
        heads: &[Tensor],
        _: &Tensor,
        teacher: Option<&[Tensor]>,
        weights: LossWeights,
    ) -> Result<Tensor, TrainError> {
        let teacher = self.original(teacher)?;
        let mut sum: Option<Tensor> = None;
        let mut all = 0.0;
        for ((output, own), target) in self.outputs.iter().zip(heads).zip(teacher) {
            let target = target.f_detach()?;
            let loss = match &output.spread {
                Some(spread) => apart((own, &target), output.axis, spread)?
                    .f_square()?
                    .f_mean(Kind::Float)?,
                None => {
                    let own = choices(own, output.axis)?;
                    let target = choices(&target, output.axis)?;
                    distillation(&own, &target, weights.distil.temperature)?
                }
            };
            let loss = loss.f_mul_scalar(output.weight)?;
            sum = Some(match sum {
                Some(sum) => sum.f_add(&loss)?,
                None => loss,
            });
            all += output.weight;
        }
        let sum = sum.ok_or_else(|| fail("no output was computed".into()))?;
        Ok(sum.f_div_scalar(all)?)
    }

    fn rows(&self, heads: &[Tensor]) -> Result<Tensor, TrainError> {
        let mut parts = Vec::new();
        for (output, head) in self.outputs.iter().zip(heads) {
            let rows = count(head) as i64;
            let by_position = by_position(head, output.axis)?;
            let scaled = match &output.spread {
                Some(spread) => {
                    let spread = Tensor::f_from_slice(spread)?.f_to_device(head.device())?;
                    by_position.f_div(&spread)?
                }
                None => by_position,
            };
            let rows = scaled.f_reshape([rows, -1])?;
            // An output counts by its weight, not by how many numbers it has.
            let share = (output.weight / rows.size()[1].max(1) as f64).sqrt();
            parts.push(rows.f_mul_scalar(share)?);
        }
        Ok(Tensor::f_cat(&parts, 1)?)
    }

    fn tally(&self) -> Box<dyn Tally> {
        Box::new(Distances {
            sums: vec![Sum::default(); self.outputs.len()],
            of: self.clone(),
            total: 0,
        })
    }
}

/// Sums of an output over positions.
#[derive(Debug, Clone, Default)]
struct Sum {
    /// Squared errors over squared spreads, or divergences.
    error: f64,
    /// Equal decisions.
    equal: f64,
    /// Values or decisions.
    count: f64,
}

struct Distances {
    of: Follow,
    sums: Vec<Sum>,
    total: usize,
}

impl Tally for Distances {
    fn add(
        &mut self,
        heads: &[Tensor],
        _: &Tensor,
        original: Option<&[Tensor]>,
    ) -> Result<(), TrainError> {
        let original = self.of.original(original)?;
        let all = self.of.outputs.iter().zip(&mut self.sums);
        for (((output, sum), own), target) in all.zip(heads).zip(original) {
            match &output.spread {
                Some(spread) => {
                    let squares = apart((own, target), output.axis, spread)?.f_square()?;
                    sum.error += squares.f_sum(Kind::Double)?.f_double_value(&[])?;
                    sum.count += squares.numel() as f64;
                }
                None => {
                    let own = choices(own, output.axis)?;
                    let target = choices(target, output.axis)?;
                    let same = own.f_argmax(-1, false)?;
                    let same = same.f_eq_tensor(&target.f_argmax(-1, false)?)?;
                    sum.equal += same.f_sum(Kind::Int64)?.f_int64_value(&[])? as f64;
                    let (own, target) = (
                        own.f_log_softmax(-1, Kind::Float)?,
                        target.f_log_softmax(-1, Kind::Float)?,
                    );
                    let apart = own.f_kl_div(&target, Reduction::Sum, true)?;
                    sum.error += apart.f_double_value(&[])?;
                    sum.count += own.size()[0] as f64;
                }
            }
        }
        self.total += heads.first().map_or(0, count);
        Ok(())
    }

    fn sums(&self) -> Vec<f64> {
        let each = self
            .sums
            .iter()
            .flat_map(|of| [of.error, of.equal, of.count]);
        std::iter::once(self.total as f64).chain(each).collect()
    }

    fn take(&mut self, sums: &[f64]) {
        let Some((total, each)) = sums.split_first() else {
            return;
        };
        self.total = *total as usize;
        for (sum, of) in self.sums.iter_mut().zip(each.as_chunks().0) {
            let [error, equal, count] = *of;
            *sum = Sum {
                error,
                equal,
                count,
            };
        }
    }

    fn score(&self) -> Score {
        let (mut value, mut error, mut all) = (0.0, 0.0, 0.0);
        let mut figures = Vec::new();
        for (output, sum) in self.of.outputs.iter().zip(&self.sums) {
            let count = sum.count.max(1.0);
            let (kept, apart) = match output.spread {
                Some(_) => {
                    let error = (sum.error / count).sqrt();
                    ((1.0 - error).max(0.0), error)
                }
                None => (sum.equal / count, (sum.error / count).max(0.0)),
            };
            value += output.weight * kept;
            error += output.weight * apart;
            all += output.weight;
            figures.push(Figure {
                name: output.name.clone(),
                value: kept,
            });
        }
        let all = if all > 0.0 { all } else { 1.0 };
        Score {
            value: value / all,
            total: self.total,
            loss: error / all,
            divergence: Some(error / all),
            figures,
        }
    }
}
