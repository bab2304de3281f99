//! From a configuration to a trained network: materialised weights, fine-tuned with distillation.

use channels::PrunePlan;
use onnx_graph::{Graph, fold_batch_norm};
use report::Metric;
use serde::{Deserialize, Serialize};
use train::{
    FinetuneConfig, GeneticSelection, PruningNet, Repairer, Score, StructuredObs, draw_batches,
    features, materialise, recalibrate,
};

use crate::config::{RunConfig, WeightOrigin};
use crate::error::PipelineError;
use crate::external::{user_score, user_training};
use crate::precision::Ranges;
use crate::prepare::Prepared;
use crate::records::Key;
use crate::stages::attempt::{Attempt, Attempts};
use crate::stages::distillation::{Distillation, distilled};
use crate::stages::scoring::Scoring;
use crate::work::Work;

/// A fine-tuned network, as recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tuned {
    pub label: String,
    pub widths: Vec<usize>,
    /// The task's score on the search split, 0 to 1, or that of the user's command.
    pub search_accuracy: f64,
    /// The network, BatchNorm kept, inside the run folder; in integers if it was trained so.
    pub file: String,
    pub seconds: f64,
    /// The kept units; absent in runs of versions that wrote no plan.
    #[serde(default)]
    pub units: Option<PrunePlan>,
}

/// The trained networks that candidates are compared with and learn from.
pub(crate) struct Source<'a> {
    pub prepared: &'a Prepared,
    /// Of a run that trains one.
    pub net: Option<&'a PruningNet>,
    pub scoring: &'a Scoring,
    /// Of a run that fine-tunes repaired networks.
    pub repairer: Option<&'a Repairer>,
    pub teacher: &'a Graph,
}

/// The kind of the keys of networks that were passed over, each with its reason.
pub(crate) const PASSED_OVER: &str = "passed-over";

/// The purpose of a fine-tuning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A network of the final table.
    Result,
    /// One of several candidates of the successive halving.
    Halving,
}

impl Purpose {
    /// Name of the folder in the run folder, and of the stage. Run folders of 0.1.0 have these
    /// names.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Result => "finetune",
            Self::Halving => "race",
        }
    }

    /// The key of the network called `label`.
    pub fn key(self, label: &str) -> Key<Tuned> {
        Key::of(self.folder(), label)
    }

    /// The key of the reason why the network called `label` was passed over.
    pub fn key_of_failure(self, label: &str) -> Key<String> {
        Key::of(PASSED_OVER, &format!("{}/{label}", self.folder()))
    }

    /// The checkpoint of the network called `label`, in the run folder.
    pub fn checkpoint(self, label: &str, attempt: Attempt) -> String {
        format!("{}/{label}{}.safetensors", self.folder(), attempt.suffix())
    }

    /// The settings of the training.
    pub fn settings(self, config: &RunConfig, attempt: Attempt) -> FinetuneConfig {
        let mut settings = config.finetune.clone();
        if self == Self::Halving {
            settings.epochs = config.result.halving.epochs;
        }
        attempt.of(settings)
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::Result => "fine-tuning",
            Self::Halving => "short fine-tuning",
        }
    }
}

/// A network to fine-tune.
#[derive(Clone, Copy)]
pub(crate) struct Network<'a> {
    pub label: &'a str,
    pub config: &'a [usize],
    /// The kept units, if they are not those that the run's importance chooses.
    pub units: Option<&'a PrunePlan>,
    /// Its start, if it has one already.
    pub begun: Option<&'a Begun>,
}

/// A network at the start of its fine-tuning.
pub(crate) struct Begun {
    /// The kept units.
    pub plan: PrunePlan,
    pub start: Graph,
    /// The time that it took so far.
    pub seconds: f64,
    /// The attempt that another process has made: its checkpoint is that of the end.
    pub attempt: Option<Attempt>,
}

