//! Networks with an operator that libtorch does not run. They are cut as others are, repaired as
//! far as they run here, and scored by what ONNX Runtime computes of them on the device. They are
//! trained where all that they are compared by comes before that operator.

use std::sync::Arc;

use channels::Analysis;
use datasets::Dataset;
use latency::Model;
use measuring::Session;
use onnx_graph::ops::Op;
use onnx_graph::{DType, Dim, Graph, ValueId};
use torch_exec::{Stop, first_stop, front};
use train::{
    Follow, Followed, Given, GivenSamples, GivenScorer, Runtime, Task, all_outputs,
    images_of_a_backward_pass,
};

use crate::error::PipelineError;
use crate::model::LoadedModel;
use crate::on_device::{Placed, all_outputs_on_device};

/// The most samples that the device runs at once.
const AT_ONCE: usize = 64;

/// The most numbers that go to the device or come back at once.
const NUMBERS: usize = 1 << 23;

/// A network that libtorch does not run whole.
#[derive(Debug, Clone)]
pub(crate) struct Partial {
    /// The first operator that does not run.
    pub stop: Stop,
    /// Whether the part before it runs on any batch, so that its weights can be repaired.
    pub is_repaired: bool,
    /// Whether that part computes all that is compared.
    is_compared: bool,
    name: String,
    inputs: Vec<Placed>,
    /// What networks are compared by: values that all of them compute.
    compared: Vec<Placed>,
    /// Samples of a batch, where the network cannot take another number.
    batch: Option<usize>,
    /// The most samples that are run at once.
    at_once: usize,
}

impl Partial {
    /// `None` for a network that libtorch runs.
    ///
    /// # Errors
    /// [`PipelineError::UnfitModel`] if nothing that it computes can be compared.
    pub fn of(model: &LoadedModel) -> Result<Option<Self>, PipelineError> {
        let graph = &model.graph;
        let Some(stop) = first_stop(graph) else {
            return Ok(None);
        };
        let before = front(graph);
        let chosen = chosen_by_data(graph);
        let keeps_rows = |id: &&ValueId| !chosen[id.index()];
        let mut compared = comparable(graph, graph.outputs().iter().filter(keeps_rows));
        if compared.is_empty() {
            let is_one = |id: ValueId| {
                let keeps = !chosen[id.index()] && is_pinned(&model.analysis, id);
                keeps && !comparable(graph, [id].iter()).is_empty()
            };
            compared = comparable(graph, last_values(graph, is_one).iter());
        }
        if compared.is_empty() {
            compared = comparable(graph, graph.outputs().iter());
        }
        if compared.is_empty() {
            let reason = format!(
                "libtorch does not run {stop}, and neither an output nor a value before one has a row of floats of known \
                 size for each sample, by which pruned networks could be compared"
            );
            let model = model.name.clone();
            return Err(PipelineError::UnfitModel { model, reason });
        }
        let inputs = graph.inputs().iter();
        let inputs: Vec<Placed> = inputs.filter_map(|&id| Placed::of(graph, id)).collect();
        let numbers = numbers(&inputs).max(numbers(&compared));
        let batch = graph.batch().and_then(Dim::known);
        let names = before.outputs().iter();
        let names: Vec<&str> = names.map(|&id| graph.value(id).name.as_str()).collect();
        let mut all = compared.iter();
        Ok(Some(Self {
            is_compared: all.all(|of| names.contains(&of.spec.name.as_str())),
            is_repaired: batch.is_none() && !before.outputs().is_empty(),
            at_once: (2 * images_of_a_backward_pass(graph))
                .min(NUMBERS / numbers.max(1))
                .clamp(1, AT_ONCE),
            stop,
            name: model.name.clone(),
            inputs,
            compared,
            batch,
        }))
    }

    /// Finds out whether the part before the operator runs on several samples at once, where the
    /// file fixes their number: it does if they give the same together and one by one.
    pub fn try_batch(&mut self, graph: &Graph, train: &dyn Dataset, runtime: Runtime) {
        if self.batch.is_some() {
            self.is_repaired = batches(&front(graph), train, runtime);
        }
    }

