//! The check itself.

use std::path::{Path, PathBuf};

use datasets::{Dataset, InputSpec, Line, Tile, Tone, contact_sheet, encode_png, image_sizes};
use train::{Runtime, all_outputs, float_outputs, reference_logits};

use super::found::{ClassCheck, DataCheck, DataCheckRequest, ShownSample, ValueCheck};
use super::subject::{BATCH, Subject, read};
use super::{findings, other_inputs};
use crate::chance::Hits;
use crate::closeness::greatest;
use crate::config::TaskKind;
use crate::data::data_doubts;
use crate::error::PipelineError;
use crate::folder::write_named;
use crate::model::{LoadedModel, tensor_spec};
use crate::progress::{Reporter, StopFlag};

/// Images in a row of the picture.
const COLUMNS: usize = 4;

/// Reads the data as a run does, passes some through the network, and draws what it sees.
///
/// # Errors
/// As the start of a run: the network, the data, and data that do not fit the network. A sample
/// that cannot be read is a finding.
pub fn check_data(
    request: &DataCheckRequest,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<DataCheck, PipelineError> {
    let config = &request.config;
    config.check_input()?;
    let (subject, broken) = read(request)?;
    let Subject {
        model,
        splits,
        kind,
        drawn,
        readable,
    } = &subject;
    let mut passed = Passed::default();
    reporter.begin(
        "passing samples through the network",
        0,
        readable.len() as u64,
    );
    for batch in readable.chunks(BATCH) {
        if stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        passed.add(model, drawn, batch, *kind)?;
        reporter.step(passed.samples as u64, "");
    }
    reporter.end(&format!("{} samples read", passed.samples));
    let input = splits.train.input();
    let is_classifier = *kind == TaskKind::Classification;
    let classes = match is_classifier {
        true => classes(&subject, &passed.predicted),
        false => Vec::new(),
    };
    let right = classes.iter().map(|class| class.right).sum();
    let inputs = described_inputs(model, input, &passed.rows);
    let mut warnings = data_doubts(&splits.notes);
    let hits = Hits::among_drawn(drawn, readable, right);
    let guessing = hits.warning().filter(|_| is_classifier);
    let of_classes = findings::of_classes(&classes);
    // A network that classifies well gets what it was trained on.
    let fits = is_classifier && guessing.is_none() && of_classes.is_empty();
    warnings.extend(findings::of_inputs(input, &inputs, fits));
    if is_classifier && !fits {
        warnings.extend(guessing);
        match other_inputs::better(&subject, &hits, stop)? {
            // What the classes look like follows from the wrong values.
            Some(better) => warnings.push(better),
            None => warnings.extend(of_classes),
        }
    }
    let (shown, sheet) = shown(request, &subject, &passed)?;
    let of = |data: &dyn Dataset| data.len();
    Ok(DataCheck {
        model: model.name.clone(),
        data: config
            .data
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        task: kind.name(),
        input: input.to_string(),
        samples: [&splits.train, &splits.search, &splits.test].map(|part| of(part.as_ref())),
        file_sizes: file_sizes(&subject),
        read: passed.samples,
        right: is_classifier.then_some(right),
        classes,
        inputs,
        outputs: described_outputs(model, &passed),
        broken,
        shown,
        sheet,
        warnings,
    })
}

/// What was passed through the network.
#[derive(Default)]
struct Passed {
    samples: usize,
    /// The inputs of the samples, row by row.
    rows: Vec<f32>,
    /// Each output of floats, sample by sample.
    outputs: Vec<Vec<f32>>,
    /// The classes that a classifier gives.
    predicted: Vec<usize>,
}

impl Passed {
    fn add(
        &mut self,
        model: &LoadedModel,
        data: &dyn Dataset,
        batch: &[usize],
        kind: TaskKind,
    ) -> Result<(), PipelineError> {
        let runtime = Runtime::default();
        let (rows, outputs) = all_outputs(&model.graph, data, batch, runtime)?;
        self.rows.extend(rows);
        self.outputs.resize(outputs.len(), Vec::new());
        for (all, own) in self.outputs.iter_mut().zip(outputs) {
            all.extend(own);
        }
        if kind == TaskKind::Classification {
            let logits = reference_logits(&model.graph, data, batch, runtime)?;
            let each = logits.chunks(model.classes.max(1)).map(greatest);
            self.predicted.extend(each);
        }
        self.samples += batch.len();
        Ok(())
    }
}

fn classes(subject: &Subject, predicted: &[usize]) -> Vec<ClassCheck> {
    let Subject {
        splits,
        drawn,
        readable,
        ..
    } = subject;
    let names = splits.train.classes();
    let counts = [&splits.train, &splits.search, &splits.test].map(|part| {
        let mut counts = vec![0; names.len()];
        for index in 0..part.len() {
            if let Some(count) = counts.get_mut(part.label(index)) {
                *count += 1;
            }
        }
        counts
    });
    let mut given = vec![vec![0; names.len()]; names.len()];
    for (&index, &class) in readable.iter().zip(predicted) {
        let row = given.get_mut(drawn.label(index));
        if let Some(count) = row.and_then(|row| row.get_mut(class)) {
            *count += 1;
        }
    }
    let each = names.iter().zip(given).enumerate();
    each.map(|(class, (name, given))| {
        let most = given.iter().copied().enumerate();
        let most = most.max_by_key(|&(index, count)| (count, std::cmp::Reverse(index)));
        ClassCheck {
            name: name.clone(),
            samples: [0, 1, 2].map(|part: usize| counts[part][class]),
            read: given.iter().sum(),
            right: given[class],
            mostly: most
                .filter(|&(_, count)| count > 0)
                .map(|(index, count)| (names[index].clone(), count)),
        }
    })
    .collect()
}

/// Ranges of an image's channels in the network's order, or of each input.
fn described_inputs(model: &LoadedModel, input: &InputSpec, rows: &[f32]) -> Vec<ValueCheck> {
    let parts: Vec<(String, Vec<usize>)> = match input.is_row() {
        true => {
            let each = model.inputs.iter();
            each.map(|of| (of.name.clone(), of.dims.clone())).collect()
        }
        false => {
            let channels = input.channel_names().into_iter();
            channels
                .map(|name| (name.to_owned(), vec![input.height, input.width]))
                .collect()
        }
    };
    let size: usize = parts
        .iter()
        .map(|(_, dims)| dims.iter().product::<usize>())
        .sum();
    let mut from = 0;
    let mut described = Vec::new();
    for (name, dims) in parts {
        let own: usize = dims.iter().product();
        let samples = rows.chunks_exact(size.max(1));
        let values = samples.flat_map(|row| row[from..from + own].iter().copied());
        described.push(ValueCheck::of(name, dims, values));
        from += own;
    }
    described
}

fn described_outputs(model: &LoadedModel, passed: &Passed) -> Vec<ValueCheck> {
    let ids = float_outputs(&model.graph);
    let each = ids.iter().zip(&passed.outputs);
    each.map(|(&id, values)| {
        let value = model.graph.value(id);
        let dims = match tensor_spec(&model.graph, id) {
            Some(spec) => spec.dims,
            None => vec![values.len() / passed.samples.max(1)],
        };
        ValueCheck::of(value.name.clone(), dims, values.iter().copied())
    })
    .collect()
}

/// The smallest, the median and the largest image file among those that were drawn.
fn file_sizes(subject: &Subject) -> Option<[(u32, u32); 3]> {
    if subject.splits.train.input().is_row() {
        return None;
    }
    let sizes = image_sizes(&subject.drawn);
    let (first, last) = (*sizes.first()?, *sizes.last()?);
    Some([first, sizes[sizes.len() / 2], last])
}

/// The samples of the picture, drawn evenly, and the picture.
fn shown(
    request: &DataCheckRequest,
    subject: &Subject,
    passed: &Passed,
) -> Result<(Vec<ShownSample>, Option<PathBuf>), PipelineError> {
    let (drawn, readable) = (&subject.drawn, &subject.readable);
    let count = request.shown.min(readable.len());
    let places: Vec<usize> = (0..count)
        .map(|n| n * readable.len() / count.max(1))
        .collect();
    let name = |class: usize| subject.splits.train.classes().get(class).cloned();
    let has_labels = subject.kind == TaskKind::Classification;
    let samples = places.iter().map(|&place| ShownSample {
        file: drawn.file(readable[place]).map(Path::to_owned),
        label: name(drawn.label(readable[place])).filter(|_| has_labels),
        predicted: passed.predicted.get(place).and_then(|&class| name(class)),
    });
    let samples: Vec<ShownSample> = samples.collect();
    let input = subject.splits.train.input();
    if input.is_row() || count == 0 {
        return Ok((samples, None));
    }
    let size = input.shape().iter().product::<usize>();
    let tiles = places.iter().zip(&samples).map(|(&place, sample)| {
        let mut pixels = passed.rows[place * size..][..size].to_vec();
        input.restore(&mut pixels);
        let caption = caption(sample);
        Tile { pixels, caption }
    });
    let tiles: Vec<Tile> = tiles.collect();
    let (shape, pixels) = contact_sheet(&tiles, input.shape(), COLUMNS);
    write_named(&request.sheet, &encode_png(shape, &pixels)?)?;
    Ok((samples, Some(request.sheet.clone())))
}

/// The label, and the network's answer in the colour of its being right.
fn caption(sample: &ShownSample) -> Vec<Line> {
    let line = |text: &String, tone| Line {
        text: text.clone(),
        tone,
    };
    let tone = match (&sample.label, &sample.predicted) {
        (Some(label), Some(predicted)) if label == predicted => Tone::Right,
        (Some(_), Some(_)) => Tone::Wrong,
        _ => Tone::Plain,
    };
    let label = sample.label.iter().map(|text| line(text, Tone::Plain));
    let predicted = sample.predicted.iter().map(|text| line(text, tone));
    label.chain(predicted).collect()
}
