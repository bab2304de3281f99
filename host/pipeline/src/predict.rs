//! The latency of a width configuration, predicted: from kernels measured alone, and from whole networks where some are measured.

mod measuring;
mod page;
mod subject;

use latency::{LatencySource, NodeProvider, Patience, resolve};
use latency_model::{
    CostTable, KernelTable, LatencyModelConfig, LayerKind, LayerTimes, ModelFit, Predictor,
    ProbePlan,
};
use serde::Serialize;

use self::measuring::{Bench, kindred, learn, operators};
use self::subject::Subject;
use crate::error::PipelineError;
use crate::explain::attribute::Times;
use crate::knowledge::{misfit, remembered};
use crate::model::ModelSpec;
use crate::prepare::widths_with;
use crate::progress::{Reporter, StopFlag};

pub use page::write_prediction;

/// Which configuration of which network to predict, on which device.
#[derive(Debug, Clone)]
pub struct PredictRequest {
    /// The network.
    pub model: ModelSpec,
    /// Classes of a zoo network.
    pub classes: usize,
    /// Image of a zoo network: channels, height, width.
    pub input: [usize; 3],
    /// How channels are grouped.
    pub groups: channels::AnalysisOptions,
    /// The device.
    pub device: String,
    /// Share of each group's channels to keep, where `widths` does not say otherwise.
    pub keep: f64,
    /// The width of each group, in their order.
    pub widths: Option<Vec<usize>>,
    /// The most whole networks to measure, of other widths, to learn from; 0 for a prediction from kernels alone.
    pub learn: usize,
    /// Whether to measure the configuration asked for, too, and compare.
    pub check: bool,
    /// Whether to take the times of the unpruned network's operators, to hold them against the kernels alone.
    pub operators: bool,
}

/// A layer's time.
#[derive(Debug, Clone, Serialize)]
pub struct LayerTime {
    /// The layer's name.
    pub name: String,
    /// Unpruned, ns.
    pub full_ns: f64,
    /// With the widths asked for, ns.
    pub ns: f64,
}

/// A group's widths on the device.
#[derive(Debug, Clone, Serialize)]
pub struct GroupSteps {
    /// The group's name.
    pub name: String,
    /// Its channels.
    pub channels: usize,
    /// The width asked for.
    pub width: usize,
    /// The widths that were looked at.
    pub widths: Vec<usize>,
    /// The widths worth having: the corners of the steps that the device moves in, with the narrowest and the widest.
    pub corners: Vec<usize>,
}

/// A whole network that was learned from.
#[derive(Debug, Clone, Serialize)]
pub struct LearnedPoint {
    /// Its widths.
    pub widths: Vec<usize>,
    /// Its measured latency over the unpruned network's.
    pub measured: f64,
    /// What it would have been predicted as without it; `None` while too few were measured to tell.
    pub predicted: Option<f64>,
    /// The plain sum of its kernels over the unpruned network's.
    pub kernels: f64,
    /// Its MACs over the unpruned network's.
    pub macs: f64,
}

/// A prediction.
#[derive(Debug, Clone, Serialize)]
pub struct Predicted {
    /// The device's identity.
    pub device: String,
    /// The widths asked for.
    pub widths: Vec<usize>,
    /// Latency over the unpruned network's.
    pub ratio: f64,
    /// The interval that should hold 95 of 100 measurements; `None` for a prediction from too few whole networks.
    pub interval: Option<(f64, f64)>,
    /// The measured ratio with its interval, if it was asked for and is valid.
    pub measured: Option<(f64, f64, f64)>,
    /// The plain sum of the kernels over the unpruned network's.
    pub kernel_ratio: f64,
    /// MACs over the unpruned network's.
    pub macs_ratio: f64,
    /// Sum of the kernels of the unpruned network, ns.
    pub full_ns: f64,
    /// Sum of the kernels with the widths asked for, ns.
    pub ns: f64,
    /// Kernels that were looked up or measured.
    pub kernels: usize,
    /// The other device of the profile that the kernels are of, where this one's were not measured.
    pub kernels_of: Option<String>,
    /// Layers whose kernels cannot be measured alone; they are taken to need as long for each of their MACs as the others.
    pub unknown_layers: usize,
    /// The whole networks that were learned from.
    pub learned: Vec<LearnedPoint>,
    /// How good the prediction is, by leaving one of them out at a time.
    pub fit: Option<ModelFit>,
    /// Each layer.
    pub layers: Vec<LayerTime>,
    /// Each group.
    pub groups: Vec<GroupSteps>,
    /// What the page draws besides.
    #[serde(skip)]
    pub(crate) drawn: Drawn,
}

/// What only the page shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drawn {
    pub model: String,
    pub device: String,
    pub kernels: KernelTable,
    pub kernels_of: Option<String>,
    pub layers: Vec<DrawnLayer>,
    /// Time of the unpruned network's operators that are no layers, ns.
    pub other_ns: Option<f64>,
}

/// What only the page shows of a layer.
#[derive(Debug, Clone)]
pub(crate) struct DrawnLayer {
    pub kind: Option<LayerKind>,
    /// Its time within the unpruned network, ns.
    pub in_network_ns: Option<f64>,
}

