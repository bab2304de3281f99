//! Quantising a trained network: forms in integers are measured on the device next to the network
//! in floats, and the fastest one that computes nearly the same is kept.

mod candidate;
mod on_board;
mod request;
mod trial;

use datasets::{Dataset, Splits};
use latency::Model;
use measuring::{Session, SessionConfig};
use onnx_graph::deploy;
use onnx_graph::ops::Op;
use torch_exec::RangeMethod;
use train::{Calibration, EvaluatorConfig, FinetuneConfig, Runtime, evaluate};

use crate::config::QatConfig;
use crate::error::PipelineError;
use crate::folder::write_named;
use crate::model::{LoadedModel, load_model, refuse_training};
use crate::on_device::Feed;
use crate::progress::{Reporter, StopFlag};
use crate::store::user_store;
use crate::tuning::Tuning;

use candidate::BATCH;
pub(crate) use candidate::{Built, Form, Integers, Subject, WeightBits};
use on_board::ForBoard;
pub use request::{Gate, QuantizeCandidate, QuantizeRequest, Quantized};
pub(crate) use trial::{Training, Trial};

/// Quantises a network and writes it to [`QuantizeRequest::out`], if integers are faster on the
/// device and the gate holds; for a bare-metal board, which runs nothing else, if the gate holds.
///
/// # Errors
/// When the network cannot be read or classified with, the data cannot be read, the device cannot
/// measure, the file cannot be written, or `stop` was set.
pub fn quantize(
    request: &QuantizeRequest,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<Quantized, PipelineError> {
    let model = load_model(&request.model, 0, [0; 3], request.seed, Default::default())?;
    refuse_training(&model.graph, &model.name)?;
    refuse_integers(&model)?;
    let splits = request.data.open_for(&model, reporter)?;
    let runtime = Runtime::default();
    let subject = observe(request, &model, &splits, runtime)?;
    reporter.note(&format!(
        "{}: ranges of {} activations by {} over {} training images",
        model.name,
        subject.ranges.len(),
        request.ranges,
        request.images.min(splits.train.len())
    ));
    let float = deploy(&subject.graph, subject.batch);
    let float = float.map_err(|source| PipelineError::Model {
        model: model.name.clone(),
        source,
    })?;
    let tuning = Tuning::new(
        (&splits, request.data.spec.default_augment()),
        (settings(&request.qat), request.seed),
        &request.out,
        stop,
    );
    let training = (request.qat.epochs > 0).then_some(Training {
        tuning: &tuning,
        teacher: &model.graph,
    });
    let devices = request.device.resolve()?;
    if let Some(of) = devices.first().filter(|of| of.profile.board.is_some()) {
        let for_board = ForBoard {
            request,
            profile: &of.profile,
            model: &model,
            subject: &subject,
            splits: &splits,
            original_bytes: float.bytes.len(),
            training,
        };
        let answer = for_board.run(reporter)?;
        tuning.forget()?;
        return Ok(answer);
    }
    let mut session = Session::start(
        devices,
        user_store()?.as_deref(),
        SessionConfig {
            final_effort: request.effort.times(),
            ..SessionConfig::default()
        },
    )?;
    reporter.note(&format!("device: {}", session.describe()));
    session.set_reference(Model::new(&*model.name, &float.bytes[..]));
    let mut trial = Trial {
        subject: &subject,
        search: splits.search.as_ref(),
        feed: Feed {
            image: model.input,
            batch: model.batch,
        },
        classes: model.classes,
        gate: request.gate,
        training,
        runtime,
        session: &mut session,
        stop,
        reporter,
        tried: Vec::new(),
    };
    let exact = trial.weight_bits()?;
    trial.measure_all(WeightBits::limited(exact, request.weight_bits))?;
    trial.measure_halves()?;
    let chosen = trial.choose()?;
    let tried = trial.tried;
    let forms: Vec<Form> = tried.iter().map(|of| of.form.clone()).collect();
    let test = splits.test.as_ref();
    let original = evaluate(&subject.graph, test, BATCH, runtime)?;
    let mut answer = Quantized {
        model: model.name.clone(),
        device: session.describe(),
        ranges: request.ranges.to_string(),
        original_ns: tried.iter().find_map(|t| t.reference_ns),
        candidates: tried.into_iter().map(|t| t.candidate).collect(),
        chosen: None,
        file: None,
        original_accuracy: original.share(),
        accuracy: None,
        test_images: original.total,
        original_bytes: float.bytes.len(),
        bytes: None,
        board: None,
    };
    if let Some((index, built)) = chosen {
        answer.accuracy = Some(evaluate(&built.graph, test, BATCH, runtime)?.share());
        let file = match forms[index] {
            Form::Integers(_) => &request.out,
            Form::Halves => &request.out_in_halves,
        };
        write_named(file, &built.bytes)?;
        answer.bytes = Some(built.bytes.len());
        answer.file = Some(file.clone());
        answer.chosen = Some(index);
    }
    tuning.forget()?;
    Ok(answer)
}

/// The settings of quantisation-aware training. The network has no other losses than those of its
/// outputs: a feature is the network's own value, rounded.
fn settings(qat: &QatConfig) -> FinetuneConfig {
    qat.settings(&FinetuneConfig {
        features: 0.0,
        ..FinetuneConfig::default()
    })
}

/// Training images on which the ranges of a network for a board are observed.
const BOARD_IMAGES: usize = 200;

/// A network in floats as a board runs it: whole in integers, with ranges that are observed on
/// training images.
pub(crate) fn in_integers(
    model: &LoadedModel,
    train: &dyn Dataset,
    seed: u64,
) -> Result<Built, PipelineError> {
    let folded = onnx_graph::fold_batch_norm(&model.graph);
    let graph = folded.map_err(|source| PipelineError::Model {
        model: model.name.clone(),
        source,
    })?;
    let images = range_images(train, (BOARD_IMAGES, seed), Runtime::default().device)?;
    let subject = (&model.name[..], graph, model.batch);
    Subject::observe(subject, &images, RangeMethod::MinMax)?.build(&Form::whole())
}

/// Refuses a network that has integers already.
pub(crate) fn refuse_integers(model: &LoadedModel) -> Result<(), PipelineError> {
    let integer = model.graph.nodes().iter().find(|node| {
        let name = node.op.name();
        matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_))
            || name.starts_with("QLinear")
    });
    match integer {
        None => Ok(()),
        Some(node) => Err(PipelineError::Quantized {
            model: model.name.clone(),
            node: node.name.clone(),
        }),
    }
}

/// Folds the network and observes its activations on training images.
fn observe(
    request: &QuantizeRequest,
    model: &LoadedModel,
    splits: &Splits,
    runtime: Runtime,
) -> Result<Subject, PipelineError> {
    let folded = onnx_graph::fold_batch_norm(&model.graph);
    let graph = folded.map_err(|source| PipelineError::Model {
        model: model.name.clone(),
        source,
    })?;
    let data = splits.train.as_ref();
    let images = range_images(data, (request.images, request.seed), runtime.device)?;
    let subject = Subject::observe((&model.name, graph, model.batch), &images, request.ranges)?;
    Ok(subject.with_regions(request.regions))
}

/// Training images on which ranges are observed: so many, drawn with a seed.
pub(crate) fn range_images(
    data: &dyn Dataset,
    (images, seed): (usize, u64),
    device: torch_exec::Device,
) -> Result<Calibration, PipelineError> {
    let draw = EvaluatorConfig {
        calibration_batches: images.div_ceil(BATCH),
        calibration_batch: BATCH.min(images),
        seed,
        ..EvaluatorConfig::default()
    };
    Ok(Calibration::draw(data, &draw, device)?)
}
