//! The predicted latency of a width configuration: from kernels measured alone, and from whole
//! networks where some are measured.

mod page;
mod predicted;
mod request;
mod subject;

use latency::stats::Interval;
use latency::{Model, NodeProvider, resolve};
use latency_model::{CostTable, KernelTable, LatencyModelConfig, LayerTimes, Predictor, ProbePlan};
use measuring::{
    CERTAINTY, DonorKernels, Effort, Learning, MeasuringError, Networks, ProbeConfig, Session,
    SessionConfig, learn, misfit,
};
use report::{GroupSteps, PredictedPoint, PredictionReport};
use search::SeededRng;

use self::page::{Details, page};
use self::subject::Subject;
use crate::error::PipelineError;
use crate::kernels::own_kernels;
use crate::operators::Times;
use crate::prepare::widths_with;
use crate::progress::{Reporter, StopFlag};
use crate::store::user_store;

pub use page::write_prediction;
pub use predicted::{LayerTime, Predicted};
pub use request::PredictRequest;

/// The seed of the configurations that are learned: the same each time, so that stored
/// measurements are found again.
const SEED: u64 = 1;

/// Predicts the latency of a width configuration. Measurements for it are kept in the user's
/// store, under the device, its runtime and settings, and not repeated.
///
/// # Errors
/// When the network cannot be read, the widths do not fit it, the device cannot measure, or
/// `stop` was set.
pub fn predict(
    request: &PredictRequest,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<Predicted, PipelineError> {
    let subject = Subject::new(request)?;
    let widths = subject.widths(request)?;
    let admissible = widths_with(&subject.space, &widths);
    let (device, store) = (resolve(&request.device)?, user_store()?);
    subject.refuse_floats(&device.profile)?;
    let mut session = Session::start(vec![device], store.as_deref(), SessionConfig::default())?;
    let reference = subject.model(&subject.space.full().0)?;
    let operators = if request.operators {
        session.operators(&reference)?
    } else {
        Vec::new()
    };
    session.set_reference(reference);

    let plan = ProbePlan::new(&subject.table, &admissible);
    let of_donor = session.donor_kernels(&plan, &ProbeConfig::default())?;
    let (mut kernels, mut donor) = match of_donor {
        Some(DonorKernels { donor, table }) => {
            let count = table.times().len();
            reporter.note(&format!(
                "{count} kernels known of {donor}, a device of the same profile"
            ));
            (table, Some(donor))
        }
        None => (own_kernels(&mut session, &plan, stop, reporter)?, None),
    };
    let mut times = subject.table.layer_times(&kernels);
    let mut predictor = predictor_of(&subject.table, &kernels, &times)?;
    let learned = learn_networks(
        &mut session,
        &mut predictor,
        &subject,
        request.learn,
        (stop, &mut *reporter),
    )?;
    let fit = donor.as_deref().zip(predictor.fit());
    if let Some(warning) = fit.and_then(|(donor, fit)| misfit(donor, fit)) {
        reporter.warn(&warning);
        donor = None;
        kernels = own_kernels(&mut session, &plan, stop, reporter)?;
        times = subject.table.layer_times(&kernels);
        predictor = predictor_of(&subject.table, &kernels, &times)?;
        predictor.learn(learned.iter().map(|(widths, ratio)| (&widths[..], *ratio)))?;
    }
    let measured = if request.check {
        checked(&mut session, subject.model(&widths)?)?
    } else {
        None
    };
    let (info, profile) = (session.info(), session.profile());
    let details = Details {
        device: profile.describe(&info),
        ..in_network(&subject, &operators, &kernels)?
    };
    let prediction = Prediction {
        subject: &subject,
        admissible: &admissible,
        kernels: &kernels,
        predictor: &predictor,
        times: &times,
    };
    let mut predicted = Predicted {
        device: info.id(),
        measured,
        kernels_of: donor,
        ..prediction.of(widths, learned)
    };
    predicted.page = page(&predicted, &details);
    Ok(predicted)
}

fn predictor_of<'t>(
    table: &'t CostTable,
    kernels: &KernelTable,
    times: &'t LayerTimes,
) -> Result<Predictor<'t>, PipelineError> {
    let known = (!kernels.times().is_empty()).then_some(times);
    Ok(Predictor::new(table, known, LatencyModelConfig::default())?)
}

