//! Structured optimal brain surgeon: which inputs the layers behind a group can do without.

use std::collections::BTreeMap;

use channels::{Analysis, Importance, Magnitude, Scores};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, ValueId};
use tch::{Kind, TchError, Tensor};
use torch_exec::{ExecError, ExecOptions, Params, Program, WeightSource};

use crate::TrainError;
use crate::importance::Batches;
use crate::memory::{MOST_FEATURES, images_in_memory};
use crate::repair::{Fitted, Positions, find_layers, mean_products};

/// Structured OBS importance, as in ZipLM (Kurtic et al., NeurIPS 2023) and OBC (Frantar and
/// Alistarh, NeurIPS 2022). The first unit to drop is the one whose absence adds the least squared
/// error to the sums of the layers that read it, once their other weights are refitted. The next
/// one is judged with the weights after that refit.
///
/// A unit's score is the error that its removal adds at its turn, as a share of the sums' energy,
/// added up over the layers that read it. It looks no further than these layers, so scores order a
/// group's units better than they compare groups. [`Magnitude`] orders a group that no layer reads
/// through weights alone, such as the queries and keys of an attention.
pub struct StructuredObs<'a> {
    /// Images; labels are not used.
    pub batches: &'a Batches,
    /// The most positions of a layer's output, drawn from all images.
    pub rows: usize,
    /// Added to the diagonal of the inputs' products, as a share of its mean.
    pub ridge: f64,
    /// Seed of the draw.
    pub seed: u64,
}

impl<'a> StructuredObs<'a> {
    /// A criterion over the sums at 20,000 positions, with a small ridge.
    #[must_use]
    pub fn new(batches: &'a Batches, seed: u64) -> Self {
        Self {
            batches,
            rows: 20_000,
            ridge: 1e-3,
            seed,
        }
    }

    /// The layers that read each group through weights alone.
    pub(crate) fn readers(
        &self,
        graph: &Graph,
        analysis: &Analysis,
    ) -> Result<Vec<Vec<Reader>>, TrainError> {
        let images: Vec<&Tensor> = self.batches.iter().map(|(images, _)| images).collect();
        let images = Tensor::f_cat(&images, 0)?;
        let count = images.size()[0].min(images_in_memory(graph) as i64);
        let images = images.f_narrow(0, 0, count)?;
        let positions = Positions::new(images.size()[0] as usize, self.rows, self.seed);
        let params = Params::from_graph(graph, images.device())?;
        let front = torch_exec::front(graph);
        let layers = find_layers(&front);
        let mut of_value: BTreeMap<ValueId, Vec<&Fitted>> = BTreeMap::new();
        for layer in &layers {
            let follows = analysis.value_channels(layer.input).is_some();
            if follows && layer.sums_channels(analysis) && is_dense(graph, layer) {
                of_value.entry(layer.input).or_default().push(layer);
            }
        }
        let taps: Vec<ValueId> = of_value.keys().copied().collect();
        let mut readers: Vec<Vec<Reader>> = analysis.groups().iter().map(|_| Vec::new()).collect();
        let program = Program::with_options(&front, ExecOptions::default())?;
        program.watch(&images, &params, None, &taps, &mut |id, value| {
            for layer in &of_value[&id] {
                let reader = Reader::new((graph, analysis), layer, (&positions, value), &params)
                    .and_then(|reader| match reader {
                        Some(reader) => reader.with_ridge(self.ridge),
                        None => Ok(None),
                    });
                let failed = format!("the inputs of '{}'", layer.name);
                if let Some(reader) = reader.map_err(ExecError::tensor(failed))? {
                    for group in reader.groups() {
                        readers[group].push(reader.of_group(group));
                    }
                }
            }
            Ok(())
        })?;
        Ok(readers)
    }
}

impl Importance for StructuredObs<'_> {
    type Error = TrainError;

    fn scores(&self, graph: &Graph, analysis: &Analysis) -> Result<Scores, TrainError> {
        let readers = self.readers(graph, analysis)?;
        let Ok(magnitude) = Magnitude.scores(graph, analysis);
        let groups = magnitude.groups.into_iter().zip(readers);
        let groups = groups.map(|(magnitude, readers)| {
            let scores = tch::no_grad(|| greedy(magnitude.len(), readers));
            scores.unwrap_or(magnitude)
        });
        Ok(Scores {
            groups: groups.collect(),
        })
    }
}

