//! A training of a network with the original as teacher.

use onnx_graph::Graph;
use train::{Completion, Feature, FinetuneConfig, TeacherSetup, TrainJob, finetune};

use crate::error::PipelineError;
use crate::job::Kind;
use crate::prepare::Prepared;
use crate::stages::together;
use crate::work::Work;

/// What a network learns, and how.
pub(crate) struct Distillation<'a> {
    pub stage: String,
    /// The checkpoint in the run folder.
    pub checkpoint: String,
    pub settings: FinetuneConfig,
    pub features: Vec<Feature>,
    /// The network before its weights became integers.
    pub floats: Option<&'a Graph>,
    /// Whether the other processes of the run have no part in it.
    pub is_alone: bool,
}

/// Trains `start` to compute what its teacher does.
pub(crate) fn distilled(
    work: &mut Work<'_>,
    prepared: &Prepared,
    training: Distillation<'_>,
    (teacher, start): (&Graph, &Graph),
) -> Result<Graph, PipelineError> {
    let Distillation {
        stage,
        checkpoint,
        settings,
        features,
        floats,
        is_alone,
    } = training;
    let settings = fitted(settings, (prepared.fits.batch, work.config.batch));
    let checkpoint = work.folder.path(checkpoint);
    let seed = work.config.seed;
    let loader = prepared.training_loader(work.config.batch, seed.wrapping_add(1))?;
    let team = match is_alone {
        true => None,
        false => {
            let kind = Kind::Finetune {
                settings: settings.clone(),
                features: features.clone(),
            };
            let networks: Vec<&Graph> = std::iter::once(start).chain(floats).collect();
            together::begin(work, prepared, kind, (&networks, seed.wrapping_add(1)))?
        }
    };
    let mut watch = work.watch(&stage);
    let front = prepared.partial.as_ref();
    let front = front.map(|of| of.front(teacher)).transpose()?;
    let teacher = TeacherSetup {
        graph: front.as_ref().unwrap_or(teacher),
        features: &features,
    };
    let job = TrainJob {
        graph: start,
        floats,
        task: &*prepared.task,
        loader: &loader,
        config: &settings,
        runtime: prepared.runtime,
        seed,
        team: team.as_deref(),
        checkpoint: Some(&checkpoint),
        identity: None,
    };
    let (graph, completion) = finetune(&job, Some(teacher), &mut watch)?;
    watch.finish();
    match completion {
        Completion::Stopped => Err(PipelineError::Stopped),
        Completion::Finished => Ok(graph),
    }
}

/// The settings for batches of `held` samples, where memory does not hold the `configured` ones:
/// the learning rate is smaller in proportion (Goyal et al., arXiv 1706.02677).
pub(crate) fn fitted(
    mut settings: FinetuneConfig,
    (held, configured): (usize, usize),
) -> FinetuneConfig {
    settings.sgd.lr *= (held as f64 / configured.max(1) as f64).min(1.0);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_memory_makes_smaller_learns_in_proportion() {
        let check = |held: usize, configured: usize, share: f64| {
            let lr = FinetuneConfig::default().sgd.lr;
            let settings = fitted(FinetuneConfig::default(), (held, configured));
            assert!((settings.sgd.lr - lr * share).abs() < 1e-12);
        };
        check(128, 128, 1.0);
        check(16, 128, 0.125);
        check(256, 128, 1.0);
    }
}
