//! The end of a run: each network of the final table is exported, compared with the trained one
//! on the device, measured with the final effort, and tested.

use std::fmt;
use std::fs;

use latency::Model;
use measuring::{MeasuredRatio, Session};
use onnx_graph::{Graph, ValueId};
use serde::{Deserialize, Serialize};
use train::Figure;

use crate::board::{BoardNeeds, outputs_of_reference};
use crate::closeness::{HOST_SQNR_DB, closeness};
use crate::config::TaskKind;
use crate::error::PipelineError;
use crate::external::user_score;
use crate::folder::{ORIGINAL, RESULT, RunFolder};
use crate::on_device::{Feed, Placed, all_outputs_on_device, compared, outputs_on_device};
use crate::precision::Ranges;
use crate::prepare::Prepared;
use crate::provenance::Provenance;
use crate::records::{Key, Records};
use crate::stages::scoring::on_test_split;
use crate::work::Work;

/// Largest difference between the exported network in ONNX Runtime and the trained one in
/// libtorch, as a share of the output's spread. Deep networks differ by up to 3e-4 between
/// runtimes.
const TOLERANCE: f64 = 1e-3;

/// The file of a result that is slower than the original, under a name that prevents its
/// deployment by accident.
const REFUSED: &str = "pruned.refused.onnx";

/// A network's place in the final table, recorded as its label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) enum NetworkRole {
    Original,
    Pruned,
    /// A candidate of another strategy, by its name.
    Baseline(String),
}

impl NetworkRole {
    /// The file of the exported network.
    fn file(&self) -> String {
        match self {
            Self::Original => ORIGINAL.into(),
            Self::Pruned => RESULT.into(),
            Self::Baseline(name) => format!("baseline-{name}.onnx"),
        }
    }

    /// The key of the finished export.
    pub fn key(&self) -> Key<FinalRow> {
        Key::of(EXPORT, &self.to_string())
    }
}

/// The kind of the stages of [`NetworkRole::key`].
pub(crate) const EXPORT: &str = "export";

impl fmt::Display for NetworkRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original => f.write_str("original"),
            Self::Pruned => f.write_str("pruned"),
            Self::Baseline(name) => write!(f, "baseline {name}"),
        }
    }
}

impl From<NetworkRole> for String {
    fn from(role: NetworkRole) -> Self {
        role.to_string()
    }
}

impl From<String> for NetworkRole {
    fn from(label: String) -> Self {
        match label.as_str() {
            "original" => Self::Original,
            "pruned" => Self::Pruned,
            other => Self::Baseline(other.strip_prefix("baseline ").unwrap_or(other).into()),
        }
    }
}

/// A network of the final table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FinalRow {
    #[serde(rename = "label")]
    pub role: NetworkRole,
    pub widths: Vec<usize>,
    pub search_accuracy: Option<f64>,
    /// The task's score on the test split, 0 to 1, or that of the user's command.
    pub test_accuracy: f64,
    pub test_images: usize,
    pub macs: u64,
    pub parameters: u64,
    pub bytes: u64,
    pub ratio: Option<MeasuredRatio>,
    /// The same measurement on the other devices of the fleet.
    #[serde(default)]
    pub checks: Vec<MeasuredRatio>,
    /// Largest difference between ONNX Runtime on the device and libtorch, as a share of the
    /// output's spread.
    pub difference: Option<f64>,
    /// What it needs of a bare-metal board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<BoardNeeds>,
    pub file: String,
    /// Figures behind the task's score on the test split.
    #[serde(default)]
    pub figures: Vec<Figure>,
}

