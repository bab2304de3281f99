//! Teaching the latency model before the search: some configurations are measured, without asking how accurate they are. A
//! measurement takes a fraction of a second; a model that does not know the device makes the search waste whole episodes. Those are
//! measured of which the model is least sure, until it is sure enough of all.

use std::time::Instant;

use search::{Config, CostKind, SeededRng};
use serde::{Deserialize, Serialize};

use crate::device::{Effort, Meter};
use crate::environment::CostModel;
use crate::error::PipelineError;
use crate::knowledge::KINDRED_NETWORKS;
use crate::prepare::Prepared;
use crate::records::StageName;
use crate::stages::kernels;
use crate::start::Feasibility;
use crate::work::{Work, nanoseconds};

/// A measured configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Calibration {
    pub widths: Vec<usize>,
    pub macs: u64,
    /// Latency over the original's.
    pub ratio: f64,
    /// The device that measured it.
    #[serde(default)]
    pub device: Option<String>,
    /// How long that took, ns.
    #[serde(default)]
    pub measuring_ns: u64,
}

/// Configurations that are measured together, for each device of a fleet.
const PER_DEVICE: usize = 8;

/// The fewest configurations: intervals of a model that knows less are not to be trusted.
const FEWEST: usize = 16;

/// Configurations drawn for each that is measured.
const DRAWN: usize = 12;

/// Configurations on which it is judged how sure the model is.
const JUDGED: usize = 64;

pub(crate) fn stage() -> StageName {
    StageName::new("calibration")
}

/// Measures the configurations, or reads back what was measured; those already measured are not measured again.
pub(crate) fn run(
    work: &mut Work<'_>,
    prepared: &Prepared,
    feasibility: &Feasibility,
) -> Result<Vec<Calibration>, PipelineError> {
    let count = work.config.search.calibration;
    if feasibility.cost == CostKind::Macs || count == 0 {
        return Ok(Vec::new());
    }
    let count = match kernels::kindred(work)? {
        Some(_) => count.min(KINDRED_NETWORKS),
        None => count,
    };
    let stage = stage();
    if let Some(known) = work.records.stage(&stage)? {
        return Ok(known);
    }
    let mut rng = SeededRng::new(work.config.seed, 7);
    let devices = work.meter.as_ref().map_or(1, Meter::devices);
    // One device measures one after the other, several as many at once as keep them busy to the end.
    let batch = if devices == 1 {
        1
    } else {
        devices * PER_DEVICE
    };
    let mut found = Vec::new();
    work.reporter.begin("latency calibration", 0, count);
    let mut done = 0;
    while done < count {
        if work.stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        let model = CostModel::new(prepared, feasibility, &found)?;
        // Of all that are drawn those nearer to the budget, where the search will be.
        let mut spread = |count: usize| -> Vec<Vec<usize>> {
            let mut drawn: Vec<(f64, Config)> = (0..2 * count)
                .map(|_| prepared.space.spread(&mut rng))
                .map(|config| ((model.load(&config) - 1.0).abs(), config))
                .collect();
            drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
            drawn.truncate(count);
            drawn.into_iter().map(|(_, config)| config.0).collect()
        };
        let sure = work.config.knowledge.sure;
        if found.len() >= FEWEST && model.predictor.is_sure(&spread(JUDGED), sure) {
            break;
        }
        let wanted = batch.min((count - done) as usize);
        let chosen = model.predictor.least_sure(spread(wanted * DRAWN), wanted);
        let mut drawn = Vec::new();
        let mut networks = Vec::new();
        for config in chosen.into_iter().map(Config) {
            let deployed = prepared.deployed_at(&config.0)?;
            networks.push((format!("calibration {config}"), deployed.bytes));
            drawn.push((config, deployed.costs.macs));
            done += 1;
        }
        let Some(meter) = work.meter.as_mut() else {
            break;
        };
        let clock = Instant::now();
        let measured = meter.ratios(networks, Effort::Search);
        let measuring_ns = nanoseconds(clock.elapsed()) / drawn.len().max(1) as u64;
        work.tell_device_news()?;
        for ((config, macs), ratio) in drawn.into_iter().zip(measured?) {
            match ratio {
                Ok(ratio) => found.push(Calibration {
                    macs,
                    widths: config.0,
                    ratio: ratio.median,
                    device: Some(ratio.device),
                    measuring_ns,
                }),
                // One that cannot be measured teaches nothing; the others do.
                Err(PipelineError::NoMeasurement { reason, .. }) => {
                    work.reporter
                        .warn(&format!("{config} has no valid measurement: {reason}"));
                }
                Err(e) => return Err(e),
            }
        }
        work.reporter.step(done, "");
    }
    let model = CostModel::new(prepared, feasibility, &found)?;
    let fit = model.predictor.fit().map_or(String::new(), |fit| {
        let error = fit.mean_relative_error * 100.0;
        format!(", predictions of one left out are off by {error:.1} %")
    });
    work.reporter.end(&format!(
        "latency calibration: {} configurations measured{fit}",
        found.len()
    ));
    work.records.finish(&stage, &found)?;
    Ok(found)
}
