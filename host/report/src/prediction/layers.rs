//! The kernel of each layer in isolation and the layer in the network, as bars from a common
//! zero.

use super::figures::{drawable, signed_micros};
use super::{LayerResidual, PredictionReport};
use crate::charts::{Chart, Drawing, legend};
use crate::format::{self, micros};
use crate::svg::{Canvas, Scale, Window};

/// The most layers that are drawn: those with the largest differences. The table has all.
const MOST: usize = 40;

/// Height of a layer.
const LINE: f64 = 24.0;

impl LayerResidual {
    /// The time of its kernel, if it can be drawn.
    fn alone(&self) -> Option<f64> {
        Some(self.alone_ns).filter(|&ns| drawable(ns))
    }

    /// Its time in the network, if it can be drawn.
    pub(super) fn in_network(&self) -> Option<f64> {
        self.in_network_ns.filter(|&ns| drawable(ns))
    }

    /// The time that the network adds to the kernel in isolation.
    pub(super) fn difference(&self) -> Option<f64> {
        Some(self.in_network()? - self.alone()?)
    }

    /// Its time in the network relative to the kernel in isolation.
    pub(super) fn change(&self) -> Option<f64> {
        let ratio = self.in_network()? / self.alone().filter(|&ns| ns > 0.0)?;
        ratio.is_finite().then_some(ratio)
    }

    /// Its priority in the chart: by its difference, then by its time.
    fn weight(&self) -> (f64, f64) {
        let time = self.alone().or(self.in_network()).unwrap_or(0.0);
        (self.difference().map_or(0.0, f64::abs), time)
    }
}

/// `None` if no layer has a time.
pub(super) fn layers(data: &PredictionReport) -> Option<Chart<'_>> {
    let drawn = chosen(&data.layers);
    if drawn.is_empty() {
        return None;
    }
    let has_estimates = drawn.iter().any(|layer| layer.estimated);
    let has_profile = drawn.iter().any(|layer| layer.in_network().is_some());
    let guess = ("bar guess", "by MACs, no kernel measured");
    let entries = [
        Some(("bar kept", "kernel in isolation")),
        has_estimates.then_some(guess),
        has_profile.then_some(("bar predicted", "in the network")),
    ];
    Some(Chart {
        id: "residuals",
        title: "Layers in isolation and in the network".into(),
        description: description(&data.layers, drawn.len()),
        legend: legend(entries.into_iter().flatten()),
        draw: Box::new(move |window| draw(&drawn, window)),
    })
}

fn description(layers: &[LayerResidual], drawn: usize) -> String {
    let mut text = if drawn < layers.len() {
        format!(
            "The {drawn} of {} layers that differ most, in the order of the network; the table has all.",
            layers.len()
        )
    } else {
        "In the order of the network.".to_owned()
    };
    if layers.iter().all(|layer| layer.in_network().is_none()) {
        text.push_str(" The device did not report times of operators in the network.");
    }
    text
}

/// The layers with the largest differences, in the order of the network.
fn chosen(layers: &[LayerResidual]) -> Vec<&LayerResidual> {
    let timed = |l: &&LayerResidual| l.alone().or(l.in_network()).is_some();
    let timed = layers.iter().filter(timed).enumerate();
    let mut ranked: Vec<(usize, &LayerResidual)> = timed.collect();
    ranked.sort_by(|(_, a), (_, b)| {
        let (a, b) = (a.weight(), b.weight());
        b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    ranked.truncate(MOST);
    ranked.sort_by_key(|&(index, _)| index);
    ranked.into_iter().map(|(_, layer)| layer).collect()
}

/// The label of a layer's bars.
fn label(layer: &LayerResidual, window: Window) -> String {
    match (layer.difference(), layer.change()) {
        (Some(ns), Some(ratio)) if window == Window::Wide => {
            format!("{} ({})", signed_micros(ns), format::change(ratio))
        }
        (_, Some(ratio)) => format::change(ratio),
        _ => micros(layer.in_network().unwrap_or(layer.alone_ns)),
    }
}

fn draw(layers: &[&LayerResidual], window: Window) -> Drawing {
    let width = window.pick(1260.0, 340.0);
    let (left, letters) = window.pick((330.0, 46), (118.0, 16));
    let values = layers.iter().flat_map(|l| [l.alone(), l.in_network()]);
    let ends = Scale::covering(values.flatten().chain([0.0]), 0.0).unwrap_or((0.0, 1.0));
    let scale = Scale::new((0.0, ends.1), left, width - window.pick(150.0, 64.0));
    let mut svg = Canvas::default();
    for (row, layer) in layers.iter().enumerate() {
        let top = row as f64 * LINE + 2.0;
        let name = format::shorten(&layer.name, letters);
        svg.text("tick end", (left - 10.0, top + 14.0), &name);
        let tip = tip(layer);
        let mut end: f64 = left;
        let mut bar = |class: &str, ns: f64, top: f64, height: f64| {
            let to = scale.map(ns.max(0.0));
            end = end.max(to);
            svg.rect(class, (left, top), (to - left, height), Some(&tip));
        };
        if let Some(ns) = layer.alone() {
            let class = if layer.estimated {
                "bar guess"
            } else {
                "bar kept"
            };
            bar(class, ns, top + 1.0, 8.0);
        }
        if let Some(ns) = layer.in_network() {
            bar("bar predicted", ns, top + 11.0, 7.0);
        }
        svg.text("tick", (end + 7.0, top + 14.0), &label(layer, window));
    }
    let height = layers.len() as f64 * LINE + 4.0;
    svg.segment("axis", (left, 0.0), (left, height));
    Drawing {
        width,
        height,
        canvas: svg,
    }
}

fn tip(layer: &LayerResidual) -> String {
    let mut lines = vec![layer.name.clone()];
    if !layer.kernel.is_empty() {
        lines.push(layer.kernel.clone());
    }
    let how = if layer.estimated { " (by MACs)" } else { "" };
    lines.push(format!("in isolation {}{how}", micros(layer.alone_ns)));
    lines.push(match layer.in_network() {
        Some(ns) => format!("in the network {}", micros(ns)),
        None => "not measured in the network".to_owned(),
    });
    lines.extend(layer.change().map(format::change));
    lines.join("\n")
}
