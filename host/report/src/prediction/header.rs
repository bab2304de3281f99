//! The head of the page: facts, verdict, headline figures, warnings.

use maud::{Markup, html};

use super::points::prediction_interval;
use super::{AskedPoint, PredictionFit, PredictionReport, figures};
use crate::format;
use crate::html::{Tile, Tone, facts, or, tiles, verdict, warnings};

pub(super) fn model(data: &PredictionReport) -> &str {
    or(&data.model, "A network")
}

pub(super) fn device(data: &PredictionReport) -> &str {
    or(&data.device, "a device")
}

pub(super) fn header(data: &PredictionReport) -> Markup {
    let named = data.facts.iter();
    let named = named.map(|fact| (fact.name.as_str(), fact.value.clone()));
    let mut headline = data.asked.as_ref().map_or_else(Vec::new, asked);
    headline.extend(data.fit.iter().flat_map(quality));
    html! {
        h1 { (model(data)) span.to { " predicted on " } (device(data)) }
        @if !data.facts.is_empty() { (facts(named)) }
        (outcome(data.fit.as_ref()))
        @if !headline.is_empty() { (tiles(&headline)) }
        (warnings(&data.warnings))
    }
}

/// Whether the predictor is better than simpler estimates.
fn outcome(fit: Option<&PredictionFit>) -> Markup {
    let Some(fit) = fit else {
        let why = "Too few whole networks were measured to determine the accuracy of predictions.";
        return verdict(Tone::Neutral, "Not checked", why);
    };
    let why = format!(
        "The leave-one-out error is {} on average and {} at worst, over {} measured networks. The error of a linear fit to MACs \
         is {}, that of the plain sum of kernels {}.",
        figures::error(fit.mean_error),
        figures::error(fit.max_error),
        fit.measured,
        figures::error(fit.macs_error),
        figures::error(fit.kernels_error),
    );
    let errors = [fit.mean_error, fit.macs_error, fit.kernels_error];
    let (tone, word) = if errors.iter().any(|error| !error.is_finite()) {
        (Tone::Neutral, "Not checked")
    } else if fit.mean_error >= fit.macs_error {
        (Tone::Bad, "No better than MACs")
    } else if fit.mean_error >= fit.kernels_error {
        (Tone::Neutral, "No better than kernels alone")
    } else {
        (Tone::Good, "Better than MACs")
    };
    verdict(tone, word, &why)
}

/// The requested configuration: prediction, measurement, and their difference.
fn asked(asked: &AskedPoint) -> Vec<Tile<'static>> {
    let times = |ratio: f64| format!("{}\u{d7}", format::ratio(ratio));
    let ends = |(low, high)| format!("95 % {}", format::range(low, high, format::ratio));
    let interval = prediction_interval(asked);
    let small = interval.map_or_else(|| "no interval".to_owned(), ends);
    let mut tiles = vec![(
        "Predicted, relative to the unpruned",
        times(asked.predicted),
        small,
    )];
    if let Some(of) = asked.measured {
        tiles.push(("Measured", times(of.value), ends((of.low, of.high))));
        let small = match interval {
            None => "",
            Some((low, high)) if (low..=high).contains(&of.value) => "within the interval",
            Some(_) => "outside the interval",
        };
        let off = format::change(asked.predicted / of.value);
        tiles.push(("Prediction error", off, small.to_owned()));
    }
    tiles
}

fn quality(fit: &PredictionFit) -> Vec<Tile<'static>> {
    let correlation = format::significant(fit.rank_correlation, 3);
    let measured = format!("{} whole networks", fit.measured);
    let mut tiles = vec![("Rank correlation", correlation, measured)];
    if let Some(held) = fit.held {
        let small = "nominally 95 %".to_owned();
        tiles.push(("Interval coverage", figures::error(held), small));
    }
    tiles
}