    /// Whether networks are trained: to keep the values that are compared, where libtorch computes
    /// them.
    pub fn is_trained(&self) -> bool {
        self.is_repaired && self.is_compared
    }

    /// What a run does with the network, in a line.
    pub fn words(&self) -> String {
        let repaired = match self.is_repaired {
            true => "their weights are repaired up to there",
            false => "their weights are not repaired",
        };
        let names: Vec<String> = self
            .compared
            .iter()
            .map(|of| format!("'{}'", of.spec.name))
            .collect();
        let trained = match self.is_trained() {
            true => "and they are trained to keep these values",
            false => "and they are not trained, unless by --train-with",
        };
        format!(
            "libtorch does not run {}: candidates are scored by what ONNX Runtime computes on the device ({}), {repaired}, \
             {trained}",
            self.stop,
            names.join(", ")
        )
    }

    /// The network with the values that are compared as its outputs. Ids are those of `graph`.
    pub fn front(&self, graph: &Graph) -> Result<Graph, PipelineError> {
        let id = |Placed { spec, .. }: &Placed| {
            graph
                .find_value(&spec.name)
                .ok_or_else(|| PipelineError::UnfitModel {
                    model: self.name.clone(),
                    reason: format!("a pruned form of it has no value '{}'", spec.name),
                })
        };
        let ids = self.compared.iter().map(id);
        Ok(graph.clone().with_outputs(ids.collect::<Result<_, _>>()?))
    }

    /// The same without what these values do not depend on, and without texts computed of them.
    pub fn view(&self, graph: &Graph) -> Result<Graph, PipelineError> {
        let mut view = self.front(graph)?.with_numbers_only();
        view.remove_dead();
        Ok(view)
    }

    /// The file that the device runs to compare a network.
    pub fn file(&self, graph: &Graph) -> Result<Vec<u8>, PipelineError> {
        let deployed = onnx_graph::deploy(&self.view(graph)?, None);
        Ok(deployed.map_err(|source| self.failed(source))?.bytes)
    }

    /// The same with the nodes as they are.
    pub fn file_as_it_is(&self, graph: &Graph) -> Result<Vec<u8>, PipelineError> {
        let view = self.view(graph)?;
        onnx_graph::write(&view).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: onnx_graph::GraphError) -> PipelineError {
        PipelineError::Model {
            model: self.name.clone(),
            source,
        }
    }

    /// What the device computes with a file for rows that hold the inputs of a sample each.
    pub fn outputs<'s>(
        &'s self,
        session: &'s mut Session,
        file: Vec<u8>,
    ) -> impl FnMut(&[f32]) -> Result<Vec<Vec<f32>>, PipelineError> + 's {
        let model = Model::new(&self.name[..], file);
        let size = numbers(&self.inputs);
        move |rows| {
            let batch = self.batch.unwrap_or(rows.len() / size.max(1));
            all_outputs_on_device(session, &model, (&self.inputs, batch), rows, &self.compared)
        }
    }

    /// The task of a run without labels.
    pub fn follow(
        &self,
        session: &mut Session,
        (original, named): (&Graph, &[Followed]),
        train: &dyn Dataset,
        (samples, seed): (usize, u64),
    ) -> Result<Follow, PipelineError> {
        let file = self.file(original)?;
        let view = self.view(original)?;
        let samples = (samples, seed, self.at_once);
        Follow::elsewhere(
            &view,
            named,
            train,
            samples,
            &mut self.outputs(session, file),
        )
    }

    /// A scorer of networks beside `original` on `count` samples of `data`.
    pub fn scorer(
        &self,
        session: &mut Session,
        original: &Graph,
        task: &Arc<dyn Task>,
        (data, count, seed): (&Arc<dyn Dataset>, usize, u64),
    ) -> Result<GivenScorer, PipelineError> {
        let samples = GivenSamples {
            data: Arc::clone(data),
            count,
            seed,
            batch: self.at_once,
        };
        let (view, file) = (self.view(original)?, self.file(original)?);
        let run = &mut self.outputs(session, file);
        GivenScorer::new(&view, Arc::clone(task), &samples, run)
    }

    /// Scores a network on the device.
    pub fn score(
        &self,
        session: &mut Session,
        scorer: &GivenScorer,
        graph: &Graph,
    ) -> Result<Given, PipelineError> {
        let file = self.file(graph)?;
        scorer.score(&mut self.outputs(session, file))
    }
}

