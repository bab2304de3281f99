//! Which parts of the network may compute in integers: those in which the device is faster with
//! them.

use std::collections::{BTreeMap, BTreeSet};

use latency_model::{IN_FLOATS, IN_INTEGERS};
use onnx_graph::quantize::Scheme;
use onnx_graph::{Graph, fold_batch_norm};
use torch_exec::RangeMethod;
use train::{Calibration, reference_logits};

use crate::config::PrecisionChoice;
use crate::error::PipelineError;
use crate::on_device::Feed;
use crate::precision::{OpenPrecision, Parts};
use crate::prepare::Prepared;
use crate::quantize::{Gate, Integers, Subject, Trial, WeightBits, range_images, refuse_integers};
use crate::records::Key;
use crate::work::Work;

const PRECISION: Key<Parts> = Key::new("precision");

/// The most parts: each is an axis of the search and a measurement of a minute.
const PARTS: usize = 4;

/// Training images that ranges are observed on.
const IMAGES: usize = 200;

/// Finds the parts and adds them to the space, or reads back those of an earlier call.
pub(crate) fn run(work: &mut Work<'_>, prepared: &mut Prepared) -> Result<(), PipelineError> {
    if work.config.precision == PrecisionChoice::Given {
        return Ok(());
    }
    refuse_integers(&prepared.model)?;
    let (train, device) = (prepared.splits.train.as_ref(), prepared.exact.device);
    let images = range_images(train, (IMAGES, work.config.seed), device)?;
    let parts = match work.records.get(&PRECISION)? {
        Some(parts) => parts,
        None => {
            let parts = find(work, prepared, &images)?;
            work.records.finish(&PRECISION, &parts)?;
            parts
        }
    };
    if parts.open.is_empty() {
        return Ok(());
    }
    let groups = parts.open.iter().map(|part| prepared.groups_of(part));
    let open = OpenPrecision {
        groups: groups.collect(),
        model: prepared.model.name.clone(),
        parts,
        images,
    };
    Ok(prepared.open_precision(open)?)
}

fn find(
    work: &mut Work<'_>,
    prepared: &Prepared,
    images: &Calibration,
) -> Result<Parts, PipelineError> {
    let fail = |source| PipelineError::Model {
        model: prepared.model.name.clone(),
        source,
    };
    let graph = fold_batch_norm(&prepared.graph).map_err(fail)?;
    let subject = Subject::observe(
        (&prepared.model.name, graph, prepared.batch),
        images,
        RangeMethod::default(),
    )?;
    let subject = subject.with_regions(PARTS);
    let mut trial = Trial {
        subject: &subject,
        search: prepared.splits.search.as_ref(),
        feed: Feed {
            image: prepared.model.input,
            batch: prepared.batch,
        },
        classes: prepared.model.classes,
        gate: Gate::default(),
        training: None,
        runtime: prepared.exact,
        session: &mut work.session,
        stop: work.stop,
        reporter: &mut *work.reporter,
        tried: Vec::new(),
    };
    let exact = trial.weight_bits()?;
    let best = trial.measure_all(WeightBits::limited(exact, None))?;
    let Some((ratio, form)) = best.filter(|(ratio, _)| ratio.met_below(1.0)) else {
        work.reporter
            .note("no form in integers is faster on this device: the search is over widths alone");
        return Ok(Parts {
            scheme: Scheme::default(),
            open: Vec::new(),
            ranges: BTreeMap::new(),
            losses: Vec::new(),
        });
    };
    let open = open_parts(&subject, &form);
    work.reporter.note(&format!(
        "precision is open in {} parts; all of them in integers take {:.3}x ({})",
        open.len(),
        ratio.value,
        form.name()
    ));
    let name = |id| subject.graph.value(id).name.clone();
    let ranges = subject.ranges.iter();
    let mut parts = Parts {
        scheme: form.scheme,
        ranges: ranges.map(|(&id, &range)| (name(id), range)).collect(),
        open,
        losses: Vec::new(),
    };
    parts.losses = losses(prepared, &subject, &parts)?;
    Ok(parts)
}

/// The parts of the network less what the best form leaves in floats.
fn open_parts(subject: &Subject, form: &Integers) -> Vec<BTreeSet<String>> {
    let part = |nodes: &BTreeSet<_>| {
        let nodes = nodes.difference(&form.float);
        nodes
            .map(|&id| subject.graph.node(id).name.clone())
            .collect::<BTreeSet<String>>()
    };
    let parts = subject.regions.iter().map(part);
    parts.filter(|part| !part.is_empty()).collect()
}

/// For each part the mean over images of the squared distance between the logits in floats and
/// those with the part in integers: what Group Fisher scores estimate for a unit that is dropped
/// (`train::MaskedLoss::GaussNewton`), so that one criterion weighs widths and precision.
fn losses(
    prepared: &Prepared,
    subject: &Subject,
    parts: &Parts,
) -> Result<Vec<f64>, PipelineError> {
    let data = prepared.splits.train.as_ref();
    let count = IMAGES.min(data.len());
    // Data sets often are sorted by class.
    let indices: Vec<usize> = (0..count).map(|i| i * data.len() / count).collect();
    let logits = |graph: &Graph| reference_logits(graph, data, &indices, prepared.exact);
    let floats = logits(&subject.graph)?;
    let of_part = |part: usize| {
        let mut entries = vec![IN_FLOATS; parts.open.len()];
        entries[part] = IN_INTEGERS;
        let form = parts.form(&subject.graph, &entries, subject.ranges.clone());
        let form = form.map_err(|source| PipelineError::Model {
            model: subject.name.clone(),
            source,
        })?;
        let integers = logits(&form)?;
        let apart = floats.iter().zip(&integers);
        let squares = apart.map(|(a, b)| f64::from(a - b).powi(2));
        Ok(squares.sum::<f64>() / count.max(1) as f64)
    };
    (0..parts.open.len()).map(of_part).collect()
}