/// Exports, compares, measures and tests one network, or reads the row back if that is done.
pub(crate) fn run(
    work: &mut Work<'_>,
    prepared: &Prepared,
    role: NetworkRole,
    graph: &Graph,
    (widths, search_accuracy): (&[usize], Option<f64>),
) -> Result<FinalRow, PipelineError> {
    let key = role.key();
    if let Some(row) = work.records.get(&key)? {
        return accepted(work, &key, row);
    }
    if work.stop.is_set() {
        return Err(PipelineError::Stopped);
    }
    let graph = &*prepared.in_precision(graph, widths, Ranges::Observed)?;
    let deployed = prepared.deploy(graph)?;
    let model = Model::new(role.to_string(), &deployed.bytes[..]);
    // Integers are rounded in what is deployed only.
    let computed = match prepared.scheme {
        Some(_) => &deployed.graph,
        None => graph,
    };
    let integers = prepared.has_integers(widths);
    // An original that the board has no memory for has neither outputs nor a latency there.
    let on_device = if prepared.can_run(&deployed.graph)? {
        let numbers = compared(&deployed.graph, &model, onnx_graph::write);
        let numbers = numbers.map_err(|source| PipelineError::Model {
            model: role.to_string(),
            source,
        })?;
        let difference = verify(&mut work.session, prepared, (computed, integers), &numbers)?;
        if prepared.board.is_some() {
            let words =
                "its outputs on the board are those of the reference on the host, bit for bit";
            work.reporter.note(&format!("{}: {words}", model.name()));
        }
        let measured = work.session.final_ratio(model);
        work.report_devices()?;
        Some((difference, measured?))
    } else {
        None
    };
    let (difference, measured) = on_device.unzip();
    let (ratio, checks) = measured.map_or((None, Vec::new()), |of| (Some(of.ratio), of.checks));
    // Slower than the original beyond noise.
    let slower = |of: &MeasuredRatio| prepared.stand_in.is_none() && of.ratio.low > 1.0;
    let refused = role == NetworkRole::Pruned
        && ratio.as_ref().is_some_and(slower)
        && !work.config.result.allow_slower;
    let file = if refused { REFUSED.into() } else { role.file() };
    let tested = on_test_split(work, prepared, computed)?;
    let by_user = user_score(
        (&work.config.task, work.stop),
        work.records,
        &deployed.bytes,
    )?
    .transpose();
    let by_user = by_user.map_err(|failure| PipelineError::command(&role.to_string(), failure))?;
    let value = by_user.unwrap_or(tested.value);
    let given = &prepared.model;
    let mut onnx = deployed.bytes;
    if role != NetworkRole::Original {
        let metric = prepared.metric(work.config).name;
        let on_test = format!("{metric} {value:.4}, {} samples", tested.total);
        let mut provenance = Provenance::new(&given.name, &given.sha256)
            .with("input", prepared.splits.test.input().to_string())
            .with("device", work.session.describe())
            .with("budget", work.config.budget.words())
            .with("test", on_test);
        if let Some(ratio) = &ratio {
            provenance = match prepared.stand_in {
                None => provenance.with_ratio(ratio).with_latency(ratio),
                Some(_) => provenance.with_latency(ratio),
            };
        }
        let stamped = provenance
            .with("macs", deployed.costs.macs.to_string())
            .with("parameters", deployed.costs.parameters.to_string())
            .with("strategy", work.config.strategy().name())
            .with("seed", work.config.seed.to_string())
            .stamp(&onnx);
        onnx = stamped.map_err(|source| PipelineError::Model {
            model: role.to_string(),
            source,
        })?;
        // The original is there since it was read or trained.
        work.folder.write(&file, &onnx)?;
    }
    let row = FinalRow {
        role,
        widths: widths.to_vec(),
        search_accuracy,
        test_accuracy: value,
        test_images: tested.total,
        macs: deployed.costs.macs,
        parameters: deployed.costs.parameters,
        bytes: onnx.len() as u64,
        ratio,
        checks,
        difference,
        board: prepared.board_needs(&deployed.graph)?,
        file,
        figures: tested.figures,
    };
    work.records.finish(&key, &row)?;
    Ok(row)
}

/// A finished row. A network that was refused takes the result's place once slower ones are
/// allowed.
fn accepted(
    work: &mut Work<'_>,
    key: &Key<FinalRow>,
    mut row: FinalRow,
) -> Result<FinalRow, PipelineError> {
    if row.file == REFUSED && work.config.result.allow_slower {
        let (from, to) = (work.folder.path(REFUSED), work.folder.path(RESULT));
        // Gone already when an earlier call was stopped right after it.
        if from.exists() {
            fs::rename(&from, &to).map_err(|e| PipelineError::io(&from, "rename", e))?;
        }
        row.file = RESULT.into();
        work.records.finish(key, &row)?;
    }
    Ok(row)
}

