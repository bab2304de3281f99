//! Each layer's kernel alone against the layer in the network, as bars from a common zero.

use super::{LayerResidual, PredictionReport, words};
use crate::{
    charts::{Chart, Drawing},
    format,
    html::Markup,
    svg::{Scale, Window, at, rect, segment, text},
};

/// The most layers that are drawn: those that differ most. The table has all.
const MOST: usize = 40;

/// Height of a layer.
const LINE: f64 = 24.0;

impl LayerResidual {
    /// The time of its kernel, if that is a time.
    fn alone(&self) -> Option<f64> {
        Some(self.alone_ns).filter(|&ns| words::drawable(ns))
    }

    /// Its time in the network, if that is a time.
    pub(super) fn in_network(&self) -> Option<f64> {
        self.in_network_ns.filter(|&ns| words::drawable(ns))
    }

    /// What the network adds to the kernel alone.
    pub(super) fn difference(&self) -> Option<f64> {
        Some(self.in_network()? - self.alone()?)
    }

    /// The same, relative to the kernel alone.
    pub(super) fn change(&self) -> Option<f64> {
        let ratio = self.in_network()? / self.alone().filter(|&ns| ns > 0.0)?;
        ratio.is_finite().then_some(ratio)
    }

    /// How much it deserves to be drawn: by its difference, and without one by its time, after all others.
    fn weight(&self) -> (f64, f64) {
        let time = self.alone().or(self.in_network()).unwrap_or(0.0);
        (self.difference().map_or(0.0, f64::abs), time)
    }
}

/// None without layers that have a time.
pub(super) fn layers(data: &PredictionReport) -> Option<Chart<'_>> {
    let drawn = chosen(&data.layers);
    if drawn.is_empty() {
        return None;
    }
    let mut legend = vec![("bar kept", "kernel alone")];
    if drawn.iter().any(|layer| layer.estimated) {
        legend.push(("bar guess", "by MACs, no kernel measured"));
    }
    if drawn.iter().any(|layer| layer.in_network().is_some()) {
        legend.push(("bar predicted", "in the network"));
    }
    let mut description = if drawn.len() < data.layers.len() {
        format!(
            "Of {} layers the {} that differ most, in the order of the network; the table has all.",
            data.layers.len(),
            drawn.len()
        )
    } else {
        "In the order of the network.".to_owned()
    };
    if data.layers.iter().all(|layer| layer.in_network().is_none()) {
        description.push_str(" The device gave no times of operators within the network.");
    }
    Some(Chart {
        id: "residuals",
        title: "Layers alone and in the network".into(),
        description,
        legend: legend
            .into_iter()
            .map(|(class, meaning)| (class.into(), meaning.into()))
            .collect(),
        draw: Box::new(move |window| draw(&drawn, window)),
    })
}

/// Those that differ most, in their order.
fn chosen(layers: &[LayerResidual]) -> Vec<&LayerResidual> {
    let timed = |l: &&LayerResidual| l.alone().or(l.in_network()).is_some();
    let mut ranked: Vec<(usize, &LayerResidual)> =
        layers.iter().filter(timed).enumerate().collect();
    ranked.sort_by(|(_, a), (_, b)| {
        let (a, b) = (a.weight(), b.weight());
        b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    ranked.truncate(MOST);
    ranked.sort_by_key(|&(index, _)| index);
    ranked.into_iter().map(|(_, layer)| layer).collect()
}

/// What is said beside a layer's bars.
fn figure(layer: &LayerResidual, window: Window) -> String {
    match (layer.difference(), layer.change()) {
        (Some(ns), Some(ratio)) if window == Window::Wide => {
            format!("{} ({})", words::signed(ns), format::change(ratio))
        }
        (_, Some(ratio)) => format::change(ratio),
        _ => words::micros(layer.in_network().unwrap_or(layer.alone_ns)),
    }
}

fn draw(layers: &[&LayerResidual], window: Window) -> Drawing {
    let width = window.pick(1260.0, 340.0);
    let (left, letters) = window.pick((330.0, 46), (118.0, 16));
    let values = layers
        .iter()
        .flat_map(|l| [l.alone(), l.in_network(), Some(0.0)].into_iter().flatten());
    let ends = Scale::covering(values, 0.0).unwrap_or((0.0, 1.0));
    let scale = Scale::new((0.0, ends.1), left, width - window.pick(150.0, 64.0));
    let mut svg = Markup::default();
    for (row, layer) in layers.iter().enumerate() {
        let top = row as f64 * LINE + 2.0;
        let name = format::shorten(&layer.name, letters);
        text(&mut svg, "tick end", left - 10.0, at(top + 14.0), &name);
        let tip = tip(layer);
        let mut end: f64 = left;
        let mut bar = |class: &str, ns: f64, top: f64, high: f64| {
            let to = scale.place(ns.max(0.0));
            end = end.max(to);
            rect(&mut svg, class, (left, top), (to - left, high), Some(&tip));
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
        let figure = figure(layer, window);
        text(&mut svg, "tick", end + 7.0, at(top + 14.0), &figure);
    }
    let height = layers.len() as f64 * LINE + 4.0;
    segment(&mut svg, "axis", (left, 0.0), (left, height));
    Drawing {
        width,
        height,
        content: svg,
    }
}

fn tip(layer: &LayerResidual) -> String {
    let mut lines = vec![layer.name.clone()];
    if !layer.kernel.is_empty() {
        lines.push(layer.kernel.clone());
    }
    let how = if layer.estimated { " (by MACs)" } else { "" };
    lines.push(format!("alone {}{how}", words::micros(layer.alone_ns)));
    lines.push(match layer.in_network() {
        Some(ns) => format!("in the network {}", words::micros(ns)),
        None => "not measured in the network".to_owned(),
    });
    if let Some(ratio) = layer.change() {
        lines.push(format::change(ratio));
    }
    lines.join("\n")
}
