//! A candidate of the search on its way to a record: asked, evaluated, screened, measured,
//! judged. Each step is a type that holds the one before.

use std::time::{Duration, Instant};

use latency::Model;
use latency::stats::Interval;
use measuring::{Effort, MeasuredRatio, MeasuringError};
use onnx_graph::{Deployed, Graph};
use search::{Cost, CostKind, Judge, Outcome, Prospect, Screening, Widths, screen};
use train::{PruningNet, Repairer, Score, materialise};

use crate::config::StrategyKind;
use crate::environment::{CostModel, search_interval};
use crate::episodes::{EpisodeRecord, Timings, score};
use crate::error::PipelineError;
use crate::external::user_score;
use crate::precision::Ranges;
use crate::prepare::Prepared;
use crate::stages::calibrate::Calibration;
use crate::stages::scoring::Scoring;
use crate::stages::together;
use crate::start::Feasibility;
use crate::work::{Work, nanoseconds};

/// The fixed inputs of a search.
pub(crate) struct Searching<'a> {
    pub prepared: &'a Prepared,
    /// Of a run that trains one.
    pub net: Option<&'a PruningNet>,
    pub scoring: &'a Scoring,
    /// Of a run that evaluates candidates with repaired weights.
    pub repairer: Option<&'a Repairer>,
    pub judge: Judge,
    pub feasibility: &'a Feasibility,
    /// Configurations measured before the search.
    pub calibration: &'a [Calibration],
}

impl Searching<'_> {
    fn measures_latency(&self) -> bool {
        self.feasibility.cost != CostKind::Macs
    }

    /// The score of a configuration on the search split, with repaired or generated weights: by the
    /// user's command if the search asks it, and by the task otherwise. `Err` has the reason why
    /// the command gave none.
    fn score(
        &self,
        work: &mut Work<'_>,
        config: &[usize],
    ) -> Result<Result<Score, String>, PipelineError> {
        if work.config.task.scores_search() {
            let onnx = self.prepared.deploy(&self.network(config)?)?.bytes;
            if let Some(score) = user_score((&work.config.task, work.stop), work.records, &onnx)? {
                return Ok(score
                    .map(Score::given)
                    .map_err(|failure| failure.to_string()));
            }
        }
        let Scoring::Here(evaluator) = self.scoring else {
            let network = self.network(config)?;
            return self.scoring.of(work, self.prepared, &network).map(Ok);
        };
        let (prepared, (widths, parts)) = (self.prepared, self.prepared.split(config));
        if work.crew.is_some() {
            let (graph, is_exact) = match (self.repairer, self.net) {
                (Some(repairer), _) if parts.is_empty() => {
                    (repairer.repair(widths)?.graph()?, false)
                }
                (None, Some(net)) if parts.is_empty() => {
                    let (images, runtime) = (evaluator.calibration(), prepared.runtime);
                    let prunable = prepared.prunable();
                    (materialise(net, prunable, widths, images, runtime)?, false)
                }
                _ => (self.network(config)?, true),
            };
            let network = (&graph, is_exact);
            return together::score_drawn(work, prepared, evaluator, network).map(Ok);
        }
        let score = match (self.repairer, self.net) {
            _ if !parts.is_empty() => {
                evaluator.accuracy_of_graph(&self.network(config)?, prepared.exact)?
            }
            (Some(repairer), _) => evaluator.accuracy_of(&repairer.repair(widths)?)?,
            (None, Some(net)) => evaluator.accuracy(net, widths)?,
            (None, None) => evaluator.accuracy_of_graph(&self.network(config)?, prepared.exact)?,
        };
        Ok(Ok(score))
    }

    /// The network of a configuration with repaired or generated weights.
    fn network(&self, config: &[usize]) -> Result<Graph, PipelineError> {
        let prepared = self.prepared;
        let widths = prepared.split(config).0;
        let graph = match (self.repairer, self.net, self.scoring.calibration()) {
            (Some(repairer), ..) => repairer.repair(widths)?.graph()?,
            (None, Some(net), Some(images)) => {
                materialise(net, prepared.prunable(), widths, images, prepared.runtime)?
            }
            _ => prepared.cut_original(widths)?,
        };
        Ok(prepared
            .in_precision(&graph, config, Ranges::Observed)?
            .into_owned())
    }

    /// The outcome of a recorded candidate by its measurement; `None` where the cost that counts
    /// was not measured.
    pub fn outcome(&self, record: &EpisodeRecord) -> Result<Option<Outcome>, PipelineError> {
        if record.failure.is_some() || !record.screening.measures() {
            return Ok(None);
        }
        self.judged(record, record.ratio).map(Some)
    }

    fn judged(
        &self,
        record: &EpisodeRecord,
        latency: Option<Interval>,
    ) -> Result<Outcome, PipelineError> {
        let cost = Cost {
            macs: record.macs,
            latency: latency.map(search_interval),
            memory: record.memory.unwrap_or(0.0),
        };
        Ok(self.judge.judge(record.score(), cost)?)
    }
}