/// The ratio of one network; `None` without a valid measurement.
fn checked(session: &mut Session, model: Model) -> Result<Option<Interval>, PipelineError> {
    match session.ratio(model, Effort::Search) {
        Ok(measured) => Ok(Some(measured.ratio)),
        Err(MeasuringError::NoMeasurement { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Teaches `predictor` at most `most` whole networks. Returns their widths and ratios.
fn learn_networks(
    session: &mut Session,
    predictor: &mut Predictor<'_>,
    subject: &Subject,
    most: usize,
    (stop, reporter): (&StopFlag, &mut dyn Reporter),
) -> Result<Vec<(Vec<usize>, f64)>, PipelineError> {
    if most == 0 {
        return Ok(Vec::new());
    }
    reporter.begin("whole networks", 0, most as u64);
    let mut networks = AnyWidths {
        subject,
        rng: SeededRng::new(SEED, 11),
        stop,
        reporter,
    };
    let learning = Learning {
        most: most as u64,
        certainty: CERTAINTY,
    };
    let learned = learn(session, predictor, &mut networks, learning)?;
    networks
        .reporter
        .end(&format!("{} whole networks learned from", learned.len()));
    let points = learned.into_iter();
    Ok(points
        .map(|of| (of.widths, of.measured.ratio.value))
        .collect())
}

/// Configurations of all sizes: those of a prediction have no budget.
struct AnyWidths<'a> {
    subject: &'a Subject,
    rng: SeededRng,
    stop: &'a StopFlag,
    reporter: &'a mut dyn Reporter,
}

impl Networks for AnyWidths<'_> {
    type Error = PipelineError;

    fn draw(&mut self, _: &Predictor<'_>, count: usize) -> Vec<Vec<usize>> {
        let one = |_| self.subject.space.spread(&mut self.rng).0;
        (0..count).map(one).collect()
    }

    fn model(&mut self, widths: &[usize]) -> Result<Model, PipelineError> {
        self.subject.model(widths)
    }

    fn progress(&mut self, _: &Session, tried: u64) -> Result<(), PipelineError> {
        self.reporter.step(tried, "");
        if self.stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        Ok(())
    }
}

/// The times of the layers in the unpruned network, and of all other operators. The description of
/// the device is left for the caller.
fn in_network<'a>(
    subject: &'a Subject,
    operators: &[NodeProvider],
    kernels: &'a KernelTable,
) -> Result<Details<'a>, PipelineError> {
    let deployed = subject.deployed(&subject.space.full().0)?.graph;
    let times = Times::of_network(operators, &deployed, subject.table.layer_names());
    let others: f64 = times.others.values().map(|(_, ns)| ns).sum();
    Ok(Details {
        model: &subject.name,
        device: String::new(),
        kernels,
        kinds: subject.table.layer_kinds(),
        in_network_ns: times.layers,
        other_ns: (!operators.is_empty()).then_some(others),
    })
}

/// What a prediction follows from.
struct Prediction<'a> {
    subject: &'a Subject,
    /// The widths of each group that were considered.
    admissible: &'a [Vec<usize>],
    kernels: &'a KernelTable,
    predictor: &'a Predictor<'a>,
    times: &'a LayerTimes,
}

impl Prediction<'_> {
    /// The prediction for `widths`. Device, donor, measurement and page are left for the caller.
    fn of(&self, widths: Vec<usize>, learned: Vec<(Vec<usize>, f64)>) -> Predicted {
        let (table, times) = (&self.subject.table, self.times);
        let full = self.subject.space.full().0;
        let each = table.layer_ns(times, &full).into_iter();
        let layers: Vec<LayerTime> = table
            .layer_names()
            .zip(each.zip(table.layer_ns(times, &widths)))
            .map(|(name, (full_ns, ns))| LayerTime {
                name: name.to_owned(),
                full_ns,
                ns,
            })
            .collect();
        let groups = self.subject.space.groups.iter().enumerate();
        let groups = groups.map(|(i, group)| GroupSteps {
            name: group.name.clone(),
            channels: group.channels,
            width: widths[i],
            widths: self.admissible[i].clone(),
            edges: table.step_edges(times, i, &self.admissible[i], self.kernels.noise()),
        });
        let macs = |widths: &[usize]| table.macs(widths) / table.full_macs().max(1.0);
        let mut left_out = self.predictor.left_out().into_iter();
        let learned = learned
            .into_iter()
            .map(|(widths, measured)| PredictedPoint {
                measured,
                predicted: left_out.next(),
                kernels: table.kernel_ratio(times, &widths),
                macs: macs(&widths),
                widths,
            });
        let interval = self.predictor.interval(&widths);
        Predicted {
            device: String::new(),
            ratio: self.predictor.ratio(&widths),
            interval: interval.map(|of| (of.low, of.high)),
            measured: None,
            kernel_ratio: table.kernel_ratio(times, &widths),
            macs_ratio: macs(&widths),
            full_ns: times.full_ns(),
            ns: layers.iter().map(|layer| layer.ns).sum(),
            kernels: self.kernels.times().len(),
            kernels_of: None,
            unknown_layers: times.unknown(),
            learned: learned.collect(),
            fit: self.predictor.fit().copied(),
            groups: groups.collect(),
            layers,
            widths,
            page: PredictionReport::default(),
        }
    }
}