/// Ends a run whose result was refused. Everything is written by then, the report included.
///
/// # Errors
/// [`PipelineError::Slower`] when it was refused.
pub(crate) fn refuse_slower(records: &Records, folder: &RunFolder) -> Result<(), PipelineError> {
    let row = records.get(&NetworkRole::Pruned.key())?;
    match row
        .filter(|row| row.file == REFUSED)
        .and_then(|row| row.ratio)
    {
        None => Ok(()),
        Some(measured) => Err(PipelineError::Slower {
            ratio: measured.ratio,
            kept: folder.path(REFUSED),
            run: folder.root().to_owned(),
        }),
    }
}

/// Runs the exported file on the device and the trained network in libtorch on the same images; a
/// network that libtorch does not run, on the device with its nodes as they were before the export.
/// Returns their relative difference.
fn verify(
    session: &mut Session,
    prepared: &Prepared,
    (graph, integers): (&Graph, bool),
    model: &Model,
) -> Result<f64, PipelineError> {
    let data = prepared.splits.search.as_ref();
    let count = 8.min(data.len());
    let indices: Vec<usize> = (0..count).collect();
    if let Some(partial) = &prepared.partial {
        let rows = train::rows(data, &indices)?;
        let exported = partial.file(graph)?;
        let outputs = partial.outputs(session, exported)(&rows)?;
        let before = partial.file_as_it_is(graph)?;
        let expected = partial.outputs(session, before)(&rows)?;
        return equivalent(model, integers, &outputs, &expected);
    }
    if prepared.kind != TaskKind::Classification {
        let (rows, expected) = train::all_outputs(graph, data, &indices, prepared.exact)?;
        let batch = prepared.batch.unwrap_or(1);
        let given = &prepared.model.graph;
        let inputs = given.inputs().iter();
        let inputs: Vec<Placed> = inputs.filter_map(|&id| Placed::of(given, id)).collect();
        let outputs = train::float_outputs(given).into_iter().zip(&expected);
        let placed = |(id, of): (ValueId, &Vec<f32>)| {
            // The size of an output may be known only when it is computed.
            Placed::of(given, id).unwrap_or_else(|| Placed::leading(of.len() / count.max(1)))
        };
        let outputs: Vec<Placed> = outputs.map(placed).collect();
        let outputs = all_outputs_on_device(session, model, (&inputs, batch), &rows, &outputs)?;
        if prepared.board.is_some() {
            // A board has one input and one output.
            check_bits((model, graph), &rows, &outputs.concat())?;
        }
        return equivalent(model, integers, &outputs, &expected);
    }
    let (images, expected) = train::reference_outputs(graph, data, &indices, prepared.exact)?;
    let feed = Feed {
        image: prepared.model.input,
        batch: prepared.batch,
    };
    let outputs = outputs_on_device(session, model, &images, feed)?;
    if prepared.board.is_some() {
        check_bits((model, graph), &images, &outputs)?;
    }
    equivalent(model, integers, &[outputs], &[expected])
}

/// Compares a board's outputs with those of the reference on the host, which have to be the same.
fn check_bits(
    (model, graph): (&Model, &Graph),
    images: &[f32],
    outputs: &[f32],
) -> Result<(), PipelineError> {
    let expected = outputs_of_reference((model, graph), images)?;
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    if bits(outputs) == bits(&expected) {
        return Ok(());
    }
    let differ = outputs.iter().zip(&expected).filter(|(a, b)| a != b);
    Err(PipelineError::NotBitEqual {
        model: model.name().into(),
        differ: differ.count(),
        outputs: expected.len(),
    })
}

/// The largest difference of an output; refuses one beyond the tolerance. Values in integers that
/// fall between two are rounded either way.
fn equivalent(
    model: &Model,
    integers: bool,
    outputs: &[Vec<f32>],
    expected: &[Vec<f32>],
) -> Result<f64, PipelineError> {
    let difference = |own: &[f32], of: &[f32]| match integers {
        // The closeness of values does not depend on how many belong to an image.
        true => noise_share(closeness(own, of, 1).sqnr_db),
        false => relative_difference(own, of),
    };
    let tolerance = match integers {
        true => noise_share(HOST_SQNR_DB),
        false => TOLERANCE,
    };
    let pairs = outputs.iter().zip(expected);
    let error = pairs
        .map(|(own, of)| difference(own, of))
        .fold(0.0, f64::max);
    if error > tolerance {
        return Err(PipelineError::NotEquivalent {
            model: model.name().into(),
            error,
            tolerance,
        });
    }
    Ok(error)
}

/// The error as a share of the outputs, by their ratio in decibels.
fn noise_share(sqnr_db: f64) -> f64 {
    10f64.powf(-sqnr_db / 20.0)
}