/// A configuration that a strategy proposed.
pub(crate) struct Asked {
    pub config: Widths,
    /// How long the strategy took.
    pub took: Duration,
}

/// With its accuracy, its predicted latency and its deployable network.
pub(crate) struct Evaluated {
    asked: Asked,
    accuracy: Score,
    /// Why the user's command gave it no score.
    unscored: Option<String>,
    deployed: Deployed,
    /// Its memory on a board as a share of what it may take; `None` where there is no board.
    memory: Option<f64>,
    /// What it needs of a board that it does not fit, in words.
    too_large: Option<String>,
    predicted_ratio: f64,
    predicted: Option<Interval>,
    evaluating: Duration,
    exporting: Duration,
}

impl Asked {
    pub fn evaluate(
        self,
        work: &mut Work<'_>,
        searching: &Searching<'_>,
        costs: &CostModel<'_>,
    ) -> Result<Evaluated, PipelineError> {
        let widths = &self.config.0;
        let clock = Instant::now();
        let (accuracy, unscored) = match searching.score(work, widths)? {
            Ok(score) => (score, None),
            Err(reason) => {
                work.reporter
                    .warn(&format!("{}: {reason}; it is passed over", self.config));
                (Score::given(0.0), Some(reason))
            }
        };
        let evaluating = clock.elapsed();
        let clock = Instant::now();
        let prepared = searching.prepared;
        let deployed = prepared.deploy_widths(widths)?;
        let needs = prepared.board_needs(&deployed.graph)?;
        let on_board = prepared.board.as_ref().zip(needs);
        let memory = on_board.as_ref().map(|(of, needs)| needs.load(&of.limits));
        // A soft budget can be exceeded, a board's memory cannot.
        let too_large = on_board.and_then(|(board, needs)| {
            let hard = searching.judge.enforces_budget();
            let limits = if hard { &board.limits } else { &board.own };
            (needs.load(limits) > 1.0).then(|| needs.words(limits))
        });
        Ok(Evaluated {
            accuracy,
            unscored,
            memory,
            too_large,
            deployed,
            predicted_ratio: costs.predictor.ratio(widths),
            predicted: costs.predictor.interval(widths),
            evaluating,
            exporting: clock.elapsed(),
            asked: self,
        })
    }
}

/// With the decision whether it is measured.
pub(crate) struct Screened {
    evaluated: Evaluated,
    screening: Screening,
}

impl Evaluated {
    /// A candidate that is measured whatever its prediction, if it fits.
    pub fn unscreened(self) -> Screened {
        self.screened(Screening::MayWin)
    }

    fn screened(self, screening: Screening) -> Screened {
        let screening = match self.too_large {
            Some(_) => Screening::DoesNotFit,
            None => screening,
        };
        Screened {
            evaluated: self,
            screening,
        }
    }
}

