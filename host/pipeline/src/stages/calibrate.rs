//! Calibration of the latency model before the search: configurations near the budget are
//! measured, without an evaluation of their accuracy. A measurement takes a fraction of a second;
//! with a model that does not know the device, the search wastes whole episodes.

use latency::Model;
use latency_model::Predictor;
use measuring::{DONOR_NETWORKS, Learning, Networks, Session, learn};
use search::{CostKind, SeededRng, Widths};
use serde::{Deserialize, Serialize};

use crate::environment::{CostModel, Load};
use crate::error::PipelineError;
use crate::news::DeviceNews;
use crate::prepare::Prepared;
use crate::progress::{Reporter, StopFlag};
use crate::records::{Key, Records};
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
    /// Its share of the time that measuring took, ns.
    #[serde(default)]
    pub measuring_ns: u64,
}

impl Calibration {
    /// Widths and ratio, as a predictor learns them.
    pub fn sample(&self) -> (&[usize], f64) {
        (&self.widths, self.ratio)
    }
}

pub(crate) const CALIBRATION: Key<Vec<Calibration>> = Key::new("calibration");

/// Networks that another run of the set has measured.
pub(crate) const LEARNED_BEFORE: Key<Vec<Calibration>> = Key::new("learned-before");

/// Measures the configurations, or reads back those of an earlier call. `donor` is the device
/// whose kernels are used in place of this one's.
pub(crate) fn run(
    work: &mut Work<'_>,
    prepared: &Prepared,
    feasibility: &Feasibility,
    donor: Option<&str>,
) -> Result<Vec<Calibration>, PipelineError> {
    let mut most = work.config.search.calibration;
    if feasibility.cost == CostKind::Macs || most == 0 {
        return Ok(Vec::new());
    }
    if donor.is_some() {
        most = most.min(DONOR_NETWORKS);
    }
    if let Some(recorded) = work.records.get(&CALIBRATION)? {
        return Ok(recorded);
    }
    work.reporter.begin("latency calibration", 0, most);
    let before = work.records.get(&LEARNED_BEFORE)?.unwrap_or_default();
    let samples = before.iter().map(Calibration::sample);
    let (mut predictor, load) = CostModel::new(prepared, feasibility, samples)?.into_parts();
    let mut networks = NearBudget {
        prepared,
        load,
        rng: SeededRng::new(work.config.seed, 7),
        news: &mut work.news,
        records: work.records,
        reporter: work.reporter,
        stop: work.stop,
    };
    let learning = Learning {
        most,
        certainty: work.config.knowledge.sure,
    };
    let learned = learn(&mut work.session, &mut predictor, &mut networks, learning)?;
    let fit = predictor.fit().map_or(String::new(), |fit| {
        let error = fit.mean_relative_error * 100.0;
        format!(", predictions of one left out are off by {error:.1} %")
    });
    work.reporter.end(&format!(
        "latency calibration: {} configurations measured{fit}",
        learned.len()
    ));
    let calibration = learned.into_iter().map(|of| Calibration {
        macs: prepared.table.macs(&of.widths).round() as u64,
        widths: of.widths,
        ratio: of.measured.ratio.value,
        device: Some(of.measured.device),
        measuring_ns: nanoseconds(of.took),
    });
    let calibration = before.into_iter().chain(calibration).collect();
    work.records.finish(&CALIBRATION, &calibration)?;
    Ok(calibration)
}

/// As many configurations as are drawn for each that is looked for, where a board's memory refuses
/// some.
const DRAWS: usize = 20;

/// Configurations near the budget, where the search will be.
struct NearBudget<'a> {
    prepared: &'a Prepared,
    load: Load<'a>,
    rng: SeededRng,
    news: &'a mut DeviceNews,
    records: &'a mut Records,
    reporter: &'a mut dyn Reporter,
    stop: &'a StopFlag,
}

impl Networks for NearBudget<'_> {
    type Error = PipelineError;

    /// Of twice as many that fit a board's memory, those nearer to the budget.
    fn draw(&mut self, predictor: &Predictor<'_>, count: usize) -> Vec<Vec<usize>> {
        let mut drawn: Vec<(f64, Vec<usize>)> = (0..DRAWS * count)
            .map(|_| self.prepared.space.spread(&mut self.rng).0)
            .filter(|widths| self.load.fits_memory(widths))
            .take(2 * count)
            .map(|widths| ((self.load.of(predictor, &widths) - 1.0).abs(), widths))
            .collect();
        drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
        drawn.truncate(count);
        drawn.into_iter().map(|(_, widths)| widths).collect()
    }

    fn model(&mut self, widths: &[usize]) -> Result<Model, PipelineError> {
        let name = format!("calibration {}", Widths(widths.to_vec()));
        Ok(Model::new(name, self.prepared.deploy_widths(widths)?.bytes))
    }

    fn progress(&mut self, session: &Session, tried: u64) -> Result<(), PipelineError> {
        self.news.report(session, self.records, self.reporter)?;
        self.reporter.step(tried, "");
        if self.stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        Ok(())
    }

    fn passed_over(&mut self, widths: &[usize], reason: &str) {
        let config = Widths(widths.to_vec());
        self.reporter
            .warn(&format!("{config} has no valid measurement: {reason}"));
    }
}
