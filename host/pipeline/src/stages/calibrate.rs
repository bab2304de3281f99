//! Teaching the latency model before the search: some random configurations are measured, without asking how accurate
//! they are. A measurement takes a fraction of a second; a model that does not know the device's steps makes the search
//! waste whole episodes.

use onnx_graph::cost::costs;
use search::{Config, CostKind, SeededRng};
use serde::{Deserialize, Serialize};

use crate::device::{Effort, Meter};
use crate::error::PipelineError;
use crate::prepare::Prepared;
use crate::records::StageName;
use crate::start::Feasibility;
use crate::work::Work;

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
}

/// Configurations that are measured together, for each device of a fleet.
const PER_DEVICE: usize = 8;

/// How far the widths of one configuration lie apart, as a share of their range; the rest is common to all groups.
const SPREAD: f64 = 0.7;

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
    let stage = StageName::new("calibration");
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
        let mut drawn = Vec::new();
        let mut networks = Vec::new();
        while drawn.len() < batch && done < count {
            let config = draw(prepared, &mut rng);
            let network = prepared.deployed(&prepared.cut_original(&config.0)?)?;
            let bytes = prepared.deployed_bytes(&network)?;
            networks.push((format!("calibration {config}"), bytes));
            drawn.push((config, costs(&network).macs));
            done += 1;
        }
        let Some(meter) = work.meter.as_mut() else {
            break;
        };
        let measured = meter.ratios(networks, Effort::Search);
        work.tell_device_news()?;
        for ((config, macs), ratio) in drawn.into_iter().zip(measured?) {
            match ratio {
                Ok(ratio) => found.push(Calibration {
                    macs,
                    widths: config.0,
                    ratio: ratio.median,
                    device: Some(ratio.device),
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
    work.reporter.end(&format!(
        "latency calibration: {} configurations measured",
        found.len()
    ));
    work.records.finish(&stage, &found)?;
    Ok(found)
}

fn draw(prepared: &Prepared, rng: &mut SeededRng) -> Config {
    let common = rng.unit() * (1.0 - SPREAD);
    let width = |widths: &Vec<usize>, rng: &mut SeededRng| {
        let place = common + SPREAD * rng.unit();
        widths[(place * (widths.len() - 1) as f64).round() as usize]
    };
    let groups = prepared.space.groups.iter();
    Config(groups.map(|g| width(&g.widths, rng)).collect())
}
