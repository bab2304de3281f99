//! The latency of a width configuration, predicted: from kernels measured alone, and from whole networks where some are measured.

mod page;

use std::path::Path;

use channels::{Analysis, PrunePlan, importance_order};
use latency::{
    AgentDevice, DeviceInfo, Evidence, LatencySource, MeasureRequest, Model, NodeProvider,
    Patience, Profile, Store, resolve, user_store,
};
use latency_model::{
    CostTable, KernelTable, LatencyModelConfig, LayerKind, LayerTimes, ModelFit, Predictor,
    ProbePlan,
};
use onnx_graph::{Graph, GraphError, fold_batch_norm};
use search::{SeededRng, Space, WidthGrid};
use serde::Serialize;

use crate::error::PipelineError;
use crate::explain::attribute::Times;
use crate::knowledge::{KINDRED_FITS, ProbeConfig, kindred_kernels, probe_kernels, remembered};
use crate::model::{ModelSpec, load_model, read_model_file};
use crate::prepare::{width_space, widths_with};
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

/// Half an interval, relative, that is sure enough to measure no more.
const SURE: f64 = 0.02;

/// The fewest whole networks to learn from.
const FEWEST: usize = 12;

/// Configurations drawn for each that is measured, and to judge how sure the prediction is.
const DRAWN: usize = 48;

/// The seed of the configurations that are drawn: the same each time, so that what was measured once is found again.
const SEED: u64 = 1;

/// A network whose latency is asked for.
struct Subject {
    name: String,
    graph: Graph,
    analysis: Analysis,
    order: Vec<Vec<usize>>,
    table: CostTable,
    space: Space,
}

impl Subject {
    fn find(request: &PredictRequest) -> Result<Self, PipelineError> {
        let (graph, analysis) = if request.model.zoo_name().is_some() {
            let (classes, input) = (request.classes, request.input);
            let model = load_model(&request.model, classes, input, 0, request.groups)?;
            (model.graph, model.analysis)
        } else {
            let graph = read_model_file(Path::new(&request.model.0))?;
            let analysis = channels::analyse_with(&graph, request.groups)?;
            (graph, analysis)
        };
        Ok(Self {
            name: request.model.0.clone(),
            order: importance_order(&graph, &analysis),
            table: CostTable::new(&graph, &analysis),
            space: width_space(&analysis, &WidthGrid::default())?,
            graph,
            analysis,
        })
    }

    fn widths(&self, request: &PredictRequest) -> Result<Vec<usize>, PipelineError> {
        let sizes = self.space.full().0;
        let kept = |&n: &usize| ((n as f64 * request.keep).round() as usize).clamp(1, n);
        let widths = match &request.widths {
            Some(widths) => widths.clone(),
            None => sizes.iter().map(kept).collect(),
        };
        // Also where no network is cut, as for a prediction from kernels alone, widths that leave none are refused.
        PrunePlan::from_widths(&self.analysis, &self.order, &widths)?;
        Ok(widths)
    }

    fn fail(&self, source: GraphError) -> PipelineError {
        PipelineError::Model {
            model: self.name.clone(),
            source,
        }
    }

    /// The network of these widths as it is deployed.
    fn deployed(&self, widths: &[usize]) -> Result<Graph, PipelineError> {
        let plan = PrunePlan::from_widths(&self.analysis, &self.order, widths)?;
        let cut = channels::cut(&self.graph, &self.analysis, &plan)?;
        let pruned = channels::apply(&self.graph, &cut)?;
        let mut deployed = fold_batch_norm(&pruned).map_err(|e| self.fail(e))?;
        deployed.remove_dead();
        Ok(deployed)
    }

    fn model(&self, widths: &[usize]) -> Result<Model, PipelineError> {
        let deployed = self.deployed(widths)?;
        let bytes = onnx_graph::write(&deployed).map_err(|e| self.fail(e))?;
        Ok(Model::new(format!("{} {widths:?}", self.name), bytes))
    }
}

/// A device that measures networks against the unpruned one.
struct Bench<'a> {
    source: Box<dyn LatencySource>,
    profile: &'a Profile,
    reference: Model,
}

impl Bench<'_> {
    fn kernels(
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

    fn ratio(&mut self, model: Model) -> Result<Option<(f64, f64, f64)>, PipelineError> {
        let request = MeasureRequest {
            models: vec![model],
            reference: Some(self.reference.clone()),
            ..request_on(self.profile)
        };
        let measured = self.source.measure(&request)?;
        let valid = measured.first().filter(|m| m.is_valid());
        Ok(valid
            .and_then(|m| m.ratio)
            .map(|r| (r.median, r.low, r.high)))
    }
}

fn request_on(profile: &Profile) -> MeasureRequest {
    MeasureRequest {
        sampling: profile.sampling.clone(),
        limits: profile.limits.clone(),
        runtime: profile.runtime.clone(),
        conditions: profile.conditions.clone(),
        ..MeasureRequest::default()
    }
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
    let error = predictor.fit().map(|fit| fit.mean_relative_error);
    if let Some(error) = error.filter(|e| *e > KINDRED_FITS)
        && let Some(other) = other.take()
    {
        let off = error * 100.0;
        reporter.warn(&format!(
            "with the kernels of {other} predictions are off by {off:.1} %: this device's own are measured"
        ));
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

/// The kernels of another device of the profile, with its name, where the user's store holds them and not this device's own.
fn kindred(
    own: &DeviceInfo,
    profile: &Profile,
    plan: &ProbePlan,
) -> Result<Option<(String, KernelTable)>, PipelineError> {
    match user_store().filter(|path| path.is_file()) {
        Some(path) => {
            let store = Store::open_existing(&path)?;
            kindred_kernels(&store, own, profile, plan, &ProbeConfig::default())
        }
        None => Ok(None),
    }
}

fn predictor_of<'t>(
    table: &'t CostTable,
    kernels: &KernelTable,
    times: &'t LayerTimes,
) -> Result<Predictor<'t>, PipelineError> {
    let known = (!kernels.times().is_empty()).then_some(times);
    Ok(Predictor::new(table, known, LatencyModelConfig::default())?)
}

/// Measures whole networks that the predictor is least sure of, until it is sure of all or `most` are measured.
fn learn(
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
        if learned.len() >= FEWEST && predictor.is_sure(&drawn, SURE) {
            break;
        }
        for widths in predictor.least_sure(drawn, 1) {
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

/// The layers with their times within the unpruned network, and the time of what is no layer.
fn within(
    subject: &Subject,
    operators: &[NodeProvider],
) -> Result<(Vec<DrawnLayer>, Option<f64>), PipelineError> {
    let deployed = subject.deployed(&subject.space.full().0)?;
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

/// Times of the unpruned network's operators, in a pass of their own.
fn operators(
    agent: &mut AgentDevice,
    profile: &Profile,
    model: &Model,
) -> Result<Vec<NodeProvider>, PipelineError> {
    let request = MeasureRequest {
        models: vec![model.clone()],
        evidence: Evidence::Full,
        ..request_on(profile)
    };
    let measured = agent.measure(&request)?.into_iter().next();
    Ok(measured.map_or(Vec::new(), |m| m.runtime.node_providers))
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
