//! Other normalisations and orders of channels, tried where the network classifies badly with the
//! given one.

use std::path::Path;
use std::sync::Arc;

use datasets::{ChannelOrder, DataError, Dataset, InputSpec, Preset};
use train::{Runtime, reference_logits};

use super::subject::{BATCH, Subject};
use crate::chance::Hits;
use crate::closeness::greatest;
use crate::error::PipelineError;
use crate::progress::StopFlag;

/// Most samples that each is tried on.
const SAMPLES: usize = 200;

/// Data whose pixels are normalised in another way.
struct Seen {
    data: Arc<dyn Dataset>,
    input: InputSpec,
}

impl Dataset for Seen {
    fn len(&self) -> usize {
        self.data.len()
    }

    fn classes(&self) -> &[String] {
        self.data.classes()
    }

    fn image_shape(&self) -> [usize; 3] {
        self.data.image_shape()
    }

    fn label(&self, index: usize) -> usize {
        self.data.label(index)
    }

    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        self.data.decode(index, out)
    }

    fn file(&self, index: usize) -> Option<&Path> {
        self.data.file(index)
    }

    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn identity(&self) -> String {
        self.data.identity()
    }
}

/// A line on the settings with which the network classifies best, if it no longer guesses.
pub(super) fn better(
    subject: &Subject,
    given: &Hits,
    stop: &StopFlag,
) -> Result<Option<String>, PipelineError> {
    let used = subject.splits.train.input();
    if used.is_row() {
        return Ok(None);
    }
    let step = subject.readable.len().div_ceil(SAMPLES).max(1);
    let indices: Vec<usize> = subject.readable.iter().copied().step_by(step).collect();
    let data: Arc<dyn Dataset> = Arc::new(subject.drawn.clone());
    let mut best: Option<(Hits, String)> = None;
    for (options, input) in others(used) {
        if stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        let seen = Seen {
            data: data.clone(),
            input,
        };
        let right = right(subject, &seen, &indices)?;
        let hits = Hits::among_drawn(&seen, &indices, right);
        if best
            .as_ref()
            .is_none_or(|(most, _)| hits.correct > most.correct)
        {
            best = Some((hits, options));
        }
    }
    // Several tries find something by chance that one would not: it must be clearly better.
    let least = given.interval().1;
    let best = best.filter(|(hits, _)| hits.warning().is_none() && hits.interval().0 > least);
    Ok(best.map(|(hits, options)| {
        format!(
            "With {options}, {:.1} % of {} samples are classified as labelled; with the given settings {:.1} %.",
            100.0 * hits.share(),
            hits.total,
            100.0 * given.share()
        )
    }))
}

/// Other inputs with their options: first the same normalisation in the other order of channels.
fn others(used: &InputSpec) -> Vec<(String, InputSpec)> {
    let orders = match used.channels {
        3 => &ChannelOrder::ALL[..],
        _ => &[ChannelOrder::Rgb],
    };
    let mut others: Vec<(String, InputSpec)> = Vec::new();
    for &order in orders {
        let input = InputSpec {
            order,
            ..used.clone()
        };
        others.push((format!("--channel-order {}", order.name()), input));
    }
    for preset in Preset::ALL {
        let Ok(other) = InputSpec::preset(preset.name(), used.shape()) else {
            continue;
        };
        for &order in orders {
            let input = InputSpec {
                normalise: other.normalise.clone(),
                order,
                ..used.clone()
            };
            let (preset, order) = (preset.name(), order.name());
            let options = match used.channels {
                3 => format!("--normalise {preset} --channel-order {order}"),
                _ => format!("--normalise {preset}"),
            };
            others.push((options, input));
        }
    }
    others.retain(|(_, input)| input != used);
    others
}

fn right(subject: &Subject, data: &Seen, indices: &[usize]) -> Result<usize, PipelineError> {
    let (graph, classes) = (&subject.model.graph, subject.model.classes.max(1));
    let mut right = 0;
    for batch in indices.chunks(BATCH) {
        let logits = reference_logits(graph, data, batch, Runtime::default())?;
        let given = logits.chunks(classes).map(greatest);
        let same = batch.iter().zip(given);
        right += same
            .filter(|&(&index, class)| data.label(index) == class)
            .count();
    }
    Ok(right)
}