/// Decides which candidates are measured.
pub(crate) fn screen_all(
    work: &Work<'_>,
    searching: &Searching<'_>,
    kind: StrategyKind,
    candidates: Vec<Evaluated>,
) -> Result<Vec<Screened>, PipelineError> {
    if !searching.measures_latency() || !kind.is_screened() {
        return Ok(candidates.into_iter().map(Evaluated::unscreened).collect());
    }
    let records = work.records.episodes(kind);
    let mut rewards: Vec<f64> = records
        .iter()
        .filter(|e| e.screening.measures() && e.failure.is_none())
        .map(|e| e.reward)
        .collect();
    rewards.sort_by(|a, b| b.total_cmp(a));
    // As many as are fine-tuned may win.
    let last = work.config.result.candidates.max(1) - 1;
    let best = rewards.get(last).copied();
    let passed_over = records.iter().filter(|e| e.screening.is_passed_over());
    let mut passed_over = passed_over.count() as u64;
    let mut screened = Vec::new();
    for candidate in candidates {
        if candidate.unscored.is_some() {
            screened.push(candidate.unscreened());
            continue;
        }
        let prospect = Prospect {
            accuracy: score(candidate.accuracy.share(), candidate.accuracy.divergence),
            macs: candidate.deployed.costs.macs,
            predicted: candidate.predicted.map(search_interval),
            memory: candidate.memory.unwrap_or(0.0),
        };
        let config = &work.config.knowledge.screen;
        let screening = screen(config, &searching.judge, &prospect, best, passed_over)?;
        passed_over += u64::from(screening.is_passed_over());
        screened.push(candidate.screened(screening));
    }
    Ok(screened)
}

/// With its latency, if the device was asked.
pub(crate) struct Measured {
    screened: Screened,
    latency: Latency,
    /// Its share of the time that the devices measured.
    took: Duration,
}

enum Latency {
    NotAsked,
    Valid(Box<MeasuredRatio>),
    /// There is no valid measurement, for this reason.
    Invalid(String),
}

/// Measures candidates, all at once where there are several devices.
pub(crate) fn measure_all(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    kind: StrategyKind,
    candidates: Vec<Screened>,
) -> Result<Vec<Measured>, PipelineError> {
    let asks = |c: &Screened| {
        let is_of_use = c.screening.measures() && c.evaluated.unscored.is_none();
        searching.measures_latency() && is_of_use
    };
    let mut models = Vec::new();
    let mut measured = Vec::new();
    for mut screened in candidates {
        let Evaluated {
            too_large, asked, ..
        } = &screened.evaluated;
        if let Some(needs) = too_large {
            work.reporter.note(&format!(
                "{} does not fit and is not measured: it takes {needs}",
                asked.config
            ));
        }
        if asks(&screened) {
            let name = format!("{} {}", kind.name(), screened.evaluated.asked.config);
            let bytes = std::mem::take(&mut screened.evaluated.deployed.bytes);
            models.push(Model::new(name, bytes));
        }
        measured.push(Measured {
            screened,
            latency: Latency::NotAsked,
            took: Duration::ZERO,
        });
    }
    let count = models.len();
    let clock = Instant::now();
    let ratios = work.session.ratios(models, Effort::Search);
    let took = clock.elapsed() / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    work.report_devices()?;
    let asked = measured.iter_mut().filter(|m| asks(&m.screened));
    for (candidate, ratio) in asked.zip(ratios?) {
        candidate.took = took;
        candidate.latency = match ratio {
            Ok(ratio) => Latency::Valid(Box::new(ratio)),
            // One candidate that cannot be measured must not end the search; a device that is
            // gone must.
            Err(MeasuringError::NoMeasurement { reason, .. }) => {
                work.reporter.warn(&format!(
                    "{} has no valid measurement and is passed over: {reason}",
                    candidate.config()
                ));
                Latency::Invalid(reason)
            }
            Err(e) => return Err(e.into()),
        };
    }
    Ok(measured)
}