/// Predicts the latency of a width configuration. What is measured for it is kept in the user's store, under the device, its runtime
/// and settings, and not measured again.
///
/// # Errors
/// When the network cannot be read, the widths do not fit it, the device cannot measure, or `stop` was set.
pub fn predict(
    request: &PredictRequest,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<Predicted, PipelineError> {
    let subject = Subject::find(request)?;
    let widths = subject.widths(request)?;
    let admissible = widths_with(&subject.space, &widths);
    let (mut agent, profile) = resolve(&request.device)?.start(Patience::default())?;
    let info = agent.describe();
    let reference = subject.model(&subject.space.full().0)?;
    let operators = if request.operators {
        operators(&mut agent, &profile, &reference)?
    } else {
        Vec::new()
    };
    let mut bench = Bench {
        source: remembered(agent)?,
        profile: &profile,
        reference,
    };

    let plan = ProbePlan::new(&subject.table, &admissible);
    let (mut kernels, mut other) = match kindred(&info, &profile, &plan)? {
        Some((other, kernels)) => {
            let count = kernels.times().len();
            reporter.note(&format!(
                "{count} kernels known of {other}, a device of the same profile"
            ));
            (kernels, Some(other))
        }
        None => (bench.kernels(&plan, stop, reporter)?, None),
    };
    let mut times = subject.table.layer_times(&kernels);
    let mut predictor = predictor_of(&subject.table, &kernels, &times)?;
    let learned = learn(
        &mut predictor,
        &subject,
        &mut bench,
        request.learn,
        stop,
        reporter,
    )?;
    let misfit = other
        .as_deref()
        .zip(predictor.fit())
        .and_then(|(other, fit)| misfit(other, fit));
    if let Some(misfit) = misfit {
        reporter.warn(&misfit);
        other = None;
        kernels = bench.kernels(&plan, stop, reporter)?;
        times = subject.table.layer_times(&kernels);
        predictor = predictor_of(&subject.table, &kernels, &times)?;
        predictor.learn(learned.iter().map(|(widths, ratio)| (&widths[..], *ratio)))?;
    }
    let measured = if request.check {
        bench.ratio(subject.model(&widths)?)?
    } else {
        None
    };
    let (layers, other_ns) = within(&subject, &operators)?;
    let drawn = Drawn {
        model: subject.name.clone(),
        device: format!(
            "{} ({}), ONNX Runtime {}, {} thread(s)",
            profile.name, info.cpu_model, info.runtime_version, profile.sampling.threads
        ),
        layers,
        other_ns,
        kernels,
        kernels_of: other,
    };
    Ok(assemble(
        &subject,
        (widths, &admissible),
        (&predictor, &times),
        (info.id(), measured, learned),
        drawn,
    ))
}

fn predictor_of<'t>(
    table: &'t CostTable,
    kernels: &KernelTable,
    times: &'t LayerTimes,
) -> Result<Predictor<'t>, PipelineError> {
    let known = (!kernels.times().is_empty()).then_some(times);
    Ok(Predictor::new(table, known, LatencyModelConfig::default())?)
}

/// The layers with their times within the unpruned network, and the time of what is no layer.
fn within(
    subject: &Subject,
    operators: &[NodeProvider],
) -> Result<(Vec<DrawnLayer>, Option<f64>), PipelineError> {
    let deployed = subject.deployed(&subject.space.full().0)?.graph;
    let times = Times::of_network(operators, &deployed, subject.table.layer_names());
    let kinds = subject.table.layer_kinds().into_iter();
    let layers = kinds
        .zip(times.layers)
        .map(|(kind, in_network_ns)| DrawnLayer {
            kind,
            in_network_ns,
        });
    let others: f64 = times.others.values().map(|(_, ns)| ns).sum();
    Ok((layers.collect(), (!operators.is_empty()).then_some(others)))
}

type Asked<'a> = (Vec<usize>, &'a [Vec<usize>]);
type Known<'a> = (&'a Predictor<'a>, &'a LayerTimes);
type Seen = (String, Option<(f64, f64, f64)>, Vec<(Vec<usize>, f64)>);

fn assemble(
    subject: &Subject,
    (widths, admissible): Asked<'_>,
    (predictor, times): Known<'_>,
    (device, measured, learned): Seen,
    drawn: Drawn,
) -> Predicted {
    let table = &subject.table;
    let full = subject.space.full().0;
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
    let groups = subject.space.groups.iter().enumerate();
    let groups = groups.map(|(i, group)| GroupSteps {
        name: group.name.clone(),
        channels: group.channels,
        width: widths[i],
        widths: admissible[i].clone(),
        corners: table.corners(times, i, &admissible[i], drawn.kernels.noise()),
    });
    let macs = |widths: &[usize]| table.macs(widths) / table.full_macs().max(1.0);
    let mut left_out = predictor.left_out().into_iter();
    let learned = learned.into_iter().map(|(widths, measured)| LearnedPoint {
        measured,
        predicted: left_out.next(),
        kernels: table.kernel_ratio(times, &widths),
        macs: macs(&widths),
        widths,
    });
    Predicted {
        device,
        ratio: predictor.ratio(&widths),
        interval: predictor.interval(&widths).map(|p| (p.low, p.high)),
        measured,
        kernel_ratio: table.kernel_ratio(times, &widths),
        macs_ratio: macs(&widths),
        full_ns: times.full_ns(),
        ns: layers.iter().map(|layer| layer.ns).sum(),
        kernels: drawn.kernels.times().len(),
        kernels_of: drawn.kernels_of.clone(),
        unknown_layers: times.unknown(),
        learned: learned.collect(),
        fit: predictor.fit().copied(),
        groups: groups.collect(),
        layers,
        widths,
        drawn,
    }
}