/// Cuts a network and gives it its first weights.
pub(crate) fn begin(
    work: &Work<'_>,
    source: &Source<'_>,
    network: Network<'_>,
) -> Result<Begun, PipelineError> {
    let started = std::time::Instant::now();
    let prepared = source.prepared;
    let plan = match network.units {
        Some(units) => units.clone(),
        None => kept_units(work, prepared, prepared.split(network.config).0)?,
    };
    let origin = match work.config.weight_origin() {
        // The net generates weights for the run's own choice of units.
        WeightOrigin::Generated if network.units.is_some() => WeightOrigin::Original,
        origin => origin,
    };
    let start = work.steadily(|| starting_point(work, source, &plan, origin))?;
    Ok(Begun {
        plan,
        start,
        seconds: started.elapsed().as_secs_f64(),
        attempt: None,
    })
}

/// Fine-tunes a network, or reads it back if that is done.
pub(crate) fn run(
    work: &mut Work<'_>,
    source: &Source<'_>,
    purpose: Purpose,
    network: Network<'_>,
) -> Result<(Tuned, Graph), PipelineError> {
    let Network { label, config, .. } = network;
    let folder = purpose.folder();
    let key = purpose.key(label);
    if let Some(tuned) = work.records.get(&key)? {
        let graph = crate::model::read_model_file(&work.folder.path(&tuned.file))?;
        return Ok((tuned, graph));
    }
    let started = std::time::Instant::now();
    let prepared = source.prepared;
    work.folder.dir(folder)?;
    let own;
    // A checkpoint belongs to exactly this network.
    let Begun { plan, start, .. } = match network.begun {
        Some(begun) => begun,
        None => {
            own = begin(work, source, network)?;
            &own
        }
    };
    let graph = match user_training((&work.config.task, work.stop), start)? {
        Some(trained) => trained.map_err(|failure| PipelineError::command(label, failure))?,
        None => trained(work, source, (purpose, network), (start, plan))?,
    };
    let fail = |source| PipelineError::Model {
        model: label.to_owned(),
        source,
    };
    let rounds = work.config.qat.epochs > 0 && purpose == Purpose::Result;
    let graph = match rounds && prepared.has_integers(config) {
        true => {
            let calibrated = prepared.in_precision(&graph, config, Ranges::Observed)?;
            // As its layers were before their weights became integers.
            let floats = fold_batch_norm(&graph).map_err(fail)?;
            let networks = (&*calibrated, &floats);
            trained_in_integers(work, source, label, (networks, plan))?
        }
        false => graph,
    };
    let computed = prepared.in_precision(&graph, config, Ranges::Observed)?;
    let accuracy = match &work.config.task.score_with {
        Some(_) => {
            let deployed = prepared.deploy(&computed)?.bytes;
            let scored = user_score((&work.config.task, work.stop), work.records, &deployed)?;
            scored
                .transpose()
                .map_err(|failure| PipelineError::command(label, failure))?
        }
        None => None,
    };
    let accuracy = match accuracy {
        Some(by_user) => by_user,
        None => source.scoring.of(work, prepared, &computed)?.share(),
    };
    let file = format!("{folder}/{label}.onnx");
    work.folder
        .write(&file, &onnx_graph::write(&graph).map_err(fail)?)?;
    let tuned = Tuned {
        label: label.into(),
        widths: config.to_vec(),
        search_accuracy: accuracy,
        file,
        seconds: network.begun.map_or(0.0, |of| of.seconds) + started.elapsed().as_secs_f64(),
        units: Some(plan.clone()),
    };
    let untrained = prepared.partial.as_ref().filter(|of| !of.is_trained());
    let is_untrained = untrained.is_some() && work.config.task.train_with.is_none();
    work.records.finish(&key, &tuned)?;
    work.reporter.note(&format!(
        "{label}: {} {}",
        prepared.metric(work.config).on_search_split(accuracy),
        match purpose {
            _ if is_untrained => "without a training",
            Purpose::Result => "after fine-tuning",
            Purpose::Halving => "after the short fine-tuning",
        }
    ));
    // Read back, so that this call and a resumed one continue with the same network.
    let graph = crate::model::read_model_file(&work.folder.path(&tuned.file))?;
    Ok((tuned, graph))
}

