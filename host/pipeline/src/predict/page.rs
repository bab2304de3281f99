//! A prediction as a page.

use std::collections::BTreeMap;
use std::path::Path;

use latency_model::{Curve, KernelTable, LayerKind};
use report::{
    AskedPoint, Fact, LayerResidual, PredictedPoint, PredictionFit, PredictionReport, Staircase,
};

use super::predicted::Predicted;
use crate::error::PipelineError;
use crate::folder::write_named;

/// Writes a prediction as a page that opens without a network connection.
///
/// # Errors
/// An I/O error naming the path.
pub fn write_prediction(predicted: &Predicted, path: &Path) -> Result<(), PipelineError> {
    let page = report::render_prediction(&predicted.page);
    write_named(path, page.as_bytes())
}

/// The content of a page that a prediction does not contain.
pub(super) struct Details<'a> {
    pub model: &'a str,
    pub device: String,
    pub kernels: &'a KernelTable,
    /// The kind of each layer; `None` if it cannot be measured alone.
    pub kinds: Vec<Option<LayerKind>>,
    /// The time of each layer in the unpruned network, ns.
    pub in_network_ns: Vec<Option<f64>>,
    /// Time of the unpruned network's operators other than layers, ns.
    pub other_ns: Option<f64>,
}

/// Fills the page of a prediction.
pub(super) fn page(predicted: &Predicted, details: &Details<'_>) -> PredictionReport {
    let fact = |name: &str, value: String| Fact {
        name: name.into(),
        value,
    };
    let layers = predicted.layers.iter().zip(&details.kinds);
    let layers = layers.zip(&details.in_network_ns);
    let layers = layers.map(|((layer, kind), &in_network_ns)| LayerResidual {
        name: layer.name.clone(),
        kernel: kind.as_ref().map_or_else(
            || "cannot be measured alone, by its MACs".into(),
            |kind| format!("{}, {} to {}", kind.kernel, kind.inputs, kind.outputs),
        ),
        alone_ns: layer.full_ns,
        in_network_ns,
        estimated: kind.is_none(),
    });
    PredictionReport {
        model: details.model.to_owned(),
        device: details.device.clone(),
        program: format!("graphprune {}", env!("CARGO_PKG_VERSION")),
        facts: vec![
            fact(
                "kernels measured alone",
                match &predicted.kernels_of {
                    None => predicted.kernels.to_string(),
                    Some(other) => {
                        format!("{} on {other}, of the same profile", predicted.kernels)
                    }
                },
            ),
            fact(
                "their noise",
                format!("{:.1} %", details.kernels.noise() * 100.0),
            ),
            fact("whole networks", predicted.learned.len().to_string()),
        ],
        fit: predicted.fit.map(|fit| PredictionFit {
            measured: predicted.learned.len() as u64,
            held: None,
            mean_error: fit.mean_relative_error,
            max_error: fit.max_relative_error,
            rank_correlation: fit.spearman,
            macs_error: line_error(&predicted.learned, |p| p.macs),
            kernels_error: error(predicted.learned.iter().map(|p| (p.kernels, p.measured))),
        }),
        points: predicted.learned.clone(),
        asked: Some(AskedPoint {
            widths: predicted.widths.clone(),
            predicted: predicted.ratio,
            low: predicted.interval.map(|i| i.0),
            high: predicted.interval.map(|i| i.1),
            measured: predicted.measured,
        }),
        layers: layers.collect(),
        other_ns: details.other_ns,
        stairs: stairs(details.kernels, &users(predicted, &details.kinds)),
        groups: predicted.groups.clone(),
        warnings: Vec::new(),
    }
}

/// Mean relative error of pairs of predicted and measured.
fn error(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (sum, count) = pairs.fold((0.0, 0.0), |(sum, count), (p, m)| {
        (sum + (p - m).abs() / m, count + 1.0)
    });
    sum / f64::max(count, 1.0)
}

/// Mean relative error of a least-squares line through one figure of each network, each left out
/// of its own line.
fn line_error(points: &[PredictedPoint], of: impl Fn(&PredictedPoint) -> f64) -> f64 {
    let without = |left: usize| {
        let others = points.iter().enumerate().filter(move |(i, _)| *i != left);
        let pairs: Vec<(f64, f64)> = others.map(|(_, p)| (of(p), p.measured)).collect();
        let count = pairs.len() as f64;
        let mean_x = pairs.iter().map(|p| p.0).sum::<f64>() / count;
        let mean_y = pairs.iter().map(|p| p.1).sum::<f64>() / count;
        let product: f64 = pairs.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
        let square: f64 = pairs.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
        let slope = if square > 0.0 { product / square } else { 0.0 };
        mean_y + slope * (of(&points[left]) - mean_x)
    };
    error(
        points
            .iter()
            .enumerate()
            .map(|(i, p)| (without(i), p.measured)),
    )
}

/// The layers of each kind of kernel.
fn users<'a>(
    predicted: &Predicted,
    kinds: &'a [Option<LayerKind>],
) -> BTreeMap<&'a LayerKind, Vec<String>> {
    let mut users: BTreeMap<&LayerKind, Vec<String>> = BTreeMap::new();
    for (layer, kind) in predicted.layers.iter().zip(kinds) {
        if let Some(kind) = kind {
            users.entry(kind).or_default().push(layer.name.clone());
        }
    }
    users
}

/// The steps of each kind of layer, the most costly first.
fn stairs(kernels: &KernelTable, users: &BTreeMap<&LayerKind, Vec<String>>) -> Vec<Staircase> {
    let known = users.iter().filter_map(|(kind, layers)| {
        let times = kernels.kind(kind)?;
        Some((times.full_ns * layers.len() as f64, *kind, layers, times))
    });
    let mut known: Vec<_> = known.collect();
    known.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut all = Vec::new();
    for (_, kind, layers, times) in known {
        let mut add = |axis: &str, other: String, curve: &Curve| {
            if curve.points().len() > 1 {
                let steps = curve.steps(kernels.noise());
                all.push(Staircase {
                    kernel: format!("{}{other}", kind.kernel),
                    axis: axis.into(),
                    points: curve.points().to_vec(),
                    steps: steps.iter().map(|s| (s.first, s.last, s.ns)).collect(),
                    layers: layers.clone(),
                });
            }
        };
        if kind.kernel.is_depthwise() {
            add("channels", String::new(), &times.outputs);
        } else {
            let from = format!(" from {} channels", kind.inputs);
            add("output channels", from, &times.outputs);
            let to = format!(" to {} channels", kind.outputs);
            add("input channels", to, &times.inputs);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_line_is_that_of_the_points_left_out_of_it() {
        let point = |macs: f64, measured: f64| PredictedPoint {
            widths: Vec::new(),
            measured,
            predicted: None,
            kernels: measured,
            macs,
        };
        let line: Vec<PredictedPoint> = (1..6)
            .map(|i| point(f64::from(i), f64::from(i) * 2.0 + 1.0))
            .collect();
        assert!(line_error(&line, |p| p.macs) < 1e-12);
        // Without a slope each of two points is predicted as the other.
        let two = [point(1.0, 1.0), point(2.0, 2.0)];
        assert!((line_error(&two, |p| p.macs) - 0.75).abs() < 1e-12);
        assert_eq!(error(std::iter::empty()), 0.0);
    }
}