/// Whether every output of a layer reads every input.
fn is_dense(graph: &Graph, layer: &Fitted) -> bool {
    match &graph.node(layer.node).op {
        Op::Conv(conv) => conv.group == 1,
        Op::ConvTranspose(conv) => conv.group == 1,
        _ => true,
    }
}

/// A layer that reads units of a group.
pub(crate) struct Reader {
    /// Features of each unit, by group and unit.
    features: BTreeMap<(usize, usize), Vec<i64>>,
    /// `[features, outputs]`.
    weight: Tensor,
    /// Products of the inputs, then their inverse, `[features, features]`.
    inverse: Tensor,
    /// The sums' mean square.
    energy: f64,
}

impl Reader {
    /// `None` if there are too few rows for the number of features, or too many of these.
    fn new(
        (graph, analysis): (&Graph, &Analysis),
        layer: &Fitted,
        (positions, value): (&Positions, &Tensor),
        params: &Params,
    ) -> Result<Option<Self>, TchError> {
        let op = &graph.node(layer.node).op;
        let own = |id| {
            let weight = params.weight(id, None);
            weight.map_err(|error| TchError::Torch(error.to_string()))
        };
        let weight = layer.constants(op, &own)?.weight.f_squeeze_dim(0)?;
        let weight = weight.f_detach()?.f_to_kind(Kind::Double)?;
        let Some(inputs) = positions.inputs(op, value, layer.output, graph)? else {
            return Ok(None);
        };
        let inputs = inputs.f_squeeze_dim(1)?;
        let (rows, count) = inputs.size2()?;
        if rows <= count || count > MOST_FEATURES {
            return Ok(None);
        }
        let centred = inputs.f_sub(&inputs.f_mean_dim(0i64, true, Kind::Float)?)?;
        let products = mean_products(&centred.f_unsqueeze(0)?)?.f_squeeze_dim(0)?;
        let energy = weight
            .f_mul(&products.f_mm(&weight)?)?
            .f_sum(Kind::Double)?;
        let energy = energy.f_double_value(&[])?;
        let Some((_, owners)) = analysis.value_channels(layer.input) else {
            return Ok(None);
        };
        let taps = count / (owners.len() as i64).max(1);
        let mut features: BTreeMap<(usize, usize), Vec<i64>> = BTreeMap::new();
        for (channel, owner) in (0i64..).zip(&owners) {
            if let Some(of) = owner {
                let unit = features.entry((of.group.0, of.unit)).or_default();
                unit.extend(channel * taps..(channel + 1) * taps);
            }
        }
        let is_usable = taps > 0 && energy.is_finite() && energy > 0.0;
        Ok(is_usable.then_some(Self {
            features,
            weight,
            inverse: products,
            energy,
        }))
    }

    /// Inverts the products, with a ridge. `None` if their rounding errors do not let it.
    fn with_ridge(mut self, ridge: f64) -> Result<Option<Self>, TchError> {
        let count = self.inverse.size()[0];
        let mean = self.inverse.f_diagonal(0, 0, 1)?.f_mean(Kind::Double)?;
        let ridge = (mean.f_double_value(&[])? * ridge).max(f64::MIN_POSITIVE.sqrt());
        let unit = Tensor::f_eye(count, (Kind::Double, self.inverse.device()))?;
        let products = self.inverse.f_add(&unit.f_mul_scalar(ridge)?)?;
        let Ok(factor) = products.f_linalg_cholesky(false) else {
            return Ok(None);
        };
        self.inverse = unit.f_cholesky_solve(&factor, false)?;
        Ok(Some(self))
    }

    fn groups(&self) -> Vec<usize> {
        let mut groups: Vec<usize> = self.features.keys().map(|(group, _)| *group).collect();
        groups.dedup();
        groups
    }

    /// A copy that lists only the units of `group`.
    fn of_group(&self, group: usize) -> Self {
        let features = self.features.iter().filter(|((of, _), _)| *of == group);
        Self {
            features: features.map(|(key, of)| (*key, of.clone())).collect(),
            weight: self.weight.copy(),
            inverse: self.inverse.copy(),
            energy: self.energy,
        }
    }

    fn features_of(&self, unit: usize) -> Option<&Vec<i64>> {
        let ((group, _), _) = self.features.first_key_value()?;
        self.features.get(&(*group, unit))
    }

