//! Successive refinement with retraining between its rounds (SuRP; Isik, Weissman and No, AISTATS
//! 2022): each round leaves fewer weights, and a training lets these make up for the others.

use onnx_graph::{Graph, GraphError, Tensor, deploy, fold_batch_norm};
use train::{FinetuneConfig, SgdConfig};

use super::encode::Subject;
use super::open::{Classifier, read_again};
use super::request::{PackForm, PackMethod, PackRequest};
use super::rounding::Rounding;
use super::weights::Weights;
use crate::error::PipelineError;
use crate::progress::{Reporter, StopFlag};
use crate::tuning::{Networks, Tuning};

/// The share of the weights that a round leaves at least.
const KEPT: f64 = 0.8;

/// Peak learning rate of a retraining.
const LR: f64 = 0.01;

/// The least density that rounds lead to.
const LEAST: f64 = 0.01;

/// The trainings between the rounds of a refinement.
pub(super) struct Retraining<'a> {
    pub request: &'a PackRequest,
    pub name: &'a str,
    pub classifier: &'a Classifier,
    pub stop: &'a StopFlag,
}

impl Retraining<'_> {
    /// The network, with its normalisations folded, after all rounds but the last, which is the
    /// packing itself.
    pub fn run(&self, reporter: &mut dyn Reporter) -> Result<Graph, PipelineError> {
        let folded = fold_batch_norm(&self.classifier.graph);
        let mut graph = folded.map_err(|source| self.failed(source))?;
        let densities = densities(self.last_density(&graph)?);
        let before_the_last = &densities[..densities.len() - 1];
        for (round, &density) in (1..).zip(before_the_last) {
            let sparse = self.sparse(&graph, density)?;
            let stage = format!("retraining, round {round} of {}", before_the_last.len());
            let training = self.tuning(round);
            let networks = Networks {
                student: &sparse,
                floats: None,
                teacher: &self.classifier.graph,
            };
            graph = training.run(&stage, networks, reporter)?;
        }
        Ok(graph)
    }

    /// Deletes the checkpoints of the trainings.
    pub fn forget(&self) -> Result<(), PipelineError> {
        // Further rounds have none.
        let most = densities(0.0).len();
        (1..most).try_for_each(|round| self.tuning(round).forget())
    }

    fn tuning(&self, round: usize) -> Tuning<'_> {
        let Classifier {
            splits, augment, ..
        } = self.classifier;
        let settings = FinetuneConfig {
            epochs: self.request.retrain_epochs,
            features: 0.0,
            keep_zeros: true,
            sgd: SgdConfig {
                lr: LR,
                ..SgdConfig::default()
            },
            ..FinetuneConfig::default()
        };
        let seed = self.request.seed.wrapping_add(round as u64);
        let mut out = self.request.out.clone().into_os_string();
        out.push(format!(".{round}"));
        Tuning::new(
            (splits, augment.clone()),
            (settings, seed),
            out.as_ref(),
            self.stop,
        )
    }

    /// The density of the packed network.
    fn last_density(&self, graph: &Graph) -> Result<f64, PipelineError> {
        if let PackForm::RefinedDensity(density) = self.request.form {
            return Ok(density);
        }
        let refined = self.refined(graph, self.request.form)?;
        let values = refined.iter().flat_map(|(_, values)| values);
        let nonzero = values.clone().filter(|value| **value != 0.0).count();
        Ok(nonzero as f64 / values.count().max(1) as f64)
    }

    /// The network without the weights that refinement to a density leaves at 0.
    fn sparse(&self, graph: &Graph, density: f64) -> Result<Graph, PipelineError> {
        let mut sparse = graph.clone();
        for (name, values) in self.refined(graph, PackForm::RefinedDensity(density))? {
            let id = graph.find_value(&name);
            let old = id.and_then(|id| Some((id, graph.constant(id)?)));
            let Some((id, old)) = old else { continue };
            let weights = old.as_f32().unwrap_or_default().iter().zip(&values);
            let kept = weights.map(|(&weight, &value)| if value == 0.0 { 0.0 } else { weight });
            let new = Tensor::f32(old.dims().to_vec(), kept.collect());
            let set = new.and_then(|new| sparse.set_constant(id, new));
            set.map_err(|source| self.failed(source))?;
        }
        Ok(sparse)
    }

    /// The refined weights by name, as they come out of a stream.
    fn refined(
        &self,
        graph: &Graph,
        form: PackForm,
    ) -> Result<Vec<(String, Vec<f32>)>, PipelineError> {
        let deployed = deploy(graph, None).map_err(|source| self.failed(source))?;
        let weights = Weights::of(&deployed);
        let nearest: Vec<Rounding> = weights.layers.iter().map(|_| Rounding::nearest()).collect();
        let subject = Subject {
            file: &deployed.bytes,
            weights: &weights,
            quantizers: &nearest,
            seed: self.request.seed,
        };
        let encoded = subject.encode(form);
        let encoded = encoded.map_err(|source| PipelineError::codec(self.name, source))?;
        let sizes = &self.request.model.input_sizes;
        let made = read_again(encoded.file, sizes).map_err(|source| self.failed(source))?;
        let is_refined = |name: &str| {
            let mut of = encoded.tensors.iter();
            of.any(|tensor| tensor.name == name && tensor.method == PackMethod::Refined)
        };
        let constants = made.constants().iter();
        let named = constants.map(|(&id, tensor)| (made.value(id).name.clone(), tensor));
        let refined = named.filter(|(name, _)| is_refined(name));
        let values = |tensor: &Tensor| tensor.as_f32().unwrap_or_default().to_vec();
        Ok(refined.map(|(name, of)| (name, values(of))).collect())
    }

    fn failed(&self, source: GraphError) -> PipelineError {
        PipelineError::Model {
            model: self.name.to_owned(),
            source,
        }
    }
}