/// Samples that are run together and one by one.
const TRIED: usize = 3;

/// Whether a network gives the same for samples together as for each alone.
fn batches(graph: &Graph, data: &dyn Dataset, runtime: Runtime) -> bool {
    let outputs = |indices: &[usize]| Some(all_outputs(graph, data, indices, runtime).ok()?.1);
    let indices: Vec<usize> = (0..data.len().min(TRIED)).collect();
    let alone: Option<Vec<_>> = indices.iter().map(|&index| outputs(&[index])).collect();
    let Some((together, alone)) = outputs(&indices).zip(alone) else {
        return false;
    };
    let is_same = |(output, together): (usize, &Vec<f32>)| {
        let alone = alone.iter().filter_map(|of| of.get(output)).flatten();
        let alone: Vec<f32> = alone.copied().collect();
        let largest = together
            .iter()
            .fold(0f32, |most, value| most.max(value.abs()));
        let mut pairs = alone.iter().zip(together);
        alone.len() == together.len() && pairs.all(|(a, b)| (a - b).abs() <= 1e-4 * largest)
    };
    indices.len() > 1 && !together.is_empty() && together.iter().enumerate().all(is_same)
}

/// The values of floats with a row of known size for each sample.
fn comparable<'g>(graph: &Graph, ids: impl Iterator<Item = &'g ValueId>) -> Vec<Placed> {
    let producers = graph.producers();
    let rows = |id: &&ValueId| {
        let value = graph.value(**id);
        let shape = value.shape.as_ref();
        let counted = shape.and_then(|shape| shape.get(graph.batch_axis(**id)));
        let leads = counted.is_some() && counted == graph.batch();
        let is_float = value.dtype.is_none_or(|dtype| dtype == DType::F32);
        leads && is_float && producers[id.index()].is_some()
    };
    ids.filter(rows)
        .filter_map(|&id| Placed::of(graph, id))
        .collect()
}

/// The last values on the way to the outputs that meet a condition.
fn last_values(graph: &Graph, meets: impl Fn(ValueId) -> bool) -> Vec<ValueId> {
    let producers = graph.producers();
    let mut seen = vec![false; graph.values().len()];
    let mut open: Vec<ValueId> = graph.outputs().iter().rev().copied().collect();
    let mut found = Vec::new();
    while let Some(id) = open.pop() {
        if std::mem::replace(&mut seen[id.index()], true) {
            continue;
        }
        let Some(producer) = producers[id.index()] else {
            continue;
        };
        match meets(id) {
            true => found.push(id),
            false => open.extend(graph.node(producer).inputs.iter().rev().flatten()),
        }
    }
    found
}

/// Whether the data decides which rows each value has and in which order, as behind a suppression
/// of boxes: rows of two networks then do not belong together.
fn chosen_by_data(graph: &Graph) -> Vec<bool> {
    let mut chosen = vec![false; graph.values().len()];
    for node in graph.nodes() {
        let is_choice = match &node.op {
            Op::Opaque(op) => CHOICES.contains(&op.op_type.as_str()),
            _ => false,
        };
        let mut read = node.inputs.iter().flatten();
        if is_choice || read.any(|input| chosen[input.index()]) {
            for output in node.outputs.iter().flatten() {
                chosen[output.index()] = true;
            }
        }
    }
    chosen
}

/// The numbers of these values for one sample.
fn numbers(values: &[Placed]) -> usize {
    values.iter().map(|of| of.spec.size()).sum()
}

/// Operators whose result the order or the number of values decides.
const CHOICES: [&str; 5] = ["Compress", "NonMaxSuppression", "NonZero", "TopK", "Unique"];

/// Whether every pruned network has all channels of a value.
fn is_pinned(analysis: &Analysis, id: ValueId) -> bool {
    let owners = analysis.value_channels(id);
    owners.is_none_or(|(_, owners)| owners.iter().all(Option::is_none))
}
