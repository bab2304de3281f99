//! What is measured for a prediction: kernels alone, whole networks, the operators of the unpruned one.

use latency::{
    AgentDevice, DeviceInfo, Evidence, LatencySource, MeasureRequest, Model, NodeProvider, Profile,
    Store, user_store,
};
use latency_model::{KernelTable, Predictor, ProbePlan};
use search::SeededRng;

use super::subject::Subject;
use crate::error::PipelineError;
use crate::knowledge::{ProbeConfig, donor_kernels, probe_kernels};
use crate::progress::{Reporter, StopFlag};

/// Half an interval, relative, that is sure enough to measure no more.
const SURE: f64 = 0.02;

/// The fewest whole networks to learn from.
const FEWEST: usize = 12;

/// Configurations drawn for each that is measured, and to judge how sure the prediction is.
const DRAWN: usize = 48;

/// The seed of the configurations that are drawn: the same each time, so that what was measured once is found again.
const SEED: u64 = 1;

/// A device that measures networks against the unpruned one.
pub(super) struct Bench<'a> {
    pub source: Box<dyn LatencySource>,
    pub profile: &'a Profile,
    pub reference: Model,
}

impl Bench<'_> {
    pub fn kernels(
        &mut self,
        plan: &ProbePlan,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<KernelTable, PipelineError> {
        reporter.begin("kernels measured alone", 0, plan.points().len() as u64);
        let (source, config) = (self.source.as_mut(), ProbeConfig::default());
        let kernels = probe_kernels(source, self.profile, plan, &config, |done| {
            reporter.step(done as u64, "");
            !stop.is_set()
        })?;
        let count = kernels.times().len();
        reporter.end(&format!("{count} kernels known of this device"));
        Ok(kernels)
    }

    pub fn ratio(&mut self, model: Model) -> Result<Option<(f64, f64, f64)>, PipelineError> {
        let reference = Some(self.reference.clone());
        let request = self.profile.request(vec![model], reference);
        let measured = self.source.measure(&request)?;
        let valid = measured.first().filter(|m| m.is_valid());
        Ok(valid
            .and_then(|m| m.ratio)
            .map(|r| (r.median, r.low, r.high)))
    }
}

/// The kernels of another device of the profile, with its name, where the user's store holds them and not this device's own.
pub(super) fn donor(
    own: &DeviceInfo,
    profile: &Profile,
    plan: &ProbePlan,
) -> Result<Option<(String, KernelTable)>, PipelineError> {
    match user_store().filter(|path| path.is_file()) {
        Some(path) => {
            let store = Store::open_existing(&path)?;
            donor_kernels(&store, own, profile, plan, &ProbeConfig::default())
        }
        None => Ok(None),
    }
}

/// Measures whole networks that the predictor is least sure of, until it is sure of all or `most` are measured.
pub(super) fn learn(
    predictor: &mut Predictor<'_>,
    subject: &Subject,
    bench: &mut Bench<'_>,
    most: usize,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<Vec<(Vec<usize>, f64)>, PipelineError> {
    let mut learned = Vec::new();
    if most == 0 {
        return Ok(learned);
    }
    let mut rng = SeededRng::new(SEED, 11);
    reporter.begin("whole networks", 0, most as u64);
    for tried in 0..most {
        if stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        let drawn: Vec<Vec<usize>> = (0..DRAWN)
            .map(|_| subject.space.spread(&mut rng).0)
            .collect();
        if learned.len() >= FEWEST && predictor.is_precise(&drawn, SURE) {
            break;
        }
        for widths in predictor.most_uncertain(drawn, 1) {
            if let Some((ratio, ..)) = bench.ratio(subject.model(&widths)?)? {
                predictor.learn([(&widths[..], ratio)])?;
                learned.push((widths, ratio));
            }
        }
        reporter.step(tried as u64 + 1, "");
    }
    reporter.end(&format!("{} whole networks learned from", learned.len()));
    Ok(learned)
}

/// Times of the unpruned network's operators, in a pass of their own.
pub(super) fn operators(
    agent: &mut AgentDevice,
    profile: &Profile,
    model: &Model,
) -> Result<Vec<NodeProvider>, PipelineError> {
    let request = MeasureRequest {
        evidence: Evidence::Full,
        ..profile.request(vec![model.clone()], None)
    };
    let measured = agent.measure(&request)?.into_iter().next();
    Ok(measured.map_or(Vec::new(), |m| m.runtime.node_providers))
}