/// As a record, with its outcome.
pub(crate) struct Judged {
    pub record: EpisodeRecord,
    /// `None` where the cost that counts could not be measured. A screened candidate has that of
    /// its predicted latency.
    pub outcome: Option<Outcome>,
}

impl Measured {
    pub fn config(&self) -> &Widths {
        &self.screened.evaluated.asked.config
    }

    /// The measured ratio.
    pub fn ratio(&self) -> Option<f64> {
        match &self.latency {
            Latency::Valid(measured) => Some(measured.ratio.value),
            _ => None,
        }
    }

    /// Judges the candidate as an episode of a strategy.
    pub fn judge(
        self,
        searching: &Searching<'_>,
        strategy: StrategyKind,
        episode: u64,
    ) -> Result<Judged, PipelineError> {
        let Screened {
            evaluated: candidate,
            screening,
        } = self.screened;
        let (measured, failure) = match self.latency {
            Latency::NotAsked => (None, None),
            Latency::Valid(measured) => (Some(measured), None),
            Latency::Invalid(reason) => (None, Some(reason)),
        };
        let unscored = candidate.unscored.is_some();
        let failure = candidate.unscored.or(failure);
        let timings = Timings {
            asking_ns: nanoseconds(candidate.asked.took),
            evaluating_ns: nanoseconds(candidate.evaluating),
            exporting_ns: nanoseconds(candidate.exporting),
            measuring_ns: nanoseconds(self.took),
            telling_ns: 0,
        };
        let mut record = EpisodeRecord {
            episode,
            strategy,
            widths: candidate.asked.config.0,
            accuracy: candidate.accuracy.share(),
            divergence: candidate.accuracy.divergence,
            macs: candidate.deployed.costs.macs,
            memory: candidate.memory,
            ratio: measured.as_ref().map(|of| of.ratio),
            latency_ns: measured.as_ref().map(|of| of.latency_ns),
            device: measured.map(|of| of.device),
            predicted_ratio: candidate.predicted_ratio,
            predicted_interval: candidate.predicted.map(|of| (of.low, of.high)),
            screening,
            reward: 0.0,
            feasible: false,
            failure,
            unscored,
            timings,
        };
        let outcome = if unscored {
            None
        } else if screening.measures() {
            searching.outcome(&record)?
        } else {
            let predicted = Interval::exact(record.predicted_ratio);
            Some(Outcome {
                measured: false,
                ..searching.judged(&record, Some(predicted))?
            })
        };
        if let Some(outcome) = &outcome {
            record.reward = outcome.reward;
            record.feasible = outcome.feasible && outcome.measured;
        }
        Ok(Judged { record, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_that_does_not_fit_is_not_measured_whatever_it_promises() {
        let graph = model_zoo::build("shapes_net", &model_zoo::ZooConfig::default()).unwrap();
        let evaluated = |too_large: Option<&str>| Evaluated {
            asked: Asked {
                config: Widths(vec![8]),
                took: Duration::ZERO,
            },
            accuracy: Score::given(1.0),
            unscored: None,
            deployed: onnx_graph::deploy(&graph, None).unwrap(),
            memory: Some(1.2),
            too_large: too_large.map(str::to_owned),
            predicted_ratio: 0.5,
            predicted: None,
            evaluating: Duration::ZERO,
            exporting: Duration::ZERO,
        };
        let large = evaluated(Some("9 kB of 8 kB of RAM")).unscreened();
        assert_eq!(large.screening, Screening::DoesNotFit);
        assert!(!large.screening.measures() && !large.screening.is_passed_over());
        let large = evaluated(Some("9 kB of 8 kB of RAM")).screened(Screening::Audit);
        assert_eq!(large.screening, Screening::DoesNotFit);
        // A soft budget is exceeded, the board is not.
        let over = evaluated(None).screened(Screening::Unsure);
        assert_eq!(over.screening, Screening::Unsure);
    }
}