/// The network, fine-tuned from `start` by its task. A network that is not trained stays as it is,
/// and so does one that no training takes nearer to the original that it follows.
fn trained(
    work: &mut Work<'_>,
    source: &Source<'_>,
    (purpose, network): (Purpose, Network<'_>),
    (start, plan): (&Graph, &PrunePlan),
) -> Result<Graph, PipelineError> {
    let (prepared, label) = (source.prepared, network.label);
    if matches!(&prepared.partial, Some(of) if !of.is_trained()) {
        return Ok(start.clone());
    }
    let attempts = Attempts::of(work, prepared)?;
    if !prepared.task.follows_original() {
        let attempt = attempts.first();
        return trained_by(work, source, (purpose, network, attempt), (start, plan));
    }
    let before = source.scoring.of(work, prepared, start)?;
    let metric = prepared.of_task();
    for (at, attempt, next) in attempts.all() {
        let graph = trained_by(work, source, (purpose, network, attempt), (start, plan))?;
        let after = source.scoring.of(work, prepared, &graph)?;
        let is_nearer = is_nearer(&after, &before);
        if is_nearer || next.is_none() {
            attempts.served(work, at)?;
        }
        if is_nearer {
            return Ok(graph);
        }
        let then = match next {
            Some(next) => format!(
                "once more at {} of the learning rate, with fixed statistics",
                next.share
            ),
            None => "the weights before it are kept".to_owned(),
        };
        let note = format!(
            "{label}: {} after the {}, less than before ({}): {then}",
            closeness(&after, &metric),
            purpose.words(),
            closeness(&before, &metric)
        );
        work.reporter.note(&note);
    }
    Ok(start.clone())
}

/// Whether a network is at least as near to the original as it was. A share ends at zero, the error
/// does not.
fn is_nearer(after: &Score, before: &Score) -> bool {
    let error = |of: &Score| of.divergence.unwrap_or(f64::INFINITY);
    let shares = after.share().total_cmp(&before.share());
    shares.then(error(before).total_cmp(&error(after))).is_ge()
}

/// How near a network is to the original, in words.
fn closeness(score: &Score, metric: &Metric) -> String {
    let share = metric.write(score.share());
    match score.divergence {
        Some(error) if score.share() == 0.0 => {
            format!("{share} (an error of {error:.2} times the spread)")
        }
        _ => share,
    }
}

/// The network, fine-tuned from `start`.
fn trained_by(
    work: &mut Work<'_>,
    source: &Source<'_>,
    (purpose, network, attempt): (Purpose, Network<'_>, Attempt),
    (start, plan): (&Graph, &PrunePlan),
) -> Result<Graph, PipelineError> {
    let (prepared, label) = (source.prepared, network.label);
    let front = prepared.partial.as_ref();
    let front = front.map(|of| of.front(start)).transpose()?;
    let settings = purpose.settings(work.config, attempt);
    let is_fixed = settings.norm_momentum == 0.0;
    let training = Distillation {
        stage: format!("{} ({label})", purpose.words()),
        checkpoint: purpose.checkpoint(label, attempt),
        settings,
        features: match front {
            Some(_) => Vec::new(),
            None => features(&prepared.graph, &prepared.analysis, plan)?,
        },
        floats: None,
        is_alone: network.begun.and_then(|of| of.attempt) == Some(attempt),
    };
    let from = (source.teacher, front.as_ref().unwrap_or(start));
    let graph = distilled(work, prepared, training, from)?;
    let mut graph = graph.with_outputs(start.outputs().to_vec());
    if let (false, Some(calibration)) = (is_fixed, source.scoring.calibration()) {
        let cut = channels::cut(&prepared.graph, &prepared.analysis, plan)?;
        recalibrate(&mut graph, &cut, calibration, prepared.exact)?;
    }
    Ok(graph)
}

/// A fine-tuned network in the integers of its configuration, trained with its rounding.
fn trained_in_integers(
    work: &mut Work<'_>,
    source: &Source<'_>,
    label: &str,
    ((graph, floats), plan): ((&Graph, &Graph), &PrunePlan),
) -> Result<Graph, PipelineError> {
    let prepared = source.prepared;
    let training = Distillation {
        stage: format!("quantisation-aware training ({label})"),
        checkpoint: format!("{}/{label}.qat.safetensors", Purpose::Result.folder()),
        settings: work.config.qat.settings(&work.config.finetune),
        features: features(&prepared.graph, &prepared.analysis, plan)?,
        floats: Some(floats),
        is_alone: false,
    };
    let from = (source.teacher, &prepared.stored(graph)?);
    distilled(work, prepared, training, from)
}

/// The units that the network of `widths` keeps.
pub(crate) fn kept_units(
    work: &Work<'_>,
    prepared: &Prepared,
    widths: &[usize],
) -> Result<PrunePlan, PipelineError> {
    work.steadily(|| plan(work, prepared, widths))
}

/// Those that come first by importance, or a genetic selection. Generated weights belong to the
/// order by importance.
fn plan(
    work: &Work<'_>,
    prepared: &Prepared,
    widths: &[usize],
) -> Result<PrunePlan, PipelineError> {
    let config = &work.config.importance;
    let (graph, analysis) = (&prepared.graph, &prepared.analysis);
    if !config.genetic || work.config.weight_origin() == WeightOrigin::Generated {
        return Ok(PrunePlan::from_widths(analysis, &prepared.order, widths)?);
    }
    let (data, device) = (prepared.splits.train.as_ref(), prepared.exact.device);
    let seed = work.config.seed;
    let batches = draw_batches(data, graph, config.images, seed, device)?;
    let genetic = GeneticSelection {
        seed,
        ..GeneticSelection::default()
    };
    let obs = StructuredObs::new(&batches, seed);
    let selection = genetic.select((graph, analysis), &obs, &prepared.order, widths)?;
    Ok(PrunePlan::from_widths(analysis, &selection.order, widths)?)
}

fn starting_point(
    work: &Work<'_>,
    source: &Source<'_>,
    plan: &PrunePlan,
    origin: WeightOrigin,
) -> Result<Graph, PipelineError> {
    let prepared = source.prepared;
    let calibration = source.scoring.calibration();
    let cut = || channels::cut(&prepared.graph, &prepared.analysis, plan);
    let generated = source.net.zip(calibration);
    Ok(match (origin, generated, source.repairer) {
        (WeightOrigin::Generated, Some((net, calibration)), _) => {
            let (widths, runtime) = (plan.widths(), prepared.runtime);
            materialise(net, prepared.prunable(), &widths, calibration, runtime)?
        }
        (WeightOrigin::Repaired, _, Some(repairer)) => repairer.repair_plan(plan)?.graph()?,
        (WeightOrigin::Scratch, ..) => {
            let graph = channels::apply(&prepared.graph, &cut()?)?;
            train::initialise(&graph, work.config.seed)?
        }
        _ => {
            let cut = cut()?;
            let mut graph = channels::apply(&prepared.graph, &cut)?;
            if let Some(calibration) = calibration {
                recalibrate(&mut graph, &cut, calibration, prepared.runtime)?;
            }
            graph
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_beyond_the_spread_is_compared_by_its_error() {
        let check = |after: (f64, f64), before: (f64, f64), expected: bool| {
            let score = |(share, error): (f64, f64)| Score {
                divergence: Some(error),
                ..Score::given(share)
            };
            let found = is_nearer(&score(after), &score(before));
            assert_eq!(found, expected, "{after:?} after {before:?}");
        };
        check((0.4, 0.6), (0.3, 0.7), true);
        check((0.3, 0.7), (0.4, 0.6), false);
        check((0.0, 1.1), (0.0, 1.4), true);
        check((0.0, 23.7), (0.0, 1.1), false);
        check((0.0, 1.1), (0.0, 1.1), true);
        check((0.0, f64::NAN), (0.0, 1.1), false);
        let unknown = Score::given(0.5);
        assert!(is_nearer(&unknown, &unknown));
    }
}