/// The densities after each round, which fall by the same factor.
fn densities(last: f64) -> Vec<f64> {
    let last = last.clamp(LEAST, 1.0);
    let rounds = (last.ln() / KEPT.ln()).ceil().max(1.0);
    (1..=rounds as usize)
        .map(|round| last.powf(round as f64 / rounds))
        .collect()
}

/// Puts the weights of a trained network into the network of the file; `layers` are the names of
/// those that must be in both.
pub(super) fn with_weights<'n>(
    graph: &Graph,
    trained: &Graph,
    layers: impl IntoIterator<Item = &'n str>,
) -> Result<Graph, GraphError> {
    for name in layers {
        if trained.find_value(name).is_none() {
            return Err(GraphError::Unsupported {
                place: format!("constant '{name}'"),
                reason: "with an open batch, which training needs, the network has no such weight"
                    .into(),
            });
        }
    }
    let mut out = fold_batch_norm(graph)?;
    for (&id, tensor) in trained.constants() {
        let own = out.find_value(&trained.value(id).name);
        let same = |own: &_| {
            out.constant(*own)
                .is_some_and(|of| of.dims() == tensor.dims())
        };
        if let Some(own) = own.filter(same)
            && tensor.as_f32().is_some()
        {
            out.set_constant(own, tensor.clone())?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_lead_to_the_density_in_equal_steps() {
        for (last, rounds) in [(1.0, 1), (0.9, 1), (0.8, 1), (0.6, 3), (0.2, 8)] {
            let found = densities(last);
            assert_eq!(found.len(), rounds, "{last}: {found:?}");
            assert!((found[rounds - 1] - last).abs() < 1e-12);
            let first = found[0];
            let steps = found.windows(2).map(|pair| pair[1] / pair[0]);
            for step in steps {
                assert!((step - first).abs() < 1e-9 && step >= KEPT - 1e-9);
            }
        }
    }
}