    /// Adds the relative error of dropping each of `units` to `errors`.
    fn add_errors(&self, units: &[usize], errors: &mut [f64]) -> Result<(), TchError> {
        // Units with equally many features are solved at once.
        let mut by_size: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &unit in units {
            if let Some(features) = self.features_of(unit) {
                by_size.entry(features.len()).or_default().push(unit);
            }
        }
        for (size, units) in by_size {
            let of = units.iter().filter_map(|&unit| self.features_of(unit));
            let all: Vec<i64> = of.flatten().copied().collect();
            let all = Tensor::f_from_slice(&all)?.f_to_device(self.weight.device())?;
            let (count, size) = (units.len() as i64, size as i64);
            let weights = self.weight.f_index_select(0, &all)?;
            let weights = weights.f_reshape([count, size, -1])?;
            // The diagonal blocks of the inverse.
            let rows = all
                .f_reshape([count, size, 1])?
                .f_expand([count, size, size], false)?;
            let columns = all
                .f_reshape([count, 1, size])?
                .f_expand([count, size, size], false)?;
            let blocks = self.inverse.f_index(&[Some(rows), Some(columns)])?;
            let solved = weights.f_cholesky_solve(&blocks.f_linalg_cholesky(false)?, false)?;
            let error = weights.f_mul(&solved)?;
            let error = error.f_sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double)?;
            let error: Vec<f64> = Vec::try_from(&error)?;
            for (unit, error) in units.into_iter().zip(error) {
                errors[unit] += error / self.energy;
            }
        }
        Ok(())
    }

    /// Returns the relative error of dropping all of `units` at once.
    pub(crate) fn error_of(&self, units: &[usize]) -> Result<f64, TchError> {
        let of = units.iter().filter_map(|&unit| self.features_of(unit));
        let all: Vec<i64> = of.flatten().copied().collect();
        if all.is_empty() {
            return Ok(0.0);
        }
        let all = Tensor::f_from_slice(&all)?.f_to_device(self.weight.device())?;
        let weight = self.weight.f_index_select(0, &all)?;
        let block = self.inverse.f_index_select(0, &all)?;
        let block = block.f_index_select(1, &all)?;
        let solved = weight.f_cholesky_solve(&block.f_linalg_cholesky(false)?, false)?;
        let error = weight.f_mul(&solved)?.f_sum(Kind::Double)?;
        Ok(error.f_double_value(&[])? / self.energy)
    }

    /// Drops a unit and refits the weights of the others.
    fn drop_unit(&mut self, unit: usize) -> Result<(), TchError> {
        let Some(features) = self.features_of(unit) else {
            return Ok(());
        };
        let features = Tensor::f_from_slice(features)?.f_to_device(self.weight.device())?;
        let columns = self.inverse.f_index_select(1, &features)?;
        let block = columns.f_index_select(0, &features)?;
        let factor = block.f_linalg_cholesky(false)?;
        let weights = self.weight.f_index_select(0, &features)?;
        let step = columns.f_mm(&weights.f_cholesky_solve(&factor, false)?)?;
        self.weight = self.weight.f_sub(&step)?;
        let rows = columns.f_transpose(0, 1)?;
        let step = rows.f_cholesky_solve(&factor, false)?.f_neg()?;
        // In place: the inverse is the largest tensor here.
        let _ = self.inverse.f_addmm_(&columns, &step)?;
        Ok(())
    }
}

/// Drops the units of a group one after the other, the least harmful first, and returns the error
/// that each added. Scores do not fall from one to the next. `None` where no layer can tell: none
/// reads the group through weights alone, or rounding errors have added up.
fn greedy(units: usize, mut readers: Vec<Reader>) -> Option<Vec<f64>> {
    let mut scores = vec![0.0; units];
    let mut left: Vec<usize> = (0..units).collect();
    let mut highest = 0.0f64;
    while !left.is_empty() {
        if readers.is_empty() {
            return None;
        }
        let mut errors = vec![0.0; units];
        for reader in &readers {
            reader.add_errors(&left, &mut errors).ok()?;
        }
        let least = left
            .iter()
            .min_by(|&&a, &&b| errors[a].total_cmp(&errors[b]));
        let unit = *least?;
        highest = highest.max(errors[unit]);
        scores[unit] = highest;
        left.retain(|&other| other != unit);
        if !left.is_empty() {
            for reader in &mut readers {
                reader.drop_unit(unit).ok()?;
            }
        }
    }
    scores
        .iter()
        .all(|score| score.is_finite())
        .then_some(scores)
}