/// Largest difference as a share of the standard deviation of `expected`; infinite when the
/// lengths differ or a number is not finite.
fn relative_difference(got: &[f32], expected: &[f32]) -> f64 {
    let finite = got.iter().chain(expected).all(|x| x.is_finite());
    if got.len() != expected.len() || expected.is_empty() || !finite {
        return f64::INFINITY;
    }
    let count = expected.len() as f64;
    let mean = expected.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = expected
        .iter()
        .map(|&x| (f64::from(x) - mean).powi(2))
        .sum::<f64>()
        / count;
    let largest = got
        .iter()
        .zip(expected)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, f64::max);
    largest / variance.sqrt().max(1e-12)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use latency::Model;
    use onnx_graph::quantize::{Quantize, quantize};

    use super::{NetworkRole, check_bits, equivalent, relative_difference};

    #[test]
    fn outputs_of_a_board_are_the_references_bit_for_bit_or_none() {
        let graph = model_zoo::build("shapes_net", &model_zoo::ZooConfig::default()).unwrap();
        let graph = onnx_graph::fold_batch_norm(&graph).unwrap();
        let values = graph.inputs().iter().copied();
        let values = values.chain(graph.nodes().iter().map(onnx_graph::Node::output));
        let ranges: BTreeMap<_, _> = values.map(|value| (value, (-4.0, 4.0))).collect();
        let options = Quantize {
            ranges,
            ..Quantize::default()
        };
        let graph = quantize(&graph, &options).unwrap();
        let lowered = board_plan::lower(&graph).unwrap();
        let size: usize = lowered.input.dims.iter().product();
        let images: Vec<f32> = (0..2 * size).map(|i| (i % 17) as f32 / 9.0 - 1.0).collect();
        let mut reference = lowered.reference().unwrap();
        let run = |image: &[f32]| lowered.result(&reference.run(image).unwrap()).unwrap();
        let mut outputs: Vec<f32> = images.chunks(size).flat_map(run).collect();
        let model = Model::new("net", Vec::new());
        check_bits((&model, &graph), &images, &outputs).unwrap();
        outputs[3] += 1e-3;
        let error = check_bits((&model, &graph), &images, &outputs).unwrap_err();
        assert!(error.to_string().starts_with("1 of 20 outputs"), "{error}");
    }

    #[test]
    fn integers_may_be_rounded_either_way_and_floats_may_not() {
        let model = Model::new("net", Vec::new());
        let expected = [vec![1.0, -2.0, 3.0, 0.5], vec![4.0]];
        let check = |integers, by: f32, passes| {
            let mut outputs = expected.clone();
            outputs[0][2] += by;
            let result = equivalent(&model, integers, &outputs, &expected);
            assert_eq!(result.is_ok(), passes, "{integers} {by}: {result:?}");
        };
        check(true, 0.0, true);
        check(true, 0.05, true);
        check(true, 1.0, false);
        check(true, f32::NAN, false);
        check(false, 1e-4, true);
        check(false, 0.05, false);
    }

    #[test]
    fn a_role_is_recorded_as_its_label() {
        let baseline = NetworkRole::Baseline("uniform-3".into());
        for (role, label, file) in [
            (NetworkRole::Original, "original", "original.onnx"),
            (NetworkRole::Pruned, "pruned", "pruned.onnx"),
            (baseline, "baseline uniform-3", "baseline-uniform-3.onnx"),
        ] {
            assert_eq!((role.to_string(), role.file()), (label.into(), file.into()));
            assert_eq!(NetworkRole::from(label.to_owned()), role);
        }
    }

    #[test]
    fn a_difference_counts_against_the_spread_and_what_cannot_be_compared_is_infinitely_far() {
        assert_eq!(relative_difference(&[1.0, 3.0], &[1.0, 3.0]), 0.0);
        assert!((relative_difference(&[1.0, 3.5], &[1.0, 3.0]) - 0.5).abs() < 1e-9);
        for (got, expected) in [
            (&[1.0, f32::NAN][..], &[1.0, 3.0][..]),
            (&[1.0, 3.0], &[f32::INFINITY, 3.0]),
            (&[1.0], &[1.0, 3.0]),
            (&[], &[]),
        ] {
            assert_eq!(relative_difference(got, expected), f64::INFINITY);
        }
    }
}
